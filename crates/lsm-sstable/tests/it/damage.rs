//! Damage of every kind to every part: the right value or a typed error, never a wrong value.

use std::path::PathBuf;

use lsm_entry::{Cursor, Entry, MAX_SEQ_NO, OwnedEntry, key_hash};
use lsm_io::{Error, Fs, Identity, OpenMode, every, nth};
use lsm_sstable::{BlockCache, Compression, ReadMode, Table};

use crate::support::{Disk, IDENTITY, PATH, compressions, put, small_blocks};

fn entries() -> Vec<OwnedEntry> {
    let mut entries: Vec<OwnedEntry> = Vec::new();
    for n in 0..14_u64 {
        let key = format!("key/{n:02}");
        entries.push(put(&key, 20 + n, "a value that repeats, a value that repeats"));
        if n % 3 == 0 {
            entries.push(Entry::delete(key.as_bytes(), 3).into());
        }
    }
    entries
}

fn small_table(compression: Compression) -> Disk {
    Disk::write_with(&entries(), &[(b"key/03", b"key/05", 2)], small_blocks(compression))
}

fn modes() -> [ReadMode; 2] {
    [ReadMode::Mapped(BlockCache::new(1 << 16)), ReadMode::Cached(BlockCache::new(1 << 16))]
}

#[track_caller]
fn check_corrupt(error: &Error, what: &str) {
    let Error::Corrupt { path, .. } = error else { panic!("{what}: not corruption: {error}") };
    assert_eq!(path, &PathBuf::from(PATH), "{what}: the file is named");
}

/// Reads everything there is; gives whether damage was met. What is read is right.
fn read_all(disk: &Disk, mode: ReadMode, entries: &[OwnedEntry], what: &str) -> bool {
    let table = match disk.open(mode) {
        Ok(table) => table,
        Err(error) => {
            check_corrupt(&error, what);
            return true;
        }
    };
    let mut is_met = false;
    for entry in entries {
        match table.get(&entry.key, key_hash(&entry.key), entry.seq_no) {
            Ok(found) => {
                let found = found.as_ref().map(|found| found.entry());
                assert_eq!(found, Some(entry.as_entry()), "{what}: a wrong value");
                assert!(table.may_contain(key_hash(&entry.key)), "{what}: a wrong no");
            }
            Err(error) => {
                check_corrupt(&error, what);
                is_met = true;
            }
        }
    }
    let mut cursor = table.cursor();
    let mut outcome = cursor.seek_first();
    let mut seen = 0;
    while let (Ok(()), Some(entry)) = (&outcome, cursor.entry()) {
        assert_eq!(entry, entries[seen].as_entry(), "{what}: a wrong entry in a scan");
        seen += 1;
        outcome = cursor.next();
    }
    assert!(outcome.is_err() || seen == entries.len(), "{what}: a scan that ends early");
    is_met |= outcome.is_err();
    match table.verify() {
        Ok(_) => is_met,
        Err(error) => {
            check_corrupt(&error, what);
            true
        }
    }
}

#[test]
fn every_flipped_bit_is_found_and_none_gives_a_wrong_value() {
    let entries = entries();
    for compression in compressions() {
        let disk = small_table(compression);
        let bytes = disk.bytes().len();
        let mut flips = 0;
        for bit in 0..bytes * 8 {
            disk.fs.damage(PATH, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            for mode in modes() {
                let what = format!("bit {} of byte {} ({compression}, {mode:?})", bit % 8, bit / 8);
                assert!(read_all(&disk, mode, &entries, &what), "{what} was not found");
                flips += 1;
            }
            disk.fs.damage(PATH, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        }
        assert_eq!(flips, bytes * 16);
        for mode in modes() {
            assert!(!read_all(&disk, mode, &entries, "undamaged"), "an undamaged table is sound");
        }
    }
}

#[test]
fn every_other_length_is_refused() {
    for compression in compressions() {
        let disk = small_table(compression);
        let whole = disk.bytes();
        for length in 0..whole.len() {
            disk.fs.damage(PATH, |bytes| bytes.truncate(length));
            for mode in modes() {
                let error = disk.open(mode.clone()).expect_err("another length");
                check_corrupt(&error, "truncated");
                // Even where nobody knows how long it should be.
                let opened = Table::open(disk.file(), IDENTITY, length as u64, mode);
                check_corrupt(&opened.expect_err("no footer at its end"), "truncated");
            }
            disk.fs.damage(PATH, |bytes| bytes.clone_from(&whole));
        }
        for mode in modes() {
            disk.fs.damage(PATH, |bytes| bytes.push(0));
            check_corrupt(&disk.open(mode).expect_err("another length"), "longer");
            disk.fs.damage(PATH, |bytes| bytes.clone_from(&whole));
        }
    }
}

#[test]
fn zeroed_and_swapped_blocks_are_found() {
    let entries = entries();
    for compression in compressions() {
        let disk = small_table(compression);
        let table = disk.open(modes()[0].clone()).expect("opens");
        let blocks: Vec<(usize, usize)> = table
            .blocks()
            .map(|block| (block.offset as usize, block.stored_bytes as usize + 8))
            .collect();
        assert!(blocks.len() > 2, "{compression}: several blocks");
        let whole = disk.bytes();
        for mode in modes() {
            for (offset, length) in &blocks {
                disk.fs.damage(PATH, |bytes| bytes[*offset..offset + length].fill(0));
                assert!(read_all(&disk, mode.clone(), &entries, "a zeroed block"));
                disk.fs.damage(PATH, |bytes| bytes.clone_from(&whole));
            }
            let ((first, length), (second, other_length)) = (blocks[0], blocks[1]);
            let length = length.min(other_length);
            disk.fs.damage(PATH, |bytes| {
                bytes[first..first + length].copy_from_slice(&whole[second..second + length]);
            });
            assert!(read_all(&disk, mode, &entries, "a misdirected block"));
            disk.fs.damage(PATH, |bytes| bytes.clone_from(&whole));
        }
    }
}

#[test]
fn another_table_under_this_name_is_refused() {
    let disk = small_table(Compression::None);
    for other in [
        Identity { file_number: 8, ..IDENTITY },
        Identity { database_id: 1, ..IDENTITY },
        Identity::default(),
    ] {
        for mode in modes() {
            let opened = Table::open(disk.file(), other, disk.summary.bytes, mode);
            let error = opened.expect_err("another identity");
            check_corrupt(&error, "swapped");
            assert!(error.to_string().contains("this is table 7 of database"), "{error}");
        }
    }
    assert_eq!(Table::read_identity(&disk.file()).expect("reads"), IDENTITY);
}

#[test]
fn damage_to_one_block_leaves_the_others_readable() {
    let entries = entries();
    let disk = small_table(Compression::None);
    let table = disk.open(modes()[0].clone()).expect("opens");
    let (offset, last_key) = {
        let block = table.blocks().nth(1).expect("a second block");
        (block.offset, block.last_key.to_vec())
    };
    disk.fs.damage(PATH, |bytes| bytes[offset as usize + 40] ^= 1);
    for mode in modes() {
        let table = disk.open(mode).expect("opens");
        let error = table.get(&last_key, key_hash(&last_key), MAX_SEQ_NO).expect_err("damaged");
        assert!(error.to_string().contains(&format!("at byte {offset}:")), "{error}");
        let first = &entries[0];
        assert!(table.get(&first.key, key_hash(&first.key), MAX_SEQ_NO).expect("sound").is_some());

        let mut cursor = table.cursor();
        cursor.seek_first().expect("the first block is sound");
        assert!(cursor.seek(&last_key, MAX_SEQ_NO).is_err());
        assert_eq!(cursor.entry(), None, "after an error a cursor is at an end");
        cursor.seek_last().expect("the last block is sound");
        assert!(cursor.entry().is_some());
    }
}

#[test]
fn a_failing_disk_gives_an_error_and_no_table() {
    let disk = small_table(Compression::None);
    let [_, cached] = modes();
    let table = disk.open(cached.clone()).expect("opens");
    disk.fs.fail(every().read_of("*.sst").for_ever());
    let error = table.get(b"key/01", key_hash(b"key/01"), MAX_SEQ_NO).expect_err("fails");
    assert!(error.io_kind().is_some(), "{error}");
    assert!(disk.open(cached).expect_err("fails").io_kind().is_some());
    disk.fs.heal();
    assert!(table.get(b"key/01", key_hash(b"key/01"), MAX_SEQ_NO).expect("heals").is_some());
}

#[test]
fn a_write_or_sync_that_fails_is_told() {
    for fault in [nth(2).write_of("*.sst"), nth(1).sync_of("*.sst")] {
        let fs = lsm_io::SimFs::new(0).fail(fault);
        let file = fs.open(PATH.as_ref(), OpenMode::CreateNew).expect("a new file");
        let options = small_blocks(Compression::None);
        let mut writer = lsm_sstable::TableWriter::new(file, IDENTITY, options, Default::default());
        let added = (0..200_u32).try_for_each(|n| {
            let key = n.to_be_bytes();
            writer.add(Entry::put(&key, 1, &[0; 30]), key_hash(&key))
        });
        let outcome = added.and_then(|()| writer.finish().map(|_| ()));
        assert!(outcome.expect_err("told").io_kind().is_some());
    }
}
