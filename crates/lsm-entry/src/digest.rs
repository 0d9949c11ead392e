//! Eight bytes of a key in one number, so that most comparisons touch no key.

/// The 8 bytes of `key` from `skip` on, big-endian, zeros where the key has ended.
///
/// For keys that agree in their first `skip` bytes, digests that differ order as the keys do;
/// equal ones leave the keys to decide.
#[inline]
pub fn digest(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or(&[]);
    if let Some(bytes) = rest.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    let missing_bits = 64 - 8 * rest.len() as u32;
    if let Some(bytes) = key.last_chunk() {
        // The key's last 8 bytes, of which the first ones are moved out: no copy of unknown length.
        return u64::from_be_bytes(*bytes).checked_shl(missing_bits).unwrap_or(0);
    }
    let bits = rest.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    bits.checked_shl(missing_bits).unwrap_or(0)
}

/// Whether `key` begins with `prefix`: the same as [`starts_with`](slice::starts_with), for prefixes that are
/// mostly empty.
///
/// An empty vector points nowhere, and to compare zero bytes with what is there takes some processors 150 ns: the C
/// library loads them masked, and where nothing is mapped the load is taken back. So it is not asked.
///
/// ```
/// use lsm_entry::begins_with;
///
/// assert!(begins_with(b"key", b"") && begins_with(b"key", b"ke"));
/// assert!(!begins_with(b"key", b"kez") && !begins_with(b"key", b"keys"));
/// ```
#[inline]
pub fn begins_with(key: &[u8], prefix: &[u8]) -> bool {
    prefix.is_empty() || key.starts_with(prefix)
}

/// How many bytes two keys have in common at their start.
#[inline]
pub fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let (one_words, _) = one.as_chunks::<8>();
    let (other_words, _) = other.as_chunks::<8>();
    let mut shared = 0;
    for (word, other_word) in one_words.iter().zip(other_words) {
        let difference = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other_word);
        if difference != 0 {
            return shared + difference.trailing_zeros() as usize / 8;
        }
        shared += 8;
    }
    let rest = one[shared..].iter().zip(&other[shared..]);
    shared + rest.take_while(|(byte, other_byte)| byte == other_byte).count()
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
    fn a_digest_is_eight_bytes_padded_with_zeros() {
        let key: Vec<u8> = (1..=20).collect();
        for length in 0..=key.len() {
            for skip in 0..=length + 2 {
                let rest = key[..length].get(skip..).unwrap_or(&[]);
                let mut bytes = [0; 8];
                let shown = rest.len().min(8);
                bytes[..shown].copy_from_slice(&rest[..shown]);
                assert_eq!(digest(&key[..length], skip), u64::from_be_bytes(bytes));
            }
        }
    }

    #[test]
    fn a_prefix_ends_where_keys_part_or_end() {
        assert_eq!(common_prefix(b"tenant/1", b"tenant/2"), 7);
        assert_eq!(common_prefix(b"a", b"ab"), 1);
        assert_eq!(common_prefix(b"", b"ab"), 0);
        let key = *b"keys of twenty bytes";
        for length in 0..=key.len() {
            assert_eq!(common_prefix(&key, &key[..length]), length);
            let mut other = key;
            if let Some(byte) = other.get_mut(length) {
                *byte ^= 1;
            }
            assert_eq!(common_prefix(&other, &key), length);
        }
    }
}
