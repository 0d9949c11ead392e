//! The prefix that keys share, and digests taken after it.
//!
//! Every prefix in a memtable is a beginning of its first key, so its length says it all. It gets
//! shorter when a key comes that does not begin with it, and what was sorted under a longer prefix
//! stays as it is: [`Rebase`] turns its digests into those after the shorter one.

use lsm_entry::{SeqNo, common_prefix, digest};

/// An internal key to look for, and how it stands to the first key of the memtable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) seq_no: SeqNo,
    /// How many bytes it shares with the first key.
    shared_bytes: usize,
    /// Whether it is below the first key in the byte after these.
    is_below: bool,
}

/// Where a key lies among keys that begin with one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is smaller than all of them, for it does not begin with the prefix.
    Below,
    /// It begins with the prefix, and goes on with this digest.
    Among(u64),
    /// It is larger than all of them.
    Above,
}

impl<'a> Probe<'a> {
    pub(crate) fn new(first_key: &[u8], key: &'a [u8], seq_no: SeqNo) -> Self {
        let shared_bytes = common_prefix(first_key, key);
        // A key that has ended is below one that goes on, as `None` is below `Some`.
        let is_below = key.get(shared_bytes) < first_key.get(shared_bytes);
        Self { key, seq_no, shared_bytes, is_below }
    }

    /// How it stands to keys that begin with the first `prefix_bytes` bytes of the first key.
    #[inline]
    pub(crate) fn standing(&self, prefix_bytes: usize) -> Standing {
        if self.shared_bytes >= prefix_bytes {
            Standing::Among(digest(self.key, prefix_bytes))
        } else if self.is_below {
            Standing::Below
        } else {
            Standing::Above
        }
    }
}

/// Turns digests after a longer prefix into digests after a shorter one, without looking at a key:
/// what the prefix loses is the same for all of them, and comes in front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rebase {
    /// The bytes that the prefix loses, as the upper bytes of a digest.
    lost: u64,
    /// How many bits they take.
    lost_bits: u32,
}

impl Rebase {
    /// From the prefix of `from_bytes` bytes of the first key to that of `to_bytes`.
    pub(crate) fn new(first_key: &[u8], from_bytes: usize, to_bytes: usize) -> Self {
        debug_assert!(to_bytes <= from_bytes, "prefixes only get shorter");
        let lost_bits = 8 * (from_bytes - to_bytes).min(8) as u32;
        let kept = u64::MAX.checked_shr(lost_bits).unwrap_or(0);
        Self { lost: digest(first_key, to_bytes) & !kept, lost_bits }
    }

    #[inline]
    pub(crate) fn apply(self, digest: u64) -> u64 {
        self.lost | digest.checked_shr(self.lost_bits).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_KEY: &[u8] = b"tenant/0042/user/17";

    #[test]
    fn a_rebased_digest_is_the_digest_after_the_shorter_prefix() {
        for key in [FIRST_KEY, b"tenant/0042", b"tenant/0042/us", b"tenant/0042/users and more"] {
            for from_bytes in 0..=common_prefix(FIRST_KEY, key) {
                for to_bytes in 0..=from_bytes {
                    let rebase = Rebase::new(FIRST_KEY, from_bytes, to_bytes);
                    assert_eq!(rebase.apply(digest(key, from_bytes)), digest(key, to_bytes));
                }
            }
        }
    }

    #[track_caller]
    fn check_standing(key: &[u8], prefix_bytes: usize, expected: Standing) {
        assert_eq!(Probe::new(FIRST_KEY, key, 0).standing(prefix_bytes), expected);
    }

    #[test]
    fn a_key_stands_below_among_or_above_a_prefix() {
        check_standing(b"", 0, Standing::Among(0));
        check_standing(b"", 1, Standing::Below);
        check_standing(b"tenant", 7, Standing::Below);
        check_standing(b"tenant/0041/z", 12, Standing::Below);
        check_standing(b"tenant/0042/a", 12, Standing::Among(u64::from(b'a') << 56));
        check_standing(b"tenant/0043/a", 12, Standing::Above);
        check_standing(b"x", 1, Standing::Above);
        check_standing(FIRST_KEY, FIRST_KEY.len(), Standing::Among(0));
    }
}
