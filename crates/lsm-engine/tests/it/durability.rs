//! What an acknowledged write survives, and what becomes of the database when a sync fails.

use lsm_engine::{Db, Durability, ErrorKind, Reads, WriteBatch, WriteOptions};
use lsm_io::{CrashPolicy, SimFs, nth, once};

use crate::{key, open, tiny_options};

#[test]
fn a_durable_write_survives_every_power_cut() {
    for policy in CrashPolicy::ALL {
        let fs = SimFs::new(1);
        let db = open(&fs);
        db.put("key", "value").expect("writes");
        let fs = fs.crash_image(policy, 7);
        let db = open(&fs);
        assert_eq!(db.get("key").expect("reads").expect("there"), "value", "{policy:?}");
    }
}

#[test]
fn a_write_with_the_system_survives_a_killed_process() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put_with("key", "value", Durability::Os.into()).expect("writes");
    let db = open(&fs.kill_image());
    assert_eq!(db.get("key").expect("reads").expect("there"), "value");
}

#[test]
fn a_write_in_memory_is_lost_with_what_followed_it_only() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put_with("first", "1", Durability::Disk.into()).expect("writes");
    db.put_with("second", "2", Durability::Memory.into()).expect("writes");
    assert_eq!(db.get("second").expect("reads").expect("visible at once"), "2");
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    assert!(db.contains_key("first").expect("reads"));
    assert!(!db.contains_key("second").expect("reads"));
}

#[test]
fn waiting_for_a_sequence_number_makes_it_durable() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let seq_no = db.put_with("key", "value", Durability::Memory.into()).expect("writes");
    db.wait_durable(seq_no).expect("syncs");
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    assert!(db.contains_key("key").expect("reads"));
}

#[test]
fn a_flushed_table_survives_every_power_cut() {
    for policy in CrashPolicy::ALL {
        let fs = SimFs::new(1);
        let db = open(&fs);
        for n in 0..20 {
            db.put(key(n), "value").expect("writes");
        }
        db.flush().expect("flushes");
        let db = open(&fs.crash_image(policy, 7));
        assert_eq!(db.iter().filter(Result::is_ok).count(), 20, "{policy}");
        assert!(db.verify().expect("verifies").is_clean(), "{policy}");
    }
}

#[test]
fn the_first_write_after_a_flush_survives_a_killed_process() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    for n in 0..5 {
        db.put(key(n), "value").expect("writes");
        db.flush().expect("flushes");
        db.put("after", n.to_string()).expect("writes");
        let db = open(&fs.kill_image());
        assert_eq!(db.get("after").expect("reads").expect("there"), n.to_string().as_bytes());
    }
}

#[test]
fn a_failed_sync_makes_the_database_read_only_and_says_so() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("before", "1").expect("writes");
    fs.fail(once().sync_of("*.log").losing_pages());
    let error = db.put("during", "2").expect_err("the sync failed");
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    assert!(error.is_outcome_unknown(), "{error}");
    let error = db.put("after", "3").expect_err("read-only");
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    assert!(!error.is_outcome_unknown(), "{error}");
    assert!(db.contains_key("before").expect("reads go on"));
    assert!(!db.contains_key("during").expect("never became visible"));
    assert!(db.metrics().poison.is_some());
    drop(db);
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    assert!(db.contains_key("before").expect("reads"));
    db.put("again", "4").expect("writes again after a reopen");
}

#[test]
fn a_failed_table_sync_is_retried_with_a_new_table() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("key", "value").expect("writes");
    fs.fail(nth(1).sync_of("*.sst"));
    assert!(db.flush().is_err());
    assert_eq!(db.get("key").expect("reads").expect("still in memory"), "value");
    db.flush().expect("a new table is built");
    assert!(db.verify().expect("verifies").is_clean());
}

#[test]
fn batches_are_whole_after_a_crash_whatever_is_kept() {
    for seed in 0..50 {
        let policy = CrashPolicy::ALL[seed as usize % CrashPolicy::ALL.len()];
        let fs = SimFs::new(seed);
        let db = open(&fs);
        let other = db.keyspace("other").expect("creates");
        for n in 0..40 {
            let mut batch = WriteBatch::new();
            batch.put(key(n), "1");
            batch.within(&other).put(key(n), "1");
            let durability = if n % 7 == 0 { Durability::Disk } else { Durability::Memory };
            db.write_with(&batch, WriteOptions::durability(durability)).expect("writes");
            if n == 38 {
                // One of the two is in tables then, with batches of which nothing was synced.
                db.default_keyspace().compact_range::<&[u8]>(..).expect("merges");
            }
        }
        let db = Db::open_with("db", tiny_options(&fs.crash_image(policy, seed))).expect("opens");
        let other = db.keyspace("other").expect("is there");
        let keys =
            |entries: lsm_engine::Iter| entries.map(|e| e.expect("reads").0).collect::<Vec<_>>();
        assert_eq!(keys(db.iter()), keys(other.iter()), "seed {seed}, {policy:?}");
        assert!(db.iter().count() >= 36, "the last durable batch is the 36th");
    }
}

#[test]
fn a_flush_syncs_no_log_that_nothing_else_needs() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let other = db.keyspace("other").expect("creates");
    other.put_with("before", "1", Durability::Os.into()).expect("writes");
    other.compact_range::<&[u8]>(..).expect("merges");
    other.put_with("durable", "2", Durability::Disk.into()).expect("writes");
    db.put_with("key", "2", Durability::Os.into()).expect("writes");
    fs.reset_counters();
    db.default_keyspace().compact_range::<&[u8]>(..).expect("merges");
    assert_eq!(fs.synced("*.log"), 0);
    other.put_with("after", "3", Durability::Os.into()).expect("writes");
    for policy in CrashPolicy::ALL {
        let db = open(&fs.crash_image(policy, 7));
        assert!(db.contains_key("key").expect("reads"), "{policy:?}");
        let other = db.keyspace("other").expect("there");
        assert!(other.contains_key("before").expect("reads"), "{policy:?}");
        assert!(other.contains_key("durable").expect("reads"), "{policy:?}");
        let next = db.put_with("next", "4", Durability::Disk.into()).expect("writes");
        assert!(next > 3, "{policy:?}: number {next} is given out twice");
    }
}

#[test]
fn a_flush_syncs_the_log_of_what_is_as_old_and_stays_in_memory() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let other = db.keyspace("other").expect("creates");
    other.put_with("before", "1", Durability::Os.into()).expect("writes");
    db.put_with("key", "2", Durability::Os.into()).expect("writes");
    db.default_keyspace().compact_range::<&[u8]>(..).expect("merges");
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 7));
    assert!(db.contains_key("key").expect("reads"));
    let other = db.keyspace("other").expect("there");
    assert!(other.contains_key("before").expect("reads"), "it was written before the other");
}

#[test]
fn a_flush_syncs_the_log_of_a_batch_whose_end_stays_in_memory() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let other = db.keyspace("other").expect("creates");
    let mut batch = WriteBatch::new();
    batch.put("key", "1");
    batch.within(&other).put("key", "2");
    db.write_with(&batch, Durability::Os.into()).expect("writes");
    db.default_keyspace().compact_range::<&[u8]>(..).expect("merges");
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 7));
    assert!(db.contains_key("key").expect("reads"));
    let other = db.keyspace("other").expect("there");
    assert!(other.contains_key("key").expect("reads"), "half of a batch");
}

#[test]
fn a_flush_syncs_the_log_for_those_who_follow_it() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let mut changes = db.changes(0).expect("follows");
    db.put_with("key", "1", Durability::Os.into()).expect("writes");
    assert_eq!(changes.next_within(std::time::Duration::ZERO).expect("reads"), None);
    db.flush().expect("flushes");
    let told = changes.next_within(std::time::Duration::from_secs(10)).expect("reads");
    assert_eq!(told.expect("it is on disk").last_seq_no, 1);
    drop(changes);
    db.put_with("key", "2", Durability::Os.into()).expect("writes");
    fs.reset_counters();
    db.flush().expect("flushes");
    assert_eq!(fs.synced("*.log"), 0, "nobody follows any more");
    assert_eq!(db.metrics().records_not_durable(), 0, "it is in a table");
    let mut changes = db.changes(1).expect("follows");
    let told = changes.next_within(std::time::Duration::ZERO).expect("reads");
    assert_eq!(told.expect("it is on disk").last_seq_no, 2);
}

#[test]
fn a_group_of_mixed_durabilities_leaves_nothing_to_be_synced_at_the_close() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    let mut batch = WriteBatch::new();
    batch.put("disk", "waits");
    let ticket = db.write_async(&batch).expect("ordered");
    db.put_with("system", "joins", Durability::Os.into()).expect("writes");
    ticket.wait().expect("acknowledged");
    db.close().expect("closes");
    assert!(open(&fs).recovery_report().closed_cleanly);
}
