//! What `verify` sees, and what it lets pass.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lsm_engine::{Db, Durability, Step, VerifyOptions, verify_with};
use lsm_io::{Fs, SimFs};
use lsm_wal::{FrameReader, FrameStep};

use crate::{key, open, tiny_options};

/// Flips a bit of `text` in whichever segment of the log holds it.
fn damage_the_log(fs: &SimFs, text: &[u8]) {
    let (log, _) = fs
        .files()
        .into_iter()
        .find(|(path, _)| path.extension().is_some_and(|extension| extension == "log"))
        .expect("there is a log");
    fs.damage(&log, |bytes| {
        let at = bytes.windows(text.len()).position(|window| window == text).expect("is there");
        bytes[at] ^= 1;
    });
}

#[test]
fn damage_to_the_newest_durable_write_is_seen() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("a", "first").expect("writes");
    db.put("b", "newest").expect("writes");
    damage_the_log(&fs, b"newest");
    let report = db.verify().expect("verifies");
    let [damage] = report.damage.as_slice() else { panic!("{report:?}") };
    assert_eq!(damage.reason, "the frame's checksum does not match");
}

#[test]
fn what_is_not_durable_yet_may_look_like_anything() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("a", "durable").expect("writes");
    db.put_with("b", "not yet", Durability::Os.into()).expect("writes");
    damage_the_log(&fs, b"not yet");
    assert!(db.verify().expect("verifies").is_clean());
}

#[test]
fn a_log_that_ends_too_early_is_damage() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("a", "v").expect("writes");
    let (log, _) = fs
        .files()
        .into_iter()
        .find(|(path, _)| path.extension().is_some_and(|extension| extension == "log"))
        .expect("there is a log");
    fs.damage(&log, |bytes| bytes[76..].fill(0));
    let report = db.verify().expect("verifies");
    let [damage] = report.damage.as_slice() else { panic!("{report:?}") };
    assert_eq!((damage.offset, damage.path.clone()), (76, log));
    assert_eq!(damage.reason, "the log ends before what is durable in it");
}

#[test]
fn a_database_that_another_process_writes_verifies() {
    let fs = SimFs::new(1);
    let writer = open(&fs);
    writer.put("a", "durable").expect("writes");
    writer.put_with("b", "not yet", Durability::Os.into()).expect("writes");
    let reader = Db::open_read_only_with("db", tiny_options(&fs)).expect("opens");
    assert!(reader.verify().expect("verifies").is_clean());
}

/// Bits between two that a sweep flips; every one is flipped with `LSM_SWEEP=full`.
fn stride() -> usize {
    if std::env::var("LSM_SWEEP").is_ok_and(|sweep| sweep == "full") { 1 } else { 13 }
}

/// A small open database with tables, a manifest of several edits, an ended segment, and one that
/// was made ready.
fn small_and_open() -> (SimFs, Db) {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let users = db.keyspace("users").expect("creates");
    for n in 0..60 {
        db.put(key(n), format!("value of {n}")).expect("writes");
    }
    db.flush().expect("flushes");
    users.put("ada", "1815").expect("writes");
    db.put("large", vec![b'v'; 300 << 10]).expect("goes into a segment of its own");
    db.delete(key(7)).expect("writes");
    while db.step(Step::Log).expect("works") {}
    (fs, db)
}

/// How many bytes of each file count: all, but of a segment only those up to the last frame, and
/// nothing of the lock and the reserve.
fn bytes_that_count(fs: &SimFs) -> BTreeMap<PathBuf, u64> {
    let used = |path: &Path, bytes: u64| match path.extension().and_then(|ending| ending.to_str()) {
        Some("log") => {
            let mut reader = FrameReader::open(&fs.shared(), path, None).expect("opens");
            while let FrameStep::Frame(_) = reader.next().expect("reads") {}
            reader.offset()
        }
        Some(_) => bytes,
        None if path.ends_with("LOCK") || path.ends_with("RESERVE") => 0,
        None => bytes,
    };
    fs.files().into_iter().map(|(path, bytes)| (path.clone(), used(&path, bytes))).collect()
}

#[track_caller]
fn check_seen(db: &Db, path: &Path, what: &str) {
    let report = db.verify().expect("verifies");
    let is_named = report.damage.iter().any(|damage| damage.path == path);
    // A damaged CURRENT may be told of the manifest that it names, and a manifest of CURRENT.
    assert!(is_named || !report.is_clean(), "{}: {what} was not seen", path.display());
}

#[test]
fn every_flipped_bit_of_a_live_file_is_seen() {
    let (fs, db) = small_and_open();
    assert!(db.verify().expect("verifies").is_clean());
    let mut flips = 0_u64;
    for (path, bytes) in bytes_that_count(&fs) {
        // The one long value is the same byte again and again: some of its bits stand for all.
        let stride = if bytes > 64 << 10 { 9973 } else { stride() };
        for bit in (0..bytes as usize * 8).step_by(stride) {
            let flip = |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8);
            fs.damage(&path, flip);
            check_seen(&db, &path, &format!("bit {bit}"));
            fs.damage(&path, flip);
            flips += 1;
        }
    }
    assert!(db.verify().expect("verifies").is_clean());
    assert!(flips > 1000, "{flips} bits flipped");
}

#[test]
fn every_truncation_of_a_live_file_is_seen() {
    let (fs, db) = small_and_open();
    for (path, bytes) in bytes_that_count(&fs) {
        let whole = fs.read_file(&path);
        let stride = if bytes > 64 << 10 { 997 } else { stride() };
        for length in (0..bytes as usize).step_by(stride) {
            fs.damage(&path, |bytes| bytes.truncate(length));
            check_seen(&db, &path, &format!("a cut to {length} bytes"));
            fs.damage(&path, |bytes| bytes.clone_from(&whole));
        }
    }
    assert!(db.verify().expect("verifies").is_clean());
}

#[test]
fn a_live_file_that_is_gone_or_another_is_seen() {
    let (fs, db) = small_and_open();
    let files = bytes_that_count(&fs);
    let live: Vec<&PathBuf> =
        files.iter().filter(|(_, bytes)| **bytes > 0).map(|(path, _)| path).collect();
    for path in &live {
        let aside = Path::new("aside");
        fs.rename(path, aside).expect("renames");
        assert!(!db.verify().expect("verifies").is_clean(), "{} is gone", path.display());
        fs.rename(aside, path).expect("renames");
    }
    for (one, other) in live.iter().zip(&live[1..]) {
        let (first, second) = (fs.read_file(one), fs.read_file(other));
        fs.damage(one, |bytes| bytes.clone_from(&second));
        fs.damage(other, |bytes| bytes.clone_from(&first));
        let what = format!("{} and {} were swapped", one.display(), other.display());
        check_seen(&db, one, &what);
        fs.damage(one, |bytes| bytes.clone_from(&first));
        fs.damage(other, |bytes| bytes.clone_from(&second));
    }
    assert!(db.verify().expect("verifies").is_clean());
}

#[test]
fn a_stale_manifest_and_a_stale_segment_are_seen() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("a", "1").expect("writes");
    let stale: Vec<_> = fs.files().into_iter().map(|(path, _)| path).collect();
    let stale: Vec<_> = stale.into_iter().map(|path| (fs.read_file(&path), path)).collect();
    db.put("b", "2").expect("writes");
    db.keyspace("users").expect("creates");
    for (before, path) in stale {
        let now = fs.read_file(&path);
        if now == before {
            continue;
        }
        fs.damage(&path, |bytes| bytes.clone_from(&before));
        check_seen(&db, &path, "a stale copy");
        fs.damage(&path, |bytes| bytes.clone_from(&now));
    }
    assert!(db.verify().expect("verifies").is_clean());
}

#[test]
fn a_directory_without_current_is_told_from_one_without_a_database() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("a", "1").expect("writes");
    db.close().expect("closes");
    let options = VerifyOptions { env: tiny_options(&fs).env, ..VerifyOptions::default() };
    assert!(verify_with("db", &options, |_| {}).expect("verifies").is_clean());
    fs.remove_file(Path::new("db/CURRENT")).expect("removes");
    let report = verify_with("db", &options, |_| {}).expect("verifies");
    assert_eq!(report.damage[0].path, Path::new("db/CURRENT"));
    let refusal = verify_with("elsewhere", &options, |_| {}).expect_err("nothing is there");
    assert_eq!(refusal.to_string(), "there is no database at elsewhere");
}

#[test]
fn a_verification_waits_for_its_rate() {
    let (_fs, db) = small_and_open();
    // Far above what is there, so that nothing waits long, and yet every read is paid for.
    let options = VerifyOptions { bytes_per_second: Some(100 << 20), ..VerifyOptions::default() };
    let mut told = 0;
    let report = db.verify_with(&options, |so_far| {
        told += 1;
        assert!(so_far.bytes <= so_far.bytes_total);
    });
    assert!(report.expect("verifies").is_clean());
    assert!(told > 0, "progress is told");
}
