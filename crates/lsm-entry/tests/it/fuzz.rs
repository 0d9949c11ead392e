//! The payload's decoder against bytes that nobody wrote.

use lsm_entry::fuzz_records;

use crate::rng::Rng;

/// Payloads that are nearly right, each in a way of its own.
const CORPUS: [&[u8]; 11] = [
    b"",
    b"\x01\0\0\0\x01\0\0\0\x01kv",
    b"\x01\0\0\0\0\0\0\0\0k",
    b"\x04\0\0\0\0\0\0\0\x3F\x02\0\0\0\x01\0\0\0\0\0\0\0\0k",
    b"\x05\0\0\0\0\0\0\0\x3F\x02\0\0\0\0",
    b"\x04\0\0\0\x01\0\0\0\x3F\x02\0\0\0v",
    b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01",
    b"\0\0\0\0\xFF\xFF\xFF\xFF\x01",
    b"\0\0\0\0\x07\0\0\0\x41expires",
    b"\0\0\0\0\0\0\0\0\x05",
    b"\0\0\0\0\0\0\0\0\x84\0\0\0\0\0\0\0",
];

#[test]
fn the_kept_corpus_never_panics() {
    CORPUS.iter().for_each(|bytes| fuzz_records(bytes));
}

#[test]
fn damaged_payloads_never_panic() {
    for seed in 0..40_000 {
        let mut rng = Rng(seed);
        let mut bytes = Vec::new();
        for _ in 0..=rng.below(3) {
            bytes.extend_from_slice(rng.pick(&CORPUS));
        }
        for _ in 0..rng.below(3) {
            if !bytes.is_empty() {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.pick(&[0, 1, 2, 4, 0x3F, 0x40, 0xFF]);
            }
        }
        fuzz_records(&bytes);
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    for seed in 0..20_000 {
        let mut rng = Rng(seed);
        let bytes: Vec<u8> = (0..rng.below(64)).map(|_| rng.below(256) as u8).collect();
        fuzz_records(&bytes);
    }
}
