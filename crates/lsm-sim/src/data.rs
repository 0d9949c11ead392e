//! Keys and values as histories write them, by number: a model holds a number where the engine
//! holds bytes.
//!
//! Keys stand in the order of their bytes; the place in it is a key's *rank*.

use std::sync::LazyLock;

use lsm_engine::SeqNo;

use crate::sieve::unmarked;

/// One write of a batch: keyspace, key, and the value's number (`None`: delete; from [`OPERANDS`] on:
/// a merge operand).
pub type Write = (u8, u16, Option<u32>);

/// Keyspaces that histories write to; 0 is the default one, which is always there.
pub const KEYSPACES: u8 = 4;
/// Different keys that there are at most.
pub const KEYS: u16 = 512;

/// Numbers from this one on are not those of values, but of merge operands (see `chain.rs`).
pub const OPERANDS: u32 = 0xF000_0000;

/// The time that never comes: a value that expires then is kept for ever.
pub const NEVER_MS: u64 = u64::MAX;

/// A value that a keyspace holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number.
    pub value: u32,
    /// The database time from which on nobody finds it, in milliseconds since 1970.
    pub expires_at_ms: u64,
    /// What is found then: what merge operands come to without the value that has expired.
    pub later: Option<u32>,
}

impl Held {
    /// Its number, for who reads at this time.
    pub fn at(self, time_ms: u64) -> Option<u32> {
        if time_ms < self.expires_at_ms { Some(self.value) } else { self.later }
    }
}

/// Whether a write of an [`Op::WriteTtl`](crate::op::Op::WriteTtl) has the time to live that it says:
/// others of the same batch have none of their own.
pub fn has_ttl(value: u32) -> bool {
    !value.is_multiple_of(3)
}

/// A commit's place, before the engine has told it.
pub const UNKNOWN: SeqNo = SeqNo::MAX;

struct Keys {
    by_rank: Vec<Vec<u8>>,
    numbers_by_rank: Vec<u16>,
    ranks: Vec<usize>,
}

static ALL_KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let mut numbered: Vec<_> = (0..KEYS).map(|key| (make_key(key), key)).collect();
    numbered.sort();
    let mut ranks = vec![0; usize::from(KEYS)];
    for (rank, (_, key)) in numbered.iter().enumerate() {
        ranks[usize::from(*key)] = rank;
    }
    let (by_rank, numbers_by_rank) = numbered.into_iter().unzip();
    Keys { by_rank, numbers_by_rank, ranks }
});

/// Short keys, ones that share a long prefix, the empty one, 0xFF bytes.
fn make_key(key: u16) -> Vec<u8> {
    match key {
        0 => Vec::new(),
        1 => vec![0xFF],
        2 => vec![0xFF, 0xFF],
        3 => vec![0],
        _ => match key % 3 {
            0 => format!("tenant/0042/user/{key:05}").into_bytes(),
            1 => format!("tenant/{key}").into_bytes(),
            _ => key.to_be_bytes().to_vec(),
        },
    }
}

/// A key's rank.
pub fn rank(key: u16) -> usize {
    ALL_KEYS.ranks[usize::from(key)]
}

/// The bytes of a key.
pub fn key_bytes(key: u16) -> &'static [u8] {
    key_at(rank(key))
}

/// The bytes of the key with this rank.
pub fn key_at(rank: usize) -> &'static [u8] {
    &ALL_KEYS.by_rank[rank]
}

/// Every key from one up to another, exclusive, in their order; `None`: to the end.
pub fn keys_between(from: u16, to: Option<u16>) -> &'static [u16] {
    let end = to.map_or(usize::from(KEYS), rank);
    ALL_KEYS.numbers_by_rank.get(rank(from)..end).unwrap_or_default()
}

/// The rank of the key with these bytes, if histories know such a one.
pub fn rank_of(bytes: &[u8]) -> Option<usize> {
    ALL_KEYS.by_rank.binary_search_by(|key| key.as_slice().cmp(bytes)).ok()
}

/// Keys that [`Sweep`](crate::op::Op::Sweep) deletes and nobody puts: more tombstones than there have to be
/// in a table for it to be merged for their sake.
const SWEPT: u32 = 1_100;
const SWEPT_PREFIX: &str = "swept/";

/// The keys that a sweep deletes.
pub fn swept_keys() -> impl Iterator<Item = Vec<u8>> {
    (0..SWEPT).map(|n| format!("{SWEPT_PREFIX}{n:04}").into_bytes())
}

/// Whether a sweep deletes this key.
pub fn is_swept(key: &[u8]) -> bool {
    key.starts_with(SWEPT_PREFIX.as_bytes())
}

/// How long a value is: mostly short, sometimes empty, seldom longer than a block.
fn value_length(value: u32) -> usize {
    match value % 32 {
        0 => 0,
        1 => 5000,
        2..8 => 300,
        rest => rest as usize,
    }
}

/// What a value repeats: its number.
fn value_pattern(value: u32, pattern: &mut [u8; 16]) -> &[u8] {
    let mut start = pattern.len() - 1;
    pattern[start] = b'-';
    let mut rest = value;
    loop {
        start -= 1;
        pattern[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    start -= 1;
    pattern[start] = b'v';
    &pattern[start..]
}

/// The bytes of a value.
pub fn value_bytes(value: u32) -> Vec<u8> {
    let length = value_length(value);
    let mut pattern = [0; 16];
    let pattern = value_pattern(value, &mut pattern);
    let mut bytes = Vec::with_capacity(length + pattern.len());
    while bytes.len() < length {
        bytes.extend_from_slice(pattern);
    }
    bytes.truncate(length);
    bytes
}

/// Whether these are the bytes of that value, filtered or not.
pub fn is_value(value: u32, bytes: &[u8]) -> bool {
    let bytes = unmarked(bytes);
    let mut pattern = [0; 16];
    let pattern = value_pattern(value, &mut pattern);
    bytes.len() == value_length(value)
        && bytes.chunks(pattern.len()).all(|piece| *piece == pattern[..piece.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_follow_the_order_of_the_bytes() {
        for key in 0..KEYS {
            assert_eq!(rank_of(key_bytes(key)), Some(rank(key)));
        }
        assert!((1..usize::from(KEYS)).all(|rank| key_at(rank - 1) < key_at(rank)));
        assert_eq!(rank_of(b"unknown"), None);
        assert_eq!(keys_between(0, None).len(), usize::from(KEYS));
        assert_eq!(keys_between(0, Some(3)), [0], "a zero byte follows the empty key");
        assert!(keys_between(3, Some(0)).is_empty());
    }

    #[test]
    fn a_value_is_told_from_others() {
        for value in (0..200).chain([u32::MAX, 1_000_000_001]) {
            let mut bytes = value_bytes(value);
            assert!(is_value(value, &bytes), "{value}");
            bytes.push(b'x');
            assert!(!is_value(value, &bytes), "{value} and one byte more");
            if bytes.len() > 6 {
                bytes.pop();
                bytes[5] ^= 1;
                assert!(!is_value(value, &bytes), "{value} with a byte changed");
            }
        }
    }
}
