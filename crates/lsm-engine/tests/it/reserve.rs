//! The reserve: what a full disk still accepts, what becomes of it, and how it is full no more.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lsm_engine::{Db, Durability, ErrorKind, Event, Listener, Options, Reads, Step, WriteBatch};
use lsm_io::{CrashPolicy, SimFs, once};

use crate::{key, open, tiny_options};

fn used(fs: &SimFs) -> u64 {
    fs.files().iter().map(|(_, bytes)| bytes).sum()
}

fn reserve_bytes(fs: &SimFs) -> u64 {
    let files = fs.files().into_iter();
    files.filter(|(path, _)| path.ends_with("RESERVE")).map(|(_, bytes)| bytes).sum()
}

/// What background threads would do, until none of it has anything to do or all of it fails.
fn work(db: &Db) {
    let steps = [Step::Flush, Step::Compact, Step::Log];
    for _ in 0..1000 {
        let did_work = steps.map(|step| db.step(step).is_ok_and(|did_work| did_work));
        if did_work == [false; 3] {
            return;
        }
    }
    panic!("work in the background goes round in a circle");
}

/// Writes until the disk is full for good; how many writes were acknowledged.
#[track_caller]
fn fill(db: &Db) -> u32 {
    for n in 0..100_000 {
        let Err(error) = db.put(key(n), vec![n as u8; 1000]) else { continue };
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        assert!(!error.is_outcome_unknown(), "{error}");
        work(db);
        if db.metrics().no_space.is_some() {
            return n;
        }
    }
    panic!("the disk is never full");
}

#[test]
fn the_reserve_grows_with_the_log_and_a_small_database_has_a_small_one() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.step(Step::Log).expect("keeps it");
    assert_eq!(reserve_bytes(&fs), 384 << 10);
    assert!(used(&fs) < 1 << 20, "{} bytes for nothing", used(&fs));
    let (memory_bytes, memtable_bytes) = (64 << 20, Some(8 << 20));
    let options = Options { memory_bytes, memtable_bytes, ..tiny_options(&fs) };
    drop(db);
    let db = Db::open_with("db", options).expect("opens");
    for n in 0..4000 {
        db.put_with(key(n), vec![0; 1000], Durability::Memory.into()).expect("writes");
        db.step(Step::Log).expect("keeps it");
        assert!(reserve_bytes(&fs) <= 5 << 20, "{} bytes", reserve_bytes(&fs));
    }
    assert!(reserve_bytes(&fs) > 3 << 20, "{} bytes", reserve_bytes(&fs));
    assert_eq!(db.metrics().reserve_bytes, reserve_bytes(&fs));
}

#[test]
fn a_database_that_wants_no_reserve_has_none() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.step(Step::Log).expect("keeps it");
    assert!(reserve_bytes(&fs) > 0);
    drop(db);
    let options = Options { reserve_bytes: Some(0), ..tiny_options(&fs) };
    let db = Db::open_with("db", options).expect("opens");
    db.step(Step::Log).expect("removes it");
    assert_eq!(reserve_bytes(&fs), 0);
}

#[test]
fn a_nearly_full_disk_is_left_to_others() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fs.limit_bytes(used(&fs) + (300 << 10));
    db.step(Step::Log).expect("there is nothing to do");
    assert_eq!(reserve_bytes(&fs), 0);
    assert!(db.metrics().no_space.is_none(), "nothing has failed");
}

#[test]
fn a_write_beside_the_one_that_finds_room_again_is_not_refused() {
    let fs = SimFs::new(1);
    let options = Options { memtable_bytes: Some(2 << 20), ..tiny_options(&fs) };
    let db = Db::open_with("db", options).expect("opens");
    db.step(Step::Log).expect("keeps the reserve");
    fs.limit_bytes(used(&fs) + 1000);
    let refused = (0..10_000).find_map(|n| db.put(key(n), vec![0; 1000]).err());
    assert_eq!(refused.expect("full").kind(), ErrorKind::NoSpace);

    fs.limit_bytes(u64::MAX);
    let hold = fs.hold(once().write_of("*RESERVE"));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| db.put("first", ""));
        hold.wait_for(1);
        let second = scope.spawn(|| db.put("second", ""));
        // For the second to come as far as it can.
        std::thread::sleep(Duration::from_millis(50));
        hold.release();
        first.join().expect("ends").expect("there is room");
        second.join().expect("ends").expect("and for both");
    });
}

#[test]
fn a_full_disk_accepts_deletes_and_nothing_else() {
    let fs = SimFs::new(1);
    let options = Options { memtable_bytes: Some(2 << 20), ..tiny_options(&fs) };
    let db = Db::open_with("db", options).expect("opens");
    db.step(Step::Log).expect("keeps the reserve");
    db.put("before", "1").expect("writes");
    fs.limit_bytes(used(&fs) + 1000);
    let refused = (0..10_000).find_map(|n| db.put(key(n), vec![0; 1000]).err());
    assert_eq!(refused.expect("full").kind(), ErrorKind::NoSpace);
    assert_eq!(reserve_bytes(&fs), 0, "it was given up");

    let error = db.put("small", "").expect_err("also if it would fit");
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(error.to_string().starts_with("the disk is full, and only deletes"), "{error}");
    let mut batch = WriteBatch::new();
    batch.delete("before");
    batch.put("small", "");
    assert_eq!(db.write(&batch).expect_err("it puts too").kind(), ErrorKind::NoSpace);
    assert!(db.contains_key("before").expect("reads go on"));

    // Many more than fit into the segment that was current.
    for n in 0..1000 {
        db.delete(key(n)).expect("deletes are accepted");
    }
    let mut batch = WriteBatch::new();
    batch.delete("before");
    batch.delete(key(1));
    db.write(&batch).expect("a batch of deletes is");
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    assert!(db.iter().next().is_none(), "and durable");
}

#[test]
fn deleting_everything_and_compacting_frees_a_full_disk() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fs.limit_bytes(3 << 20);
    let count = fill(&db);
    let full = used(&fs);
    assert!(full > 2 << 20, "{full} bytes");
    for n in 0..count {
        db.delete(key(n)).expect("deletes are accepted");
    }
    db.compact_range::<&[u8]>(..).expect("finds room");
    work(&db);
    let left = used(&fs);
    assert!(left < full / 2, "{left} of {full} bytes are left");
    assert!(db.metrics().no_space.is_none(), "{:?}", db.metrics().no_space);
    assert!(reserve_bytes(&fs) > 0, "the reserve is there again");
    db.put("after", "2").expect("writes go on");
}

#[test]
fn work_that_waits_for_room_does_not_go_round_in_a_circle() {
    let fs = SimFs::new(1);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let listener =
        Listener::new(move |event: &Event| sink.lock().expect("no panic").push(event.clone()));
    let options = Options { listener: Some(listener), ..tiny_options(&fs) };
    let db = Db::open_with("db", options).expect("opens");
    fs.limit_bytes(2 << 20);
    fill(&db);
    let told = heard.lock().expect("no panic").len();
    let (bytes, written) = (used(&fs), fs.bytes_written());
    for _ in 0..100 {
        work(&db);
        db.put("refused", "").expect_err("the disk is full");
    }
    assert_eq!(used(&fs), bytes, "nothing grows");
    assert_eq!(fs.bytes_written(), written, "nothing is tried");
    assert_eq!(heard.lock().expect("no panic").len(), told, "nothing is told");
    fs.unlimit();
    work(&db);
    db.settle().expect("goes on by itself");
    let heard = heard.lock().expect("no panic");
    let began = heard.iter().filter(|event| matches!(event, Event::NoSpace { .. })).count();
    let ended = heard.iter().filter(|event| matches!(event, Event::SpaceRegained)).count();
    assert!(began > 0 && began == ended, "{began} and {ended}");
    assert!(began < 20, "{began} times full");
}

#[test]
fn whatever_the_disk_holds_nothing_acknowledged_is_lost_and_service_resumes() {
    for limit in (600..4000).step_by(180) {
        let limit = limit << 10;
        let fs = SimFs::new(limit);
        let db = open(&fs);
        fs.limit_bytes(limit);
        let mut model = std::collections::BTreeMap::new();
        for n in 0..4000_u32 {
            let (key, value) = (key(n % 1500), vec![n as u8; 700]);
            match db.put(&key, &value) {
                Ok(()) => drop(model.insert(key.clone(), value)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}"),
            }
            if n % 7 == 0 {
                let step = [Step::Flush, Step::Log, Step::Compact][n as usize / 7 % 3];
                if let Err(error) = db.step(step) {
                    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                }
            }
            if n % 5 == 0 {
                match db.delete(&key) {
                    Ok(()) => drop(model.remove(&key)),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}"),
                }
            }
            if n % 50 == 0 {
                assert_eq!(
                    db.get(&key).expect("reads").as_deref(),
                    model.get(&key).map(|v| &v[..])
                );
            }
            assert!(used(&fs) <= limit);
        }
        let check = |db: &Db| {
            let found: Vec<_> = db.iter().map(|e| e.expect("reads")).collect();
            let expected: Vec<_> = model.iter().collect();
            assert_eq!(found.len(), expected.len(), "limit {limit}");
            for ((k, v), (key, value)) in found.iter().zip(expected) {
                assert!(k[..] == key[..] && v[..] == value[..], "limit {limit}: {k:?}");
            }
        };
        check(&db);
        // As it is, a crash loses nothing; the disk is as full for the next one who opens it.
        for policy in [CrashPolicy::LoseUnsynced, CrashPolicy::KeepEverything] {
            let image = fs.crash_image(policy, limit);
            image.limit_bytes(limit);
            match Db::open_with("db", tiny_options(&image)) {
                Ok(db) => check(&db),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}"),
            }
            image.unlimit();
            check(&open(&image));
        }
        fs.unlimit();
        db.put("after", "").expect("service resumes without an open");
        db.delete("after").expect("deletes");
        work(&db);
        db.settle().expect("settles");
        assert!(db.metrics().no_space.is_none() && db.metrics().poison.is_none());
        check(&db);
        assert!(db.verify().expect("verifies").is_clean());
        let named: u64 = db.metrics().table_bytes() + db.metrics().log_bytes;
        let spare = 4 * (64 << 10) + reserve_bytes(&fs) + (64 << 10);
        assert!(used(&fs) <= named + spare, "limit {limit}: {} of {named}, left over", used(&fs));
        db.close().expect("closes");
    }
}

#[test]
fn a_database_opens_on_a_full_disk_in_the_place_of_its_reserve() {
    let fs = SimFs::new(1);
    let options = Options { memtable_bytes: Some(2 << 20), ..tiny_options(&fs) };
    let db = Db::open_with("db", options.clone()).expect("opens");
    for n in 0..150 {
        db.put(key(n), vec![0; 1000]).expect("writes");
    }
    db.step(Step::Log).expect("keeps the reserve");
    let image = fs.kill_image();
    image.limit_bytes(used(&image));
    let options = Options { env: tiny_options(&image).env, ..options };
    let db = Db::open_with("db", options).expect("finds room");
    assert_eq!(db.iter().count(), 150);
    let full = db.metrics().no_space.expect("the disk is full");
    assert_eq!(full.kind(), ErrorKind::NoSpace);
    db.delete(key(1)).expect("deletes are accepted");
    image.unlimit();
    db.put(key(1), "again").expect("writes go on");
}
