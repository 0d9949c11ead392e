//! Where a key lies in the order, in one number, as far as one number can tell.
//!
//! Keys of one database often agree in their first bytes, so a number made of those would tell
//! nothing. The window looks past a prefix that is common *just now*: keys with the prefix rank by
//! the 8 bytes behind it, and every other key below or above all of them, on the side where it
//! sorts. So for any two keys whatsoever, ranks that differ order as the keys do; a badly placed
//! window costs comparisons and nothing else.

use std::cmp::Ordering;

use crate::{Direction, begins_with, digest};

/// The rank of no key at all: after every key, in both directions.
pub(crate) const RANK_AT_END: u64 = u64::MAX;

// In the forward direction. Backward every bit is flipped; the lowest number is left unused, so
// that flipping makes none of them `RANK_AT_END`.
const RANK_BEFORE: u64 = 1;
const RANK_WITHIN: u64 = 2;
const RANK_AFTER: u64 = RANK_WITHIN + (1 << 63);

/// Whole bytes that a rank holds: a digest has 8, less the bit that makes room for the other ranks.
const WINDOW_BYTES: usize = 7;

/// Bytes of the window before the byte at which two keys part. The others tell apart keys that part
/// later; these keep the window good for a while as a scan moves on.
const LEAD_BYTES: usize = 4;

/// Turns keys into ranks.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// What keys begin with that are told apart by their digests.
    prefix: Vec<u8>,
    /// What is flipped in a rank, so that the smaller rank is the one to come first.
    flip: u64,
}

impl Window {
    /// A window at the start of the keys.
    pub(crate) fn new() -> Self {
        Self { prefix: Vec::new(), flip: 0 }
    }

    /// From now on smaller ranks come first in this direction.
    pub(crate) fn face(&mut self, direction: Direction) {
        self.flip = match direction {
            Direction::Forward => 0,
            Direction::Backward => u64::MAX,
        };
    }

    /// Moves the window to around the byte at which `key` and a neighbour part, which is after
    /// `shared_bytes`. Says whether it stood elsewhere before: then earlier ranks are void.
    pub(crate) fn focus(&mut self, key: &[u8], shared_bytes: usize) -> bool {
        // A window that reaches beyond the key's end is cut short for nothing.
        let skip_max = key.len().saturating_sub(WINDOW_BYTES);
        let skipped = &key[..shared_bytes.saturating_sub(LEAD_BYTES).min(skip_max)];
        let is_there = self.prefix.len() == skipped.len() && begins_with(skipped, &self.prefix);
        let has_moved = !is_there;
        if has_moved {
            self.prefix.clear();
            self.prefix.extend_from_slice(skipped);
        }
        has_moved
    }

    /// The rank of `key`.
    #[inline]
    pub(crate) fn rank(&self, key: &[u8]) -> u64 {
        let skip = self.prefix.len();
        // An empty prefix is asked for apart, for the reason that `begins_with` gives.
        let side = match skip {
            0 => Ordering::Equal,
            _ => key[..skip.min(key.len())].cmp(&self.prefix),
        };
        let rank = match side {
            Ordering::Less => RANK_BEFORE,
            Ordering::Equal => RANK_WITHIN + (digest(key, skip) >> 1),
            Ordering::Greater => RANK_AFTER,
        };
        rank ^ self.flip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&[u8]; 14] = [
        b"",
        b"\0",
        b"tenant",
        b"tenant/0041/user/00000001",
        b"tenant/0042",
        b"tenant/0042/user/",
        b"tenant/0042/user/\0",
        b"tenant/0042/user/00000001",
        b"tenant/0042/user/00000001/more",
        b"tenant/0042/user/00000002",
        b"tenant/0042/user/00000003",
        b"tenant/0042/user/\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"tenant/0043",
        b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
    ];

    #[test]
    fn ranks_that_differ_order_as_keys_do_wherever_the_window_is() {
        for (key, shared_bytes) in
            KEYS.iter().flat_map(|key| (0..=key.len()).map(move |n| (key, n)))
        {
            let mut window = Window::new();
            window.focus(key, shared_bytes);
            for direction in [Direction::Forward, Direction::Backward] {
                window.face(direction);
                for (one, other) in KEYS.iter().flat_map(|one| KEYS.map(|other| (one, other))) {
                    let ranks = window.rank(one).cmp(&window.rank(other));
                    let expected = match direction {
                        Direction::Forward => one.cmp(&other),
                        Direction::Backward => other.cmp(one),
                    };
                    assert!(ranks.is_eq() || ranks == expected, "{one:?}, {other:?}, {window:?}");
                    assert!(window.rank(one) < RANK_AT_END);
                }
            }
        }
    }

    #[test]
    fn a_focused_window_tells_neighbours_apart() {
        let mut window = Window::new();
        assert_eq!(window.rank(KEYS[7]), window.rank(KEYS[9]), "the first 8 bytes are all alike");
        assert!(window.focus(KEYS[7], crate::common_prefix(KEYS[7], KEYS[9])));
        assert!(window.rank(KEYS[7]) < window.rank(KEYS[9]));
        assert!(!window.focus(KEYS[9], 24), "it stands there already");
    }
}
