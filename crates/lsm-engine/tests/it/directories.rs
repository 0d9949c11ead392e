//! What a path may lead to, and what opening it answers.

use std::path::{Path, PathBuf};

use lsm_engine::{Db, ErrorKind, Options, Reads, RepairOptions, repair};
use lsm_io::{SimFs, every};

use crate::{open, tiny_options};

#[test]
fn a_file_is_no_database() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("file");
    std::fs::write(&path, "text").expect("writes");
    let error = Db::open(&path).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("is a file; a database is a directory"), "{error}");
    assert_eq!(std::fs::read(&path).expect("reads"), b"text", "untouched");
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("letter.txt"), "dear").expect("writes");
    let error = Db::open(dir.path()).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("letter.txt"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("lists").count(), 1, "nothing was created");
}

#[test]
fn a_missing_database_is_not_created_unless_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { create_if_missing: false, ..Options::default() };
    let error = Db::open_with(dir.path().join("none"), options).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(!dir.path().join("none").exists());
}

#[test]
fn a_directory_that_may_not_be_written_is_an_error_that_names_it() {
    let fs = SimFs::new(0);
    open(&fs).close().expect("closes");
    fs.fail(every().lock_of("*").with(std::io::ErrorKind::PermissionDenied));
    let error = Db::open_with("db", tiny_options(&fs)).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("db/LOCK"), "{error}");
    let reader = Db::open_read_only_with("db", tiny_options(&fs)).expect("reading needs no lock");
    assert_eq!(reader.iter().count(), 0);
}

#[test]
fn a_database_that_is_open_is_busy_and_names_its_holder() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Db::open(dir.path()).expect("opens");
    let error = Db::open(dir.path()).expect_err("is open already");
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    first.close().expect("closes");
    Db::open(dir.path()).expect("opens again");
}

/// Changes the first manifest's identity frame from `offset` on, under a right checksum, as a newer
/// program would have written it.
fn write_as_a_newer_program(fs: &SimFs, offset: usize, change: &[u8]) {
    let (manifest, _) = fs
        .files()
        .into_iter()
        .find(|(path, _)| path.extension().is_some_and(|extension| extension == "manifest"))
        .expect("there is a manifest");
    fs.damage(&manifest, |bytes| {
        bytes[offset..offset + change.len()].copy_from_slice(change);
        let length = u32::from_le_bytes(bytes[4..8].try_into().expect("4 bytes")) as usize;
        let mut hashed = bytes[24..24 + length].to_vec();
        hashed.extend_from_slice(&bytes[4..24]);
        hashed.extend_from_slice(&0u64.to_le_bytes());
        let checksum = lsm_io::checksum::crc32(&hashed);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    });
}

#[test]
fn a_newer_format_is_refused_naming_both_versions() {
    let fs = SimFs::new(0);
    open(&fs).close().expect("closes");
    // 24 bytes of header, 8 of magic, then the version.
    write_as_a_newer_program(&fs, 32, &99u32.to_le_bytes());
    let error = Db::open_with("db", tiny_options(&fs)).expect_err("refused");
    let message = error.to_string();
    assert!(message.contains("99") && message.contains('1'), "{message}");
}

#[test]
fn what_only_a_newer_program_may_write_can_be_read() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    db.put("key", "value").expect("writes");
    db.close().expect("closes");
    // After the version, 8 bytes of features needed to read and 8 of those needed to write.
    write_as_a_newer_program(&fs, 44, &4u64.to_le_bytes());
    let error = Db::open_with("db", tiny_options(&fs)).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("needs features 0x4 to be written"), "{error}");
    let db = Db::open_read_only_with("db", tiny_options(&fs)).expect("opens");
    assert_eq!(db.get("key").expect("reads").expect("there"), "value");
}

#[test]
fn what_only_a_newer_program_may_write_is_not_repaired() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    db.put("key", "value").expect("writes");
    db.close().expect("closes");
    // Something to repair, beside a manifest that says who may.
    let files = || fs.files().into_iter().map(|(path, _)| path);
    let is_table = |path: &PathBuf| path.extension().is_some_and(|it| it == "sst");
    fs.damage(files().find(is_table).expect("the close flushed"), |bytes| bytes[10] ^= 1);
    write_as_a_newer_program(&fs, 44, &4u64.to_le_bytes());
    let is_content = |path: &PathBuf| !path.ends_with("LOCK");
    let content = || files().filter(is_content).map(|path| fs.read_file(path)).collect::<Vec<_>>();
    let before = content();
    let options = RepairOptions { dry_run: false, env: tiny_options(&fs).env };
    let error = repair("db", options).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("needs features 0x4 to be written"), "{error}");
    assert!(content() == before, "something was changed");
}

#[test]
fn a_creation_cut_short_at_any_step_can_be_begun_again() {
    let steps = SimFs::new(0).count_steps(|fs| {
        let _ = Db::open_with("db", tiny_options(fs));
    });
    for step in 0..steps {
        let fs = SimFs::new(step).crash_at(step);
        let _ = Db::open_with("db", tiny_options(&fs));
        let fs = fs.restart();
        let db = Db::open_with("db", tiny_options(&fs)).expect("creates it after all");
        db.put("key", "value").expect("writes");
        assert_eq!(db.get("key").expect("reads").expect("there"), "value", "step {step}");
    }
}

#[test]
fn a_lost_current_is_reported_and_not_taken_for_an_empty_database() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    db.put("key", "value").expect("writes");
    db.close().expect("closes");
    lsm_io::Fs::remove_file(&fs, Path::new("db/CURRENT")).expect("removes");
    let error = Db::open_with("db", tiny_options(&fs)).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("CURRENT"), "{error}");
}

#[test]
fn a_missing_table_is_reported_by_name_when_opening() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    db.put("key", "value").expect("writes");
    db.close().expect("closes");
    let (table, _) = fs
        .files()
        .into_iter()
        .find(|(path, _)| path.extension().is_some_and(|extension| extension == "sst"))
        .expect("there is a table");
    lsm_io::Fs::remove_file(&fs, &table).expect("removes");
    let error = Db::open_with("db", tiny_options(&fs)).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let name = table.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(error.to_string().contains(&name), "{error}");
}
