//! Maps of their own within one database.

use lsm_engine::{CompactionPolicy, ErrorKind, Reads, TieredOptions, WriteBatch};
use lsm_io::SimFs;

use crate::open;

#[test]
fn keyspaces_do_not_see_each_other() {
    let db = open(&SimFs::new(0));
    let users = db.keyspace("users").expect("creates");
    db.put("key", "default").expect("writes");
    users.put("key", "users").expect("writes");
    assert_eq!(db.get("key").expect("reads").expect("there"), "default");
    assert_eq!(users.get("key").expect("reads").expect("there"), "users");
    assert_eq!(db.keyspaces(), ["default", "users"]);
}

#[test]
fn a_dropped_keyspace_is_gone_and_its_name_free() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    let users = db.keyspace("users").expect("creates");
    users.put("key", "old").expect("writes");
    db.drop_keyspace(users.clone()).expect("drops");
    assert_eq!(users.put("key", "x").expect_err("dropped").kind(), ErrorKind::Invalid);
    let anew = db.keyspace("users").expect("creates anew");
    assert_eq!(anew.get("key").expect("reads"), None);
    drop((db, users, anew));
    let db = open(&fs);
    assert_eq!(db.keyspace("users").expect("is there").get("key").expect("reads"), None);
}

#[test]
fn the_default_keyspace_stays() {
    let db = open(&SimFs::new(0));
    let error = db.drop_keyspace(db.default_keyspace().clone()).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn names_are_checked() {
    let db = open(&SimFs::new(0));
    assert_eq!(db.keyspace("").expect_err("empty").kind(), ErrorKind::Invalid);
    assert_eq!(db.keyspace(&"n".repeat(256)).expect_err("long").kind(), ErrorKind::Invalid);
    db.keyspace(&"n".repeat(255)).expect("accepted");
}

#[test]
fn options_are_saved_with_the_keyspace() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    let mut options = db.options();
    options.compaction = CompactionPolicy::Tiered(TieredOptions::default());
    db.set_options(options.clone()).expect("changes");
    drop(db);
    assert_eq!(open(&fs).options(), options);
}

#[test]
fn a_batch_of_another_database_is_refused() {
    let one = open(&SimFs::new(0));
    let other = open(&SimFs::new(1));
    let users = other.keyspace("users").expect("creates");
    let mut batch = WriteBatch::new();
    batch.within(&users).put("key", "value");
    assert_eq!(one.write(&batch).expect_err("refused").kind(), ErrorKind::Invalid);
}
