//! Eight bytes of a key in one number, so that most comparisons touch no key.

/// The 8 bytes of `key` from `skip` on, big-endian, zeros where the key has ended.
///
/// For keys that agree in their first `skip` bytes, digests that differ order as the keys do;
/// equal ones leave the keys to decide.
#[inline]
pub fn digest(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or(&[]);
    match rest.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(bytes)
        }
    }
}

/// How many bytes two keys have in common at their start.
#[inline]
pub fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_that_differ_order_as_keys_do() {
        let keys: [&[u8]; 8] =
            [b"ab", b"ab\0", b"ab\0\x01", b"abc", b"abcdefghij", b"abcdefghik", b"abd", b"ab\xFF"];
        for one in keys {
            for other in keys {
                let order = digest(one, 2).cmp(&digest(other, 2));
                assert!(order.is_eq() || order == one.cmp(other), "{one:?} and {other:?}");
            }
        }
    }

    #[test]
    fn a_prefix_ends_where_keys_part_or_end() {
        assert_eq!(common_prefix(b"tenant/1", b"tenant/2"), 7);
        assert_eq!(common_prefix(b"a", b"ab"), 1);
        assert_eq!(common_prefix(b"", b"ab"), 0);
    }
}
