//! What a filter promises, measured.

use lsm_bloom::{Filter, FilterBuilder, false_positive_rate, fuzz_filter};

/// Well mixed numbers, seeded.
fn hash(n: u64) -> u64 {
    let mut x = n.wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

fn filter_of(keys: u64, bits_per_key: f32) -> Vec<u8> {
    let mut builder = FilterBuilder::new(bits_per_key);
    (0..keys).for_each(|n| builder.add(hash(n)));
    builder.finish()
}

#[test]
fn what_was_added_is_never_denied() {
    for keys in [0, 1, 2, 50, 51, 52, 1000, 100_000] {
        for bits_per_key in [1.0, 4.0, 10.0, 20.0, 64.0] {
            let bytes = filter_of(keys, bits_per_key);
            let filter = Filter::parse(&bytes).expect("just built");
            assert!((0..keys).all(|n| filter.may_contain(hash(n))), "{keys} at {bits_per_key}");
        }
    }
}

#[test]
fn the_measured_rate_is_the_documented_one() {
    for bits_per_key in [4.0, 8.0, 10.0, 14.0, 16.0] {
        let bytes = filter_of(100_000, bits_per_key);
        let filter = Filter::parse(&bytes).expect("just built");
        let asked = 1_000_000;
        let wrong = (0..asked).filter(|n| filter.may_contain(hash(1 << 40 | n))).count();
        let measured = wrong as f64 / asked as f64;
        let expected = false_positive_rate(bits_per_key);
        let ratio = measured / expected;
        assert!((0.8..1.35).contains(&ratio), "{bits_per_key} bits: {measured} for {expected}");
    }
}

#[test]
fn an_empty_filter_denies_everything() {
    let bytes = filter_of(0, 10.0);
    let filter = Filter::parse(&bytes).expect("just built");
    assert!((0..1000).all(|n| !filter.may_contain(hash(n))));
}

#[test]
fn the_bytes_are_those_of_the_format_page() {
    let mut builder = FilterBuilder::new(10.0);
    builder.add(0x0123_4567_89AB_CDEF);
    let bytes = builder.finish();
    assert_eq!(bytes.len(), 8 + 64);
    assert_eq!(bytes[..8], [1, 6, 0, 0, 1, 0, 0, 0]);
    let set: Vec<_> = bytes[8..].iter().enumerate().filter(|(_, byte)| **byte != 0).collect();
    expect_test::expect!["[(0A, 08), (24, 02), (38, 20), (3A, 20), (3B, 80), (3C, 04)]"]
        .assert_eq(&format!("{set:02X?}"));
}

#[test]
fn every_truncation_and_header_bit_is_noticed_or_harmless() {
    let bytes = filter_of(100, 10.0);
    for length in 0..bytes.len() {
        assert!(Filter::parse(&bytes[..length]).is_err(), "{length} bytes");
    }
    for bit in 0..64 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fuzz_filter(&bytes);
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    for seed in 0..20_000u64 {
        let length = (hash(seed) % 200) as usize;
        let mut bytes: Vec<u8> = (0..length as u64).map(|n| hash(seed << 8 | n) as u8).collect();
        if length > 8 {
            bytes[..4].copy_from_slice(&[1, 6, 0, 0]);
            bytes[4..8].copy_from_slice(&((length as u32 - 8) / 64).to_le_bytes());
        }
        fuzz_filter(&bytes);
    }
}
