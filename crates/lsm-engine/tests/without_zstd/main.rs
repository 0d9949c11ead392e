//! What a program built without the feature `zstd` does with a database of one built with it: it says
//! what is missing, and changes nothing.
//!
//! A program of its own, for every other test is built with all features. What only the other program
//! could write is written by hand.
#![cfg(not(feature = "zstd"))]

use std::collections::BTreeMap;
use std::path::Path;

use lsm_engine::{Db, ErrorKind, Reads, RepairOptions, repair};
use lsm_io::{Fs, Identity, SEAL_BYTES, Sealer, StdFs};
use lsm_manifest::{FileKind, Manifest, parse_file_name};
use tempfile::TempDir;

/// What every refusal tells its reader to do.
const REMEDY: &str = "build it with the feature lsm-engine/zstd";

/// Length of a table's footer (docs/formats/table.md), and where in it the features needed to read begin.
const FOOTER_BYTES: usize = 128;
const FEATURES_AT: usize = 16;

fn directory_with_a_table() -> TempDir {
    let dir = tempfile::tempdir().expect("makes a directory");
    let db = Db::open(dir.path()).expect("opens");
    db.put("key", "value").expect("writes");
    db.flush().expect("flushes");
    db.close().expect("closes");
    dir
}

/// All files but the lock, which says who held it last.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = StdFs.list(dir).expect("lists").into_iter();
    let kept = entries.filter(|entry| entry.name != "LOCK");
    kept.map(|entry| {
        let bytes = std::fs::read(dir.join(&entry.name)).expect("reads");
        (entry.name, bytes)
    })
    .collect()
}

/// Saves these options with the default keyspace, as another program would.
fn save_compression(dir: &Path, compression: &str) {
    let fs = StdFs::shared();
    let mut read = Manifest::read(&fs, dir).expect("reads");
    let number = read.state.next_file_number;
    read.state.next_file_number += 1;
    let options = &mut read.state.keyspaces[0].options;
    let others = options.lines().filter(|line| !line.starts_with("compression"));
    *options = others.map(|line| format!("{line}\n")).collect::<String>() + compression;
    Manifest::start(&fs, dir, number, read.state).expect("writes").close().expect("closes");
}

/// Says of every table that it holds zstd blocks, or that it does not, under a right checksum.
fn flip_zstd(dir: &Path) {
    for name in files(dir).into_keys().filter(|name| parse_file_name(name).0 == FileKind::Table) {
        let path = dir.join(name);
        let mut bytes = std::fs::read(&path).expect("reads");
        let at = bytes.len() - FOOTER_BYTES;
        let footer = &mut bytes[at..];
        footer[FEATURES_AT] ^= 2;
        let identity = Identity::from_bytes(footer[32..].first_chunk().expect("24 bytes"));
        let (sealed, seal) = footer.split_at_mut(FOOTER_BYTES - SEAL_BYTES);
        seal.copy_from_slice(&Sealer::new(identity).seal(at as u64, sealed).to_le_bytes());
        std::fs::write(&path, bytes).expect("writes");
    }
}

#[track_caller]
fn check_not_repaired(dir: &Path) {
    let before = files(dir);
    let refusal = repair(dir, RepairOptions::default()).expect_err("refused");
    assert_eq!(refusal.kind(), ErrorKind::Invalid, "{refusal}");
    assert!(refusal.to_string().contains(REMEDY), "{refusal}");
    assert!(files(dir) == before, "a repair that was refused has changed something");
}

#[test]
fn a_database_whose_options_ask_for_zstd_is_not_opened_and_not_changed() {
    let dir = directory_with_a_table();
    save_compression(dir.path(), "compression: none zstd(3)\n");
    let before = files(dir.path());
    let refusal = Db::open(dir.path()).expect_err("refused");
    assert_eq!(refusal.kind(), ErrorKind::Invalid, "no damage: nothing is to be repaired");
    assert!(refusal.to_string().contains("\"zstd(3)\""), "{refusal}");
    assert!(refusal.to_string().contains(REMEDY), "{refusal}");
    assert!(files(dir.path()) == before, "an open that was refused has changed something");
    let current = dir.path().join("CURRENT");
    std::fs::remove_file(&current).expect("removes");
    check_not_repaired(dir.path());

    std::fs::write(&current, &before["CURRENT"]).expect("writes");
    save_compression(dir.path(), "compression: none lz4\n");
    let db = Db::open(dir.path()).expect("opens");
    assert_eq!(db.get("key").expect("reads").as_deref(), Some(&b"value"[..]));
}

#[test]
fn a_table_with_zstd_blocks_is_not_read_and_not_changed() {
    let dir = directory_with_a_table();
    flip_zstd(dir.path());
    check_not_repaired(dir.path());
    let db = Db::open(dir.path()).expect("opens");
    let refusal = db.get("key").expect_err("refused");
    assert!(refusal.to_string().contains(REMEDY), "{refusal}");
    db.put("other", "value").expect("writes");
    db.flush().expect("flushes");
    let refusal = db.default_keyspace().compact_range::<&[u8]>(..).expect_err("refused");
    assert!(refusal.to_string().contains(REMEDY), "{refusal}");
    db.close().expect("closes");
    check_not_repaired(dir.path());
}
