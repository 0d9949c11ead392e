//! Files made to mislead, their checksums right: every number that can be counted is.

use lsm_entry::{MAX_SEQ_NO, key_hash};
use lsm_sstable::fuzz::seal_all;

use crate::format::example;
use crate::support::{Disk, PATH, modes};

/// Changes the format page's example at `offset`, makes the checksums right, and expects `verify`
/// to say what is wrong.
#[track_caller]
fn check_lie(offset: usize, from: &[u8], to: &[u8], expected: &str) {
    let disk = lie(offset, from, to);
    for mode in modes() {
        let refusal = disk.open(mode).and_then(|table| table.verify()).expect_err("a lie");
        assert!(refusal.to_string().contains(expected), "{refusal}");
    }
}

#[track_caller]
fn lie(offset: usize, from: &[u8], to: &[u8]) -> Disk {
    let disk = example();
    disk.fs.damage(PATH, |bytes| {
        let place = &mut bytes[offset..offset + to.len()];
        assert_eq!(place, from, "the example has changed: see the format page");
        place.copy_from_slice(to);
        seal_all(bytes).expect("still a table");
    });
    disk
}

#[test]
fn a_lie_under_a_right_checksum_is_found() {
    check_lie(0x01, b"\x09", b"\x29", "two entries are of one key, but the header says no");
    check_lie(0x20, b"\x51", b"\x52", "a tag is not that of its key");
    check_lie(0x24, b"\x02\x01", b"\x01\x02", "the entries are out of order");
    check_lie(0x48, b"lppa", b"mppa", "a digest is not that of its key");
    check_lie(0x24, b"\x02", b"\x04", "block is not what the index says");
    check_lie(0x14d, b"\x00", b"\x01", "block is not what the index says");
    check_lie(0x82, b"\x00\x02", b"\x00\x00", "a key is missing in the filter");
    check_lie(0xe9, b"\x06\x01\x03", b"\x06\x01\x04", "properties count something else");
}

#[test]
fn a_block_whose_entries_do_not_lie_in_it_is_refused_at_first_touch() {
    for (offset, from, to, expected) in [
        (0x29, &b"\x08\x00"[..], &b"\x0e\x00"[..], "an entry ends before it starts"),
        (0x29, b"\x08\x00", b"\x04\x00", "a key is longer than its entry"),
        (0x2d, b"\x18\x00", b"\x17\x00", "the last entry ends before the entries do"),
        (0x2d, b"\x18\x00", b"\x18\x10", "an entry ends before it starts"),
        (0x26, b"\x01", b"\x03", "an entry is of an unknown kind"),
        (0x06, b"\x00", b"\x06", "the common prefix is longer than the first key"),
        (0x47, b"\x00", b"\x01", "the bytes behind the entries are not zero"),
    ] {
        let disk = lie(offset, from, to);
        for mode in modes() {
            let table = disk.open(mode).expect("opens: blocks are not looked at");
            let refusal = table.get(b"lemon", key_hash(b"lemon"), MAX_SEQ_NO).expect_err("a lie");
            assert!(refusal.to_string().contains(expected), "{refusal}");
        }
    }
}
