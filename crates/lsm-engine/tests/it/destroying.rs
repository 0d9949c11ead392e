//! What `destroy` removes, and what it leaves alone.

use std::path::Path;

use lsm_engine::{Db, ErrorKind, destroy_in};
use lsm_io::{CrashPolicy, Fs, OpenMode, SimFs};

use crate::{open, tiny_options};

/// A database with tables and a log, closed.
fn closed() -> SimFs {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("a", "1").expect("writes");
    db.flush().expect("flushes");
    db.put("b", "2").expect("writes");
    db.close().expect("closes");
    fs
}

fn destroy(fs: &SimFs) -> lsm_engine::Result<()> {
    destroy_in("db", &tiny_options(fs).env)
}

#[track_caller]
fn check_refused(fs: &SimFs, kind: ErrorKind, word: &str) {
    let files = fs.files();
    let refusal = destroy(fs).expect_err("refused");
    assert_eq!(refusal.kind(), kind, "{refusal}");
    assert!(refusal.to_string().contains(word), "{refusal}");
    assert_eq!(fs.files(), files, "nothing was removed");
}

#[test]
fn a_destroyed_database_is_gone_and_its_place_is_free() {
    let fs = closed();
    destroy(&fs).expect("destroys");
    assert_eq!(fs.files(), []);
    assert!(!fs.exists(Path::new("db")).expect("looks"));
    check_refused(&fs, ErrorKind::Invalid, "there is no database at db");
    assert!(open(&fs).recovery_report().created);
}

#[test]
fn an_open_database_is_busy() {
    let fs = SimFs::new(1);
    let _db = open(&fs);
    check_refused(&fs, ErrorKind::Busy, "open already");
}

#[test]
fn a_directory_that_holds_anything_else_is_refused() {
    let fs = closed();
    fs.open(Path::new("db/thesis.txt"), OpenMode::CreateNew).expect("creates");
    check_refused(&fs, ErrorKind::Invalid, "thesis.txt");
    let fs = closed();
    fs.create_dir_all(Path::new("db/photos")).expect("creates");
    check_refused(&fs, ErrorKind::Invalid, "photos");
    let fs = closed();
    fs.create_dir_all(Path::new("db/000099.sst")).expect("creates");
    check_refused(&fs, ErrorKind::Invalid, "000099.sst");
}

#[test]
fn a_crash_leaves_a_whole_database_or_what_can_be_destroyed_again() {
    let steps = closed().count_steps(|fs| destroy(fs).expect("destroys"));
    for step in 0..steps {
        let fs = closed();
        let fs = fs.crash_at(fs.steps() + step);
        destroy(&fs).expect_err("the machine crashes");
        for (policy, seed) in CrashPolicy::ALL.iter().flat_map(|policy| [(policy, 0), (policy, 1)])
        {
            check_destroyed(&fs.crash_image(*policy, seed), &format!("step {step}, {policy}"));
        }
    }
}

/// What `CURRENT` leads to is whole, and whatever there is can be destroyed.
#[track_caller]
fn check_destroyed(after: &SimFs, told: &str) {
    let has = |name: &str| after.files().iter().any(|(path, _)| path.ends_with(name));
    let options = lsm_engine::Options { create_if_missing: false, ..tiny_options(after) };
    match Db::open_with("db", options) {
        Ok(db) => assert!(db.verify().expect("verifies").is_clean(), "{told}"),
        Err(error) => assert!(!has("CURRENT"), "{told}: {error}"),
    }
    if after.files().iter().any(|(path, _)| !path.ends_with("LOCK")) {
        destroy(after).unwrap_or_else(|error| panic!("{told}: {error}"));
    }
}
