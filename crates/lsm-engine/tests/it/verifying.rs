//! What `verify` sees, and what it lets pass.

use lsm_engine::{Db, Durability};
use lsm_io::SimFs;

use crate::{open, tiny_options};

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
