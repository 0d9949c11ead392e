//! What a range delete covers, and how its bounds are written.
//!
//! A range is half-open: `lower` belongs to it, `upper` does not. An *empty* upper bound means that
//! there is none, for no key lies below the empty one. So what a range delete covers, and that it has
//! no end, is told by its two bounds alone, in the log and in memory.

use crate::{MAX_KEY_BYTES, SeqNo};

/// Every key from `lower` (inclusive) to `upper` (exclusive) that was written before `seq_no` is
/// gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RangeDelete {
    /// The first key that is gone.
    pub lower: Vec<u8>,
    /// The first key that is not; empty: there is none. In a table there always is one.
    pub upper: Vec<u8>,
    /// When it was written.
    pub seq_no: SeqNo,
}

impl RangeDelete {
    /// Whether any key lies in it.
    pub fn covers_anything(&self) -> bool {
        is_below(&self.lower, &self.upper)
    }

    /// A key that no key of it lies above: the last one it covers, where its upper bound follows a
    /// key directly, and else that bound.
    pub fn last_key(&self) -> &[u8] {
        last_key_below(&self.upper)
    }
}

/// Whether `key` lies below an upper bound, of which an empty one means that there is none.
#[inline]
pub fn is_below(key: &[u8], upper: &[u8]) -> bool {
    upper.is_empty() || key < upper
}

/// The bound that follows `key` directly: nothing lies between the two. It may be a byte longer than
/// a key can be.
pub fn bound_after(key: &[u8]) -> Vec<u8> {
    let mut bound = Vec::with_capacity(key.len() + 1);
    bound.extend_from_slice(key);
    bound.push(0);
    bound
}

/// The smallest key above `key`; `None` if it is the largest of all.
pub fn key_after(key: &[u8]) -> Option<Vec<u8>> {
    if key.len() < MAX_KEY_BYTES {
        return Some(bound_after(key));
    }
    // No longer key begins with it: the next one differs in its last byte that can grow.
    let mut next = key.to_vec();
    while let Some(last) = next.pop() {
        if last < 0xFF {
            next.push(last + 1);
            return Some(next);
        }
    }
    None
}

/// The largest key below a bound that [follows a key](bound_after); of any other bound, which has no
/// last key below it, the bound itself.
pub fn last_key_below(upper: &[u8]) -> &[u8] {
    upper.strip_suffix(&[0]).unwrap_or(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_after_is_the_smallest_above() {
        assert_eq!(key_after(b"").as_deref(), Some(&[0][..]));
        assert_eq!(key_after(b"a").as_deref(), Some(&b"a\0"[..]));
        let mut longest = vec![0xFF; MAX_KEY_BYTES];
        assert_eq!(key_after(&longest), None);
        longest[1] = 7;
        assert_eq!(key_after(&longest), Some(vec![0xFF, 8]));
    }

    #[test]
    fn a_bound_that_follows_a_key_tells_the_last_key_below() {
        assert_eq!(last_key_below(&bound_after(b"k")), b"k");
        assert_eq!(last_key_below(b"k"), b"k");
    }
}
