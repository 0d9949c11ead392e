//! Files made to mislead: no panic, no memory beyond bounds, a typed error or some answer.

use lsm_entry::{Entry, MAX_SEQ_NO, OwnedEntry, Tag, key_hash};
use lsm_sstable::fuzz::{fuzz_block, fuzz_sealed_table, fuzz_table, seal_all};

use crate::format::example;
use crate::support::{Disk, PATH, Rng, compressions, modes, put, small_blocks};

fn tables() -> Vec<Vec<u8>> {
    let mut entries: Vec<OwnedEntry> = Vec::new();
    for n in 0..40_u64 {
        let key = format!("k{}/{n:03}", n / 10);
        let value = vec![n as u8; (n as usize * 7) % 50];
        entries.push(put(&key, 1000 + n, &value));
        if n % 7 == 1 {
            let (key, tag) = (key.clone().into(), Tag::PUT.with_expiry());
            entries.push(OwnedEntry { key, seq_no: 1, tag, value: vec![9; 12] });
        }
        if n % 5 == 0 {
            entries.push(Entry::delete(key.as_bytes(), 0).into());
        }
    }
    let tables = compressions().into_iter().map(|compression| {
        Disk::write_with(&entries, &[(b"k1", b"k2", 5)], small_blocks(compression)).bytes()
    });
    tables.collect()
}

/// Changes a few bytes, favouring values that stand for something.
fn mutate(bytes: &mut [u8], rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len());
        let Some(byte) = bytes.get_mut(at) else { return };
        *byte = match rng.below(5) {
            0 => 0,
            1 => 0xFF,
            2 => byte.wrapping_add(1),
            3 => *byte ^ (1 << rng.below(8)),
            _ => rng.next() as u8,
        };
    }
}

#[test]
fn tables_of_arbitrary_bytes_do_no_harm() {
    let mut rng = Rng(1);
    for table in tables() {
        fuzz_table(&table);
        fuzz_sealed_table(&table);
        for _ in 0..1500 {
            let mut mutated = table.clone();
            mutate(&mut mutated, &mut rng);
            fuzz_table(&mutated);
            fuzz_sealed_table(&mutated);
        }
        for length in 0..table.len() {
            fuzz_sealed_table(&table[table.len() - length..]);
        }
    }
}

#[test]
fn tails_of_arbitrary_bytes_do_no_harm() {
    // The sections decide what is read and how much: most of the mischief is to be done there.
    let mut rng = Rng(2);
    for table in tables() {
        let tail = table.len() - table.len() / 3;
        for _ in 0..3000 {
            let mut mutated = table.clone();
            mutate(&mut mutated[tail..], &mut rng);
            fuzz_sealed_table(&mutated);
        }
    }
}

#[test]
fn blocks_of_arbitrary_bytes_do_no_harm() {
    let mut rng = Rng(3);
    for length in 0..200 {
        let noise: Vec<u8> = (0..length).map(|_| rng.next() as u8).collect();
        fuzz_block(&noise);
        fuzz_table(&noise);
    }
    let plain = &tables()[0];
    // The first block, whose header says where it ends; the rest does not matter to the decoder.
    for length in 32..300 {
        let block = &plain[..length.min(plain.len())];
        fuzz_block(block);
        for _ in 0..60 {
            let mut mutated = block.to_vec();
            mutate(&mut mutated, &mut rng);
            fuzz_block(&mutated);
        }
    }
}

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
