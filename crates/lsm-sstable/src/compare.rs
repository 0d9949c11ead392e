//! Comparing short keys in place.
//!
//! Keys are mostly short, and where a point read compares two they are mostly equal. Taking eight
//! bytes at a time right there is then faster than calling the comparison for strings of any length.

use std::cmp::Ordering;

/// Whether two keys are equal.
#[inline]
pub(crate) fn is_same(key: &[u8], other: &[u8]) -> bool {
    if key.len() != other.len() {
        return false;
    }
    let ((words, rest), (other_words, other_rest)) = (key.as_chunks::<8>(), other.as_chunks::<8>());
    // Each a loop that may end early: one that may not is made a vector's, for keys as no one has.
    words.iter().zip(other_words).all(|(word, other)| word == other)
        && rest.iter().zip(other_rest).all(|(byte, other)| byte == other)
}

/// How keys that start as `key` does stand to those that start with `prefix`: `Equal` if `key` is
/// one of these.
#[inline]
pub(crate) fn compare_prefix(key: &[u8], prefix: &[u8]) -> Ordering {
    let start = key.get(..prefix.len()).unwrap_or(key);
    if is_same(start, prefix) { Ordering::Equal } else { start.cmp(prefix) }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_the_same_when_their_bytes_are(
            key in vec(0_u8..2, 0..40),
            other in vec(0_u8..2, 0..40),
            at in any::<prop::sample::Index>(),
        ) {
            prop_assert_eq!(is_same(&key, &other), key == other);
            prop_assert!(is_same(&key, &key.clone()));
            let mut changed = key.clone();
            if !key.is_empty() {
                changed[at.index(key.len())] ^= 0x80;
                prop_assert!(!is_same(&key, &changed));
            }
        }

        #[test]
        fn a_key_stands_to_a_prefix_as_to_all_that_start_with_it(
            key in vec(0_u8..3, 0..12),
            prefix in vec(0_u8..3, 0..12),
        ) {
            let expected = if key.starts_with(&prefix) { Ordering::Equal } else { key.cmp(&prefix) };
            prop_assert_eq!(compare_prefix(&key, &prefix), expected);
        }
    }
}
