//! Keyspaces created and dropped while the rest of the database goes on, through crashes too.

use std::time::Duration;

use lsm_engine::{Db, Durability, ErrorKind, Keyspace, Options, Reads, WriteOptions};
use lsm_io::{CrashPolicy, SimFs, every};

use crate::{key, open, threaded};

fn open_with_threads(fs: &SimFs) -> Db {
    Db::open_with("db", threaded(fs)).expect("opens")
}

fn after_a_power_cut(fs: &SimFs) -> SimFs {
    fs.crash_image(CrashPolicy::LoseUnsynced, 0)
}

/// A disk on which a keyspace was created while ten writes were not durable, and then the power cut.
fn created_over_lost_writes() -> SimFs {
    let fs = SimFs::new(1);
    let db = open(&fs);
    for n in 0..10 {
        db.put_with(key(n), "v", Durability::Memory.into()).expect("writes");
    }
    db.keyspace("b").expect("created");
    after_a_power_cut(&fs)
}

#[test]
fn a_keyspace_created_over_lost_writes_keeps_its_own() {
    // Its first durable write has a number that a lost write had.
    let fs = created_over_lost_writes();
    let db = open(&fs);
    db.keyspace("b").and_then(|b| b.put("k", "acknowledged")).expect("writes");
    let db = open(&after_a_power_cut(&fs));
    let b = db.keyspace("b").expect("opens");
    assert_eq!(b.get("k").expect("reads").expect("there"), "acknowledged");
}

#[test]
fn a_keyspace_created_over_lost_writes_can_be_flushed() {
    let db = open(&created_over_lost_writes());
    let b = db.keyspace("b").expect("opens");
    b.put("k", "v").expect("writes");
    db.flush().expect("flushes");
    b.put("k2", "v").expect("writes");
    db.flush().expect("flushes again");
}

#[test]
fn options_of_a_dropped_keyspace_are_refused() {
    let db = open(&SimFs::new(1));
    let b = db.keyspace("b").expect("created");
    db.drop_keyspace(b.clone()).expect("dropped");
    let error = b.set_options(b.options()).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let error = db.drop_keyspace(b).expect_err("refused");
    assert_eq!(error.to_string(), "keyspace \"b\" was dropped");
    db.put("k", "v").expect("the database goes on");
}

#[test]
fn a_keyspace_can_be_dropped_while_it_is_flushed() {
    let fs = SimFs::new(1);
    let db = open_with_threads(&fs);
    let b = db.keyspace("b").expect("created");
    b.put("k", "v").expect("writes");
    let hold = fs.hold(every().sync_of("*.sst"));
    std::thread::scope(|scope| {
        let flush = scope.spawn(|| db.flush());
        hold.wait_for(1);
        db.drop_keyspace(b.clone()).expect("dropped");
        hold.release();
        flush.join().expect("no panic").expect("flushes what is left");
    });
    db.put("k", "v").expect("the database goes on");
}

#[test]
fn a_keyspace_can_be_dropped_while_it_is_merged_and_leaves_no_file() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let b = db.keyspace("b").expect("created");
    for round in 0..3 {
        for n in 0..50 {
            b.put(key(n), format!("{round}")).expect("writes");
        }
        db.flush().expect("flushes");
    }
    let hold = fs.hold(every().sync_of("*.sst"));
    std::thread::scope(|scope| {
        let merge = scope.spawn(|| b.compact_range::<&[u8]>(..));
        hold.wait_for(1);
        db.drop_keyspace(b.clone()).expect("dropped");
        hold.release();
        let _ = merge.join().expect("no panic");
    });
    drop(b);
    db.settle().expect("settles");
    let is_table = |path: &std::path::Path| path.extension().is_some_and(|it| it == "sst");
    assert!(!fs.files().iter().any(|(path, _)| is_table(path)), "{:?}", fs.files());
}

#[test]
fn a_name_is_free_again_once_its_drop_is_durable() {
    let fs = SimFs::new(1);
    let db = open_with_threads(&fs);
    let b = db.keyspace("b").expect("created");
    b.put("k", "old").expect("writes");
    db.put_with("x", "y", Durability::Memory.into()).expect("writes");
    let hold = fs.hold(every().sync_of("*.log"));
    std::thread::scope(|scope| {
        let dropping = scope.spawn(|| db.drop_keyspace(b.clone()));
        hold.wait_for(1);
        let opening = scope.spawn(|| db.keyspace("b"));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!opening.is_finished(), "the old one is there until its drop is durable");
        hold.release();
        dropping.join().expect("no panic").expect("dropped");
        let fresh = opening.join().expect("no panic").expect("created anew");
        assert!(!fresh.contains_key("k").expect("reads"));
    });
}

#[test]
fn a_crash_in_a_drop_leaves_the_keyspace_whole_or_gone() {
    let fs = SimFs::new(1);
    let options = Options { log_bytes_max: 16 << 20, ..threaded(&fs) };
    let db = Db::open_with("db", options).expect("opens");
    let b = db.keyspace("b").expect("created");
    b.put("k", "durable").expect("writes");
    for n in 0..600 {
        db.put_with(key(n), vec![1; 500], Durability::Memory.into()).expect("writes");
    }
    db.sync().expect("syncs");
    db.compact_range("zy".."zz").expect("flushes");
    let tables = fs.hold(every().sync_of("*.sst"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            db.put("last", "x").expect("writes");
            db.compact_range("zy".."zz")
        });
        tables.wait_for(1);
        db.put_with("tail", "y", Durability::Memory.into()).expect("writes");
        // The drop waits for the log; meanwhile a flush of the default keyspace ends.
        let log = fs.hold(every().sync_of("*.log"));
        scope.spawn(|| db.drop_keyspace(b.clone()));
        log.wait_for(1);
        tables.release();
        std::thread::sleep(Duration::from_millis(300));
        let image = after_a_power_cut(&fs);
        log.release();
        let again = open(&image);
        if again.keyspaces().iter().any(|name| name == "b") {
            let b = again.keyspace("b").expect("opens");
            assert!(b.contains_key("k").expect("reads"), "its durable write is there");
        }
    });
}

#[test]
fn dropping_the_keyspace_that_stops_writes_lets_them_go_on() {
    let fs = SimFs::new(1);
    let db = open_with_threads(&fs);
    let b = db.keyspace("b").expect("created");
    fs.fail(every().sync_of("*.sst"));
    let options =
        |deadline| WriteOptions { durability: Some(Durability::Memory), deadline: Some(deadline) };
    let hasty = options(Duration::from_millis(20));
    let write = |b: &Keyspace, n| b.put_with(key(n), vec![0; 200], hasty);
    let refused = (0..50_000).find_map(|n| write(&b, n).err()).expect("nothing can be flushed");
    assert_eq!(refused.kind(), ErrorKind::Busy);
    db.drop_keyspace(b).expect("dropped");
    fs.heal();
    db.put_with("k", "v", options(Duration::from_secs(10))).expect("there is nothing to wait for");
}

#[test]
fn two_handles_may_close_at_once() {
    let fs = SimFs::new(1);
    let db = open_with_threads(&fs);
    db.put("k", "v").expect("writes");
    let other = db.clone();
    let hold = fs.hold(every().sync_of("*.sst"));
    let one = std::thread::spawn(move || db.close());
    hold.wait_for(1);
    let two = std::thread::spawn(move || other.close());
    std::thread::sleep(Duration::from_millis(50));
    hold.release();
    one.join().expect("no panic").expect("closes");
    two.join().expect("no panic").expect("was closed");
}

#[test]
fn a_scan_under_way_ends_as_it_began_from_its_other_end_too() {
    let db = open(&SimFs::new(0));
    let dropped = db.keyspace("b").expect("created");
    (0..10).for_each(|n| dropped.put(key(n), "v").expect("writes"));
    let mut scan = dropped.iter();
    let first = scan.next().expect("there").expect("reads").0;
    db.drop_keyspace(dropped).expect("drops");
    let last = scan.next_back().expect("there").expect("reads").0;
    assert_eq!((&first[..], &last[..]), (&key(0)[..], &key(9)[..]));
    let between = scan.collect::<Result<Vec<_>, _>>().expect("reads");
    assert_eq!(between.len(), 8);
}

/// Reads one keyspace after the other on several threads, each until it is dropped: an entry that
/// was there may be refused, but it is never missing.
fn check_reads_beside_drops(has: impl Fn(&Keyspace) -> Result<bool, lsm_engine::Error> + Sync) {
    use std::sync::atomic::{AtomicBool, Ordering};
    let fs = SimFs::new(0);
    let db = open(&fs);
    let present = std::sync::Mutex::new(None);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let Some(keyspace) = present.lock().expect("no panic").clone() else {
                        continue;
                    };
                    while let Ok(is_there) = has(&keyspace) {
                        is_over.fetch_or(!is_there, Ordering::AcqRel);
                        assert!(is_there, "an entry of a keyspace under drop is missing");
                    }
                }
            });
        }
        for _ in 0..300 {
            let keyspace = db.keyspace("brief").expect("creates");
            // It ends up in a sealed memtable: those are what a drop takes out of the view.
            for n in ["key", "a", "b", "c"] {
                keyspace.put_with(n, vec![1; 16 << 10], Durability::Memory.into()).expect("writes");
            }
            *present.lock().expect("no panic") = Some(keyspace.clone());
            std::thread::sleep(Duration::from_micros(200));
            db.drop_keyspace(keyspace).expect("drops");
            if is_over.load(Ordering::Acquire) {
                break;
            }
        }
        is_over.store(true, Ordering::Release);
    });
}

#[test]
fn no_entry_is_missing_while_its_keyspace_is_dropped() {
    check_reads_beside_drops(|keyspace| keyspace.contains_key("key"));
}

#[test]
fn no_scan_is_empty_while_its_keyspace_is_dropped() {
    check_reads_beside_drops(|keyspace| {
        keyspace.prefix("key").next().map_or(Ok(false), |entry| entry.map(|_| true))
    });
}
