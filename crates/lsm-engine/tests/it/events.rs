//! What listeners are told, and that they harm nobody.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lsm_engine::{Db, Durability, ErrorKind, Event, Listener, Options, Reads, Step};
use lsm_io::{SimFs, every, once};

use crate::{key, open, threaded, tiny_options};

/// What a database without threads has told so far.
type Heard = Arc<Mutex<Vec<Event>>>;

fn listening(fs: &SimFs) -> (Db, Heard) {
    let heard = Heard::default();
    let sink = Arc::clone(&heard);
    let listener = Listener::new(move |event| sink.lock().expect("no panic").push(event.clone()));
    let options = Options { listener: Some(listener), ..tiny_options(fs) };
    (Db::open_with("db", options).expect("opens"), heard)
}

/// How many events look so.
#[track_caller]
fn check_heard(db: &Db, heard: &Heard, expected: usize, is_meant: impl Fn(&Event) -> bool) {
    let _ = db.step(Step::Log);
    let heard = heard.lock().expect("no panic");
    let count = heard.iter().filter(|event| is_meant(event)).count();
    assert_eq!(count, expected, "{heard:#?}");
}

fn put_many(db: &Db, count: u32) {
    for n in 0..count {
        db.put_with(key(n), vec![7; 500], Durability::Memory.into()).expect("writes");
    }
}

#[test]
fn flushes_and_compactions_tell_what_they_did() {
    let fs = SimFs::new(1);
    let (db, heard) = listening(&fs);
    put_many(&db, 100);
    db.flush().expect("flushes");
    db.compact_range::<&[u8]>(..).expect("compacts");
    db.settle().expect("settles");
    let heard = heard.lock().expect("no panic");
    let (mut flushed, mut merged) = (0, 0);
    for event in heard.iter() {
        match event {
            Event::Flushed { keyspace, tables, bytes, entries } => {
                assert_eq!((keyspace.as_str(), *tables), ("default", 1));
                assert!(*bytes > entries * 500, "{bytes} bytes");
                flushed += entries;
            }
            Event::Compacted { reason, level, tables_in, bytes_out, .. } => {
                assert!(*level > 0 && *tables_in > 0 && *bytes_out > 0 && !reason.is_empty());
                merged += 1;
            }
            other => panic!("nothing else happened: {other}"),
        }
    }
    assert_eq!(flushed, 100, "each entry is flushed once");
    assert!(merged > 0, "and merged");
}

#[test]
fn a_failed_sync_is_told_once() {
    let fs = SimFs::new(1);
    let (db, heard) = listening(&fs);
    db.put("key", "value").expect("writes");
    fs.fail(once().sync_of("*.log"));
    db.put("key", "newer").expect_err("its sync failed");
    db.put("key", "newest").expect_err("refused");
    check_heard(
        &db,
        &heard,
        1,
        |event| matches!(event, Event::Poisoned { error } if error.to_string().contains("could not sync")),
    );
}

#[test]
fn background_work_that_fails_again_and_again_is_told_once() {
    let fs = SimFs::new(1);
    let (db, heard) = listening(&fs);
    put_many(&db, 100);
    fs.fail(every().create_of("*.sst"));
    // Each attempt names another file.
    for _ in 0..5 {
        db.step(Step::Flush).expect_err("no table can be created");
    }
    check_heard(&db, &heard, 1, |event| matches!(event, Event::BackgroundError { .. }));
    fs.heal();
    assert!(db.step(Step::Flush).expect("heals by itself"));
    fs.fail(every().create_of("*.sst"));
    put_many(&db, 100);
    db.step(Step::Flush).expect_err("no table can be created");
    check_heard(&db, &heard, 2, |event| matches!(event, Event::BackgroundError { .. }));
}

#[test]
fn writes_that_wait_are_told_of_and_that_they_go_on() {
    let fs = SimFs::new(1);
    let (db, heard) = listening(&fs);
    put_many(&db, 2000);
    let _ = db.step(Step::Log);
    let heard = heard.lock().expect("no panic");
    let stalls = heard.iter().filter(|event| matches!(event, Event::Stalled { .. })).count();
    let ends = heard.iter().filter(|event| matches!(event, Event::Resumed)).count();
    assert!(stalls > 0 && stalls == ends, "{stalls} and {ends}");
}

#[test]
fn tables_that_compaction_leaves_alone_are_named() {
    let fs = SimFs::new(1);
    let (db, heard) = listening(&fs);
    for _ in 0..5 {
        db.put(key(0), vec![7; 500]).expect("writes");
        db.flush().expect("flushes");
    }
    let files = fs.files().into_iter();
    let mut tables = files.filter(|(path, _)| path.extension().is_some_and(|e| e == "sst"));
    let (damaged, _) = tables.next().expect("five tables");
    fs.damage(&damaged, |bytes| bytes[100] ^= 1);
    // What nobody reads is merged much later.
    db.get(key(1)).expect("reads");
    while db.step(Step::Compact).is_ok_and(|did_work| did_work) {}
    let name = damaged.file_stem().expect("has a name").to_string_lossy().into_owned();
    let number: u64 = name.parse().expect("tables are numbered");
    check_heard(
        &db,
        &heard,
        1,
        |event| matches!(event, Event::TablesSetAside { tables, .. } if tables.contains(&number)),
    );
}

/// A database with threads, and what it tells.
fn told(fs: &SimFs) -> (Db, Receiver<Event>) {
    let db = Db::open_with("db", threaded(fs)).expect("opens");
    let (sender, receiver) = channel();
    db.on_event(move |event| drop(sender.send(event.clone()))).expect("listens");
    (db, receiver)
}

#[test]
fn a_listener_that_panics_harms_nobody() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    db.on_event(|event| panic!("the listener's own mistake, on purpose: {event}"))
        .expect("listens");
    let (sender, receiver) = channel();
    db.on_event(move |event| drop(sender.send(event.clone()))).expect("listens");
    for n in 0..3 {
        db.put(key(n), "value").expect("writes");
        db.flush().expect("flushes");
    }
    db.close().expect("closes");
    let flushes = receiver.iter().filter(|event| matches!(event, Event::Flushed { .. })).count();
    assert_eq!(flushes, 3);
}

#[test]
fn a_listener_that_hangs_holds_up_nobody() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    db.on_event(move |_| {
        let _ = released.lock().expect("no panic").recv();
    })
    .expect("listens");
    for n in 0..20 {
        db.put(key(n), "value").expect("writes");
        db.flush().expect("flushes");
    }
    assert!(db.contains_key(key(7)).expect("reads"));
    drop(release);
    db.close().expect("closes once the listener returns");
}

#[test]
fn a_listener_may_use_the_database_and_even_close_it() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    let (sender, receiver) = channel();
    let handle = Mutex::new(Some(db.clone()));
    db.on_event(move |event| {
        if matches!(event, Event::Flushed { .. })
            && let Some(db) = handle.lock().expect("no panic").take()
        {
            db.put("told", "yes").expect("may write");
            sender.send(db.close()).expect("somebody waits");
        }
    })
    .expect("listens");
    db.put("key", "value").expect("writes");
    let _ = db.flush();
    let closed = receiver.recv_timeout(Duration::from_secs(20)).expect("does not wait for itself");
    closed.expect("closes");
    drop(db);
    let db = open(&fs);
    assert!(db.contains_key("told").expect("reads"));
}

#[test]
fn closing_delivers_what_has_happened() {
    let fs = SimFs::new(1);
    let (db, events) = told(&fs);
    db.put("key", "value").expect("writes");
    db.close().expect("closes, and flushes before");
    assert!(events.iter().any(|event| matches!(event, Event::Flushed { .. })));
}

#[test]
fn closing_after_a_failed_sync_says_so() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("key", "value").expect("writes");
    db.put_with("kept", "perhaps", Durability::Memory.into()).expect("writes");
    fs.fail(once().sync_of("*.log").losing_pages());
    db.sync().expect_err("fails");
    let error = db.close().expect_err("nobody knows what is on the disk");
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    assert!(open(&fs).contains_key("key").expect("reads"));
}

#[test]
fn a_failure_in_the_background_is_over_when_somebody_else_has_done_the_work() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    put_many(&db, 100);
    fs.fail(once().create_of("*.sst"));
    db.step(Step::Flush).expect_err("no table can be created");
    assert!(db.metrics().last_background_error.is_some());
    db.flush().expect("flushes in the foreground");
    db.settle().expect("finds nothing to do");
    assert!(db.metrics().last_background_error.is_none());
}
