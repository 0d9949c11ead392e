//! Maps of their own within one database.

use lsm_engine::{
    CompactionPolicy, Durability, ErrorKind, Reads, Scan, Step, TieredOptions, WriteBatch,
};
use lsm_io::SimFs;

use crate::{key, open};

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
fn a_batch_for_another_database_is_refused() {
    let one = open(&SimFs::new(0));
    let other = open(&SimFs::new(1));
    let own = one.keyspace("own").expect("creates");
    // It has the number that `own` has in its database.
    let users = other.keyspace("users").expect("creates");
    let fill: [&dyn Fn(&mut WriteBatch); 4] = [
        &|batch| batch.within(&users).put("key", "value"),
        &|batch| batch.within(other.default_keyspace()).put("key", "value"),
        &|batch| {
            batch.put("key", "value");
            batch.within(other.default_keyspace()).put("key", "value");
        },
        &|batch| {
            batch.within(&own).put("key", "value");
            batch.within(&users).put("key", "value");
        },
    ];
    for fill in fill {
        let mut batch = WriteBatch::new();
        fill(&mut batch);
        let error = one.write(&batch).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("belongs to another open database"), "{error}");
    }
    assert_eq!(one.get("key").expect("reads"), None);
    assert_eq!(own.get("key").expect("reads"), None);
}

#[test]
fn a_batch_takes_the_default_keyspace_by_either_name() {
    let db = open(&SimFs::new(0));
    let mut batch = WriteBatch::new();
    batch.put("a", "1");
    batch.within(db.default_keyspace()).put("b", "2");
    batch.put("c", "3");
    db.write(&batch).expect("writes");
    assert_eq!(db.iter().count(), 3);
}

#[test]
fn a_snapshot_refuses_keyspaces_of_another_database() {
    let one = open(&SimFs::new(0));
    let other = open(&SimFs::new(1));
    let own = one.keyspace("own").expect("creates");
    let users = other.keyspace("users").expect("creates");
    one.put("key", "of one").expect("writes");
    own.put("key", "of one").expect("writes");
    users.put("key", "of the other").expect("writes");
    let snapshot = one.snapshot();
    for foreign in [&users, other.default_keyspace()] {
        let within = snapshot.within(foreign);
        let error = within.get("key").expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(foreign.name()), "{error}");
        assert!(within.multi_get(&["key"]).is_err());
        let mut scan = within.scan(Scan::all());
        assert!(scan.next().expect("an error").is_err() && scan.next().is_none());
        let mut cursor = within.cursor();
        assert!(cursor.seek_first().is_err() && cursor.seek_last().is_err());
        assert_eq!(cursor.key(), None);
    }
    for own in [&own, one.default_keyspace()] {
        assert_eq!(snapshot.within(own).get("key").expect("reads").expect("there"), "of one");
    }
}

#[test]
fn reads_of_a_dropped_keyspace_are_refused() {
    let db = open(&SimFs::new(0));
    let users = db.keyspace("users").expect("creates");
    users.put("key", "value").expect("writes");
    let snapshot = db.snapshot();
    let mut not_begun = users.iter();
    db.drop_keyspace(users.clone()).expect("drops");
    let within = snapshot.within(&users);
    let errors = [
        users.get("key").expect_err("refused"),
        users.multi_get(&["key"]).expect_err("refused"),
        users.first().expect_err("refused"),
        users.cursor().seek("key").expect_err("refused"),
        users.history("key").expect_err("refused"),
        users.explain("key").expect_err("refused"),
        users.compact_range::<&[u8]>(..).expect_err("refused"),
        not_begun.next().expect("an error").expect_err("refused"),
        within.get("key").expect_err("refused"),
        within.first().expect_err("refused"),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string(), "keyspace \"users\" was dropped");
    }
    assert_eq!(db.get("key").expect("the others go on"), None);
}

#[test]
fn a_scan_under_way_over_a_dropped_keyspace_ends_as_it_began() {
    let db = open(&SimFs::new(0));
    let users = db.keyspace("users").expect("creates");
    for n in 0..2000 {
        users.put_with(key(n), [0; 50], Durability::Memory.into()).expect("writes");
    }
    assert!(db.metrics().sealed_memtables > 0);
    let mut scan = users.iter();
    assert!(scan.next().is_some());
    let mut cursor = users.cursor();
    cursor.seek_last().expect("seeks");
    db.drop_keyspace(users).expect("drops");
    while db.step(Step::Log).expect("removes files") {}
    assert_eq!(scan.filter(Result::is_ok).count(), 1999);
    let mut count = 0;
    while cursor.key().is_some() {
        count += 1;
        cursor.prev().expect("moves");
    }
    assert_eq!(count, 2000);
}
