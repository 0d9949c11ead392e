//! The format page against the bytes.

use std::fmt::Write;

use lsm_bloom::{Filter, FilterBuilder};

const PAGE: &str = include_str!("../../../../docs/formats/filter.md");

#[test]
fn the_worked_example_of_the_format_page_is_what_is_written() {
    let mut builder = FilterBuilder::new(10.0);
    builder.add(0x0123_4567_89AB_CDEF);
    builder.add(0xFEDC_BA98_7654_3210);
    let bytes = builder.finish();
    let mut dump = String::new();
    for (number, line) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(dump, "{:04x}  {}", number * 16, hex.join(" ")).expect("a string");
    }
    assert!(PAGE.contains(&dump), "the page should show\n{dump}");
    let filter = Filter::parse(&bytes).expect("just built");
    assert!(filter.may_contain(0x0123_4567_89AB_CDEF) && filter.may_contain(0xFEDC_BA98_7654_3210));
    assert!(!filter.may_contain(0));
}

/// A reader written from the page alone: slow and plain.
fn may_contain(bytes: &[u8], hash: u64) -> bool {
    let lines = u64::from(u32::from_le_bytes(bytes[4..8].try_into().expect("4 bytes")));
    let line = ((hash >> 32) * lines) >> 32;
    let mut state = hash % (1 << 32);
    (0..bytes[1]).all(|_| {
        state = (state * 0x9E37_79B9 + 0x7F4A_7C15) % (1 << 32);
        let bit = state >> 23;
        bytes[8 + line as usize * 64 + bit as usize / 8] >> (bit % 8) & 1 == 1
    })
}

#[test]
fn a_reader_written_from_the_page_gives_the_same_answers() {
    for bits_per_key in [2.0, 10.0, 13.0, 64.0] {
        let bytes = crate::filter_of(500, bits_per_key);
        let filter = Filter::parse(&bytes).expect("just built");
        for hash in (0..20_000).map(crate::hash) {
            assert_eq!(filter.may_contain(hash), may_contain(&bytes, hash), "{hash:#x}");
        }
    }
}

#[test]
fn a_shape_finds_lines_in_the_bytes_of_its_filter_and_in_no_others() {
    let mut builder = FilterBuilder::new(10.0);
    (0..1000).for_each(|hash: u64| builder.add(hash.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let bytes = builder.finish();
    let filter = Filter::parse(&bytes).expect("just built");
    for hash in (0..1000).map(|hash: u64| hash.wrapping_mul(0xC2B2_AE3D_27D4_EB4F)) {
        let line = filter.shape().line(&bytes, hash).expect("a line of it");
        assert_eq!(line.may_contain(hash), filter.may_contain(hash));
    }
    let in_last_line = u64::MAX;
    assert!(filter.shape().line(&bytes[..bytes.len() - 1], in_last_line).is_none());
    assert!(filter.shape().line(&[], 0).is_none());
}
