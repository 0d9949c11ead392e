//! Filters that nobody wrote.

use lsm_bloom::{Filter, fuzz_filter};

use crate::{filter_of, hash};

/// Headers that are nearly right, each in a way of its own; none is followed by a whole line.
const CORPUS: [&[u8]; 8] = [
    b"",
    b"\x01\x06\0\0\0\0\0",
    b"\x01\x06\0\0\0\0\0\0",
    b"\x01\x06\0\0\x01\0\0\0",
    b"\x01\0\0\0\x01\0\0\0",
    b"\x01\x11\0\0\x01\0\0\0",
    b"\x02\x06\0\0\x01\0\0\0",
    b"\x01\x06\0\x01\xFF\xFF\xFF\xFF",
];

#[test]
fn the_kept_corpus_never_panics() {
    for header in CORPUS {
        for length in [0, 1, 63, 64, 65, 128] {
            fuzz_filter(&[header, &vec![0xA5; length]].concat());
        }
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    for seed in 0..20_000 {
        let length = hash(seed) % 200;
        let mut bytes: Vec<u8> = (0..length).map(|n| hash((seed << 8) + n) as u8).collect();
        if seed % 2 == 0 && length > 8 {
            // With a header that may pass, so that the lines are reached.
            bytes[..4].copy_from_slice(&[1, 1 + (seed % 16) as u8, 0, 0]);
            bytes[4..8].copy_from_slice(&((length as u32 - 8) / 64).to_le_bytes());
            bytes.truncate(8 + (length as usize - 8) / 64 * 64);
        }
        fuzz_filter(&bytes);
    }
}

#[test]
fn a_cut_filter_is_refused() {
    let bytes = filter_of(100, 10.0);
    for length in 0..bytes.len() {
        assert!(Filter::parse(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_refusal_names_the_byte_and_the_reason() {
    let refusal = |at: usize, byte: u8| {
        let mut bytes = filter_of(100, 10.0);
        bytes[at] = byte;
        Filter::parse(&bytes).expect_err("refused").to_string()
    };
    assert_eq!(refusal(0, 9), "unknown filter version at byte 0 of the filter");
    assert_eq!(refusal(1, 0), "impossible number of probes at byte 1 of the filter");
    assert_eq!(refusal(1, 17), "impossible number of probes at byte 1 of the filter");
    assert_eq!(refusal(3, 1), "reserved bytes are not zero at byte 2 of the filter");
    assert_eq!(refusal(4, 3), "the lines do not fill the bytes at byte 4 of the filter");
}
