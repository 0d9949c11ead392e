//! Who waits for whom: reads for nobody; writers for one shared sync.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use lsm_engine::{Db, Durability, ErrorKind, Reads, WriteBatch, WriteOptions};
use lsm_io::{CrashPolicy, SimFs, every};

use crate::{key, open, threaded};

/// Waits for what must come; only that it never comes is a failure, not how long it takes.
#[track_caller]
fn eventually(what: &str, mut has_come: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !has_come() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never {what}");
        std::thread::yield_now();
    }
}

#[test]
fn no_read_waits_for_a_sync_that_never_returns() {
    for pattern in ["*.log", "*.manifest", "*.sst"] {
        let fs = SimFs::new(0);
        let db = Db::open_with("db", threaded(&fs)).expect("opens");
        for n in 0..100 {
            db.put(key(n), "value").expect("writes");
        }
        db.flush().expect("flushes");
        db.put(key(100), "value").expect("writes");
        let hold = fs.hold(every().sync_of(pattern));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Stuck until the hold is released, whatever the outcome.
                let _ = db.put("stuck", "value");
                let _ = db.flush();
            });
            hold.wait_for(1);
            let snapshot = db.snapshot();
            assert!(db.contains_key(key(7)).expect("reads"), "{pattern}");
            assert_eq!(db.multi_get(&[key(1), key(2)]).expect("reads").len(), 2);
            assert!(db.iter().count() >= 101);
            assert!(db.iter().rev().count() >= 101);
            assert_eq!(db.prefix("key-").take(3).count(), 3);
            assert!(db.first().expect("reads").is_some() && db.last().expect("reads").is_some());
            assert!(snapshot.get(key(100)).expect("reads").is_some());
            let mut cursor = snapshot.cursor();
            cursor.seek_for_prev("z").expect("seeks");
            cursor.prev().expect("moves");
            assert!(cursor.key().is_some());
            hold.release();
        });
    }
}

#[test]
fn many_writers_share_a_sync() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    let hold = fs.hold(every().sync_of("*.log"));
    let before = db.metrics().log_syncs;
    std::thread::scope(|scope| {
        for n in 0..16 {
            let db = &db;
            scope.spawn(move || db.put(key(n), "value").expect("writes"));
        }
        hold.wait_for(1);
        std::thread::sleep(Duration::from_millis(100));
        hold.release();
    });
    let syncs = db.metrics().log_syncs - before;
    assert!(syncs <= 4, "{syncs} syncs for 16 writers that waited together");
    assert_eq!(db.iter().count(), 16);
}

#[test]
fn a_write_is_invisible_until_its_sync_is_done() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    std::thread::scope(|scope| {
        // In the scope, so that a claim that fails lets those go whom the scope waits for.
        let hold = fs.hold(every().sync_of("*.log"));
        let writer = scope.spawn(|| db.put("key", "value"));
        hold.wait_for(1);
        assert_eq!(db.get("key").expect("reads"), None, "not durable, so not visible");
        hold.release();
        writer.join().expect("no panic").expect("acknowledged");
    });
    assert!(db.contains_key("key").expect("reads"));
}

#[test]
fn a_weaker_write_behind_a_durable_one_becomes_visible_after_it() {
    for durability in [Durability::Memory, Durability::Os] {
        let fs = SimFs::new(0);
        let db = Db::open_with("db", threaded(&fs)).expect("opens");
        std::thread::scope(|scope| {
            let hold = fs.hold(every().sync_of("*.log"));
            scope.spawn(|| db.put("durable", "1"));
            hold.wait_for(1);
            let weak = scope.spawn(|| {
                db.put_with("weak", "2", durability.into()).expect("acknowledged");
                db.get("weak").expect("reads")
            });
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(db.get("weak").expect("reads"), None, "order is kept");
            hold.release();
            let seen = weak.join().expect("no panic");
            assert!(seen.is_some(), "what is acknowledged is seen by its writer: {durability:?}");
        });
    }
}

struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn tickets_resolve_by_waiting_and_as_futures() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    let mut batch = WriteBatch::new();
    batch.put("key", "value");
    let tickets: Vec<_> = (0..100).map(|_| db.write_async(&batch).expect("ordered")).collect();
    let mut last = 0;
    for ticket in tickets {
        let seq_no = ticket.wait().expect("acknowledged");
        assert!(seq_no > last);
        last = seq_no;
    }
    let wakes = Arc::new(CountWakes(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&wakes));
    let mut ticket = Box::pin(db.write_async(&batch).expect("ordered"));
    let mut polls = 0;
    loop {
        match ticket.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => break assert!(result.expect("acknowledged") > last),
            Poll::Pending => {
                polls += 1;
                assert!(polls < 1000, "nobody wakes the task");
                while wakes.0.swap(0, Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
            }
        }
    }
}

#[test]
fn a_deadline_bounds_the_wait_for_a_place_in_the_order() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    let hold = fs.hold(every().sync_of("*.sst"));
    let options = WriteOptions {
        durability: Some(Durability::Memory),
        deadline: Some(Duration::from_millis(20)),
    };
    let refused = (0..50_000).find_map(|n| db.put_with(key(n), vec![0; 200], options).err());
    let refused = refused.expect("flushes are stuck, so writes must stop");
    assert_eq!(refused.kind(), ErrorKind::Busy, "{refused}");
    assert!(refused.retry_after().is_some());
    assert!(db.contains_key(key(0)).expect("reads go on"));
    hold.release();
    drop(db);
}

#[test]
fn a_write_in_flight_that_may_not_wait_for_its_place_is_refused() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    let hold = fs.hold(every().sync_of("*.sst"));
    let options = WriteOptions { durability: None, deadline: Some(Duration::ZERO) };
    let mut batch = WriteBatch::new();
    let refused = (0..50_000).find_map(|n| {
        batch.clear();
        batch.put(key(n), vec![0; 200]);
        db.write_async_with(&batch, options).err()
    });
    let refused = refused.expect("flushes are stuck");
    assert_eq!(refused.kind(), ErrorKind::Busy, "{refused}");
    assert!(refused.retry_after().is_some());
    hold.release();
}

#[test]
fn handles_are_send_and_sync() {
    fn check<T: Send + Sync + Clone + 'static>(_: &T) {}
    let db = open(&SimFs::new(0));
    check(&db);
    check(db.default_keyspace());
    check(&db.snapshot());
}

#[test]
fn a_ticket_that_nobody_keeps_cancels_nothing() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    let mut batch = WriteBatch::new();
    batch.put("key", "value");
    drop(db.write_async(&batch).expect("submitted"));
    eventually("visible", || db.contains_key("key").expect("reads"));
    let after = fs.crash_image(CrashPolicy::LoseUnsynced, 0);
    assert!(open(&after).contains_key("key").expect("reads"), "visible, and so durable");
}

#[test]
fn a_ticket_polled_while_another_leads_is_woken_when_it_is_done() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    let hold = fs.hold(every().sync_of("*.log"));
    std::thread::scope(|scope| {
        scope.spawn(|| db.put("a", "b").expect("writes"));
        hold.wait_for(1);
        let mut batch = WriteBatch::new();
        batch.put("key", "value");
        let mut ticket = Box::pin(db.write_async(&batch).expect("submitted"));
        let wakes = Arc::new(CountWakes(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        assert!(ticket.as_mut().poll(&mut context).is_pending());
        // The log's own thread has looked, found somebody leading, and sleeps again.
        std::thread::sleep(Duration::from_millis(20));
        hold.release();
        eventually("woken", || wakes.0.load(Ordering::SeqCst) > 0);
        assert!(ticket.as_mut().poll(&mut context).is_ready());
    });
}
