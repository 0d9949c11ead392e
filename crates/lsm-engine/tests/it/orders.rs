//! Orders that must not change (docs/orders.md), where no other test would notice a swap.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use lsm_engine::{
    Append, CompactionPolicy, Db, Durability, Env, ErrorKind, KeyspaceOptions, LeveledOptions,
    Operator, Options, Reads, Step,
};
use lsm_io::{CrashPolicy, SimFs, every, once};

use crate::{key, open, threaded, tiny_options};

/// Writes rounds to one key, flushing and merging all the while, and lets many threads `read` it;
/// none may see less than what was acknowledged before it began.
///
/// There are more threads than processors, so that they are put aside in the middle of things.
fn check_reads_beside_flushes(read: impl Fn(&Db) -> Option<u32> + Sync) {
    const ROUNDS: u32 = 1500;
    let fs = SimFs::new(0);
    let db = open(&fs);
    let acknowledged = AtomicU32::new(0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let before = acknowledged.load(Ordering::Acquire);
                    let found = read(&db);
                    let is_enough = before == 0 || found.is_some_and(|round| round >= before);
                    // Nobody waits for the rest of the rounds then.
                    is_over.fetch_or(!is_enough, Ordering::AcqRel);
                    assert!(is_enough, "{found:?} after {before} was acknowledged");
                }
            });
        }
        for round in 1..=ROUNDS {
            if is_over.load(Ordering::Acquire) {
                break;
            }
            db.put_with("key", round.to_be_bytes(), Durability::Memory.into()).expect("writes");
            acknowledged.store(round, Ordering::Release);
            if round % 2 == 0 {
                db.flush().expect("flushes");
                db.step(Step::Compact).expect("merges");
            }
        }
        is_over.store(true, Ordering::Release);
    });
}

fn round_of(value: &[u8]) -> u32 {
    u32::from_be_bytes(value.try_into().expect("four bytes"))
}

#[test]
fn a_point_read_misses_nothing_beside_flushes_and_merges() {
    check_reads_beside_flushes(|db| db.get("key").expect("reads").map(|value| round_of(&value)));
}

#[test]
fn a_read_of_several_keys_misses_nothing_beside_flushes_and_merges() {
    check_reads_beside_flushes(|db| {
        let found = db.multi_get(&["key"]).expect("reads").pop().expect("one answer");
        found.map(|value| round_of(&value))
    });
}

#[test]
fn a_scan_misses_nothing_beside_flushes_and_merges() {
    check_reads_beside_flushes(|db| {
        db.iter().next().map(|entry| round_of(&entry.expect("reads").1))
    });
}

#[test]
fn a_cursor_sees_everything_up_to_its_number() {
    // Every write takes one number, and the first of all takes 1.
    check_reads_beside_flushes(|db| {
        let mut cursor = db.cursor();
        let seq_no = cursor.seq_no();
        cursor.seek_first().expect("seeks");
        let round = cursor.value().map(round_of);
        assert_eq!(u64::from(round.unwrap_or(0)), seq_no, "what it shows, and what it says");
        round
    });
}

type Act = Box<dyn FnOnce() + Send>;

/// A clock that, once armed, does something the next time it is asked.
#[derive(Clone, Default)]
struct Hook(Arc<Mutex<Option<Act>>>);

impl Hook {
    fn clock(&self) -> Arc<dyn Fn() -> u64 + Send + Sync> {
        let hook = self.clone();
        Arc::new(move || {
            let armed = hook.0.lock().expect("no holder panicked").take();
            if let Some(act) = armed {
                act();
            }
            1_700_000_000_000
        })
    }
}

#[test]
fn a_snapshot_taken_while_a_merge_begins_keeps_what_it_sees() {
    let fs = SimFs::new(0);
    let hook = Hook::default();
    let options = tiny_options(&fs);
    let options = Options { env: Env { clock: hook.clock(), ..options.env }, ..options };
    let db = Arc::new(Db::open_with("db", options).expect("opens"));
    for round in 0..3 {
        db.put("key", format!("{round}")).expect("writes");
        db.flush().expect("flushes");
    }
    // A merge asks for the time once it has its plan and before it reads its first entry.
    let taken = Arc::new(Mutex::new(None));
    *hook.0.lock().expect("no holder panicked") = Some(Box::new({
        let (db, taken) = (Arc::clone(&db), Arc::clone(&taken));
        move || {
            *taken.lock().expect("no holder panicked") = Some(db.snapshot());
            db.put("key", "newer").expect("writes");
            db.flush().expect("flushes");
        }
    }));
    while taken.lock().expect("no holder panicked").is_none() {
        db.compact_range::<&[u8]>(..).expect("merges");
    }
    let snapshot = taken.lock().expect("no holder panicked").take().expect("taken");
    db.compact_range::<&[u8]>(..).expect("merges");
    assert_eq!(snapshot.get("key").expect("reads").expect("kept"), "2");
    assert_eq!(db.get("key").expect("reads").expect("there"), "newer");
}

#[test]
fn no_plan_is_made_of_tables_that_another_has_merged_already() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let merged = db.step(Step::Compact);
                    is_over.fetch_or(merged.is_err(), Ordering::AcqRel);
                    merged.expect("every table of a plan is there");
                }
            });
        }
        let flushed = (0..300).try_for_each(|round: u32| {
            for n in 0..4 {
                db.put_with(key(n), round.to_be_bytes(), Durability::Memory.into())?;
            }
            if is_over.load(Ordering::Acquire) { Ok(()) } else { db.flush() }
        });
        is_over.store(true, Ordering::Release);
        flushed.expect("flushes");
    });
}

#[test]
fn a_scan_reads_tables_that_were_replaced_before_it_opened_them() {
    let fs = SimFs::new(0);
    let options = || {
        let leveled = LeveledOptions { table_bytes: 64 << 10, ..LeveledOptions::default() };
        let compaction = CompactionPolicy::Leveled(leveled);
        Options {
            keyspace: KeyspaceOptions { compaction, ..Default::default() },
            ..tiny_options(&fs)
        }
    };
    let db = Db::open_with("db", options()).expect("opens");
    let dropped = db.keyspace("dropped").expect("creates");
    for n in 0..400 {
        dropped.put_with(key(n), vec![1; 2000], Durability::Memory.into()).expect("writes");
    }
    dropped.compact_range::<&[u8]>(..).expect("merges");
    drop((db, dropped));
    // Opened anew, so that only tables which the scan has reached are open; a merge would open those
    // that it replaces, a drop does not.
    let db = Db::open_with("db", options()).expect("opens");
    let dropped = db.keyspace("dropped").expect("is there");
    let mut cursor = dropped.cursor();
    cursor.seek_first().expect("seeks");
    db.drop_keyspace(dropped).expect("drops");
    while db.step(Step::Log).expect("removes what nobody holds") {}
    let mut count = 0;
    while cursor.key().is_some() {
        count += 1;
        cursor.next().expect("moves on");
    }
    assert_eq!(count, 400);
}

#[test]
fn segments_stay_while_the_edit_that_lets_them_go_is_refused() {
    let fs = SimFs::new(1);
    // One memtable lets go of many segments: more than are kept to be used again.
    let options = Options { memtable_bytes: Some(1 << 20), ..tiny_options(&fs) };
    let db = Db::open_with("db", options).expect("opens");
    let other = db.keyspace("other").expect("creates");
    for n in 0..600 {
        db.put(key(n), vec![1; 1000]).expect("writes");
    }
    fs.fail(every().write_of("*.manifest"));
    db.default_keyspace().compact_range::<&[u8]>(..).expect_err("no edit is taken");
    let _ = db.step(Step::Log);
    fs.heal();
    other.put("key", "value").expect("writes go on");
    // What is removed without a sync of the directory may be gone, or back.
    for policy in [CrashPolicy::LoseUnsynced, CrashPolicy::KeepEverything] {
        let db = open(&fs.crash_image(policy, 0));
        assert_eq!(db.iter().count(), 600, "{policy}");
    }
}

#[test]
fn a_keyspace_whose_creation_is_refused_takes_no_writes() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    fs.fail(once().write_of("*.manifest"));
    db.keyspace("users").expect_err("its edit is not taken");
    let users = db.keyspace("users").expect("creates it now");
    users.put("key", "value").expect("writes");
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    let users = db.keyspace("users").expect("is there");
    assert_eq!(users.get("key").expect("reads").expect("there"), "value");
}

#[test]
fn an_operator_whose_name_could_not_be_saved_takes_no_operands() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let merge_operator = Some(Operator::new(Append));
    let appending = KeyspaceOptions { merge_operator, ..db.options() };
    fs.fail(once().write_of("*.manifest"));
    db.set_options(appending.clone()).expect_err("its edit is not taken");
    let refusal = db.merge("key", "1").expect_err("nobody could read it after the next open");
    assert_eq!(refusal.kind(), ErrorKind::Invalid, "{refusal}");
    db.set_options(appending).expect("is saved now");
    db.merge("key", "1").expect("writes");
    assert_eq!(db.get("key").expect("reads").expect("is there"), "1");
}

#[test]
fn nobody_finds_a_keyspace_before_its_creation_is_durable() {
    let fs = SimFs::new(1);
    let db = Db::open_with("db", threaded(&fs)).expect("opens");
    let image = std::thread::scope(|scope| {
        let hold = fs.hold(every().sync_of("*.manifest"));
        scope.spawn(|| db.keyspace("users").expect("creates"));
        hold.wait_for(1);
        let is_found = db.keyspaces().contains(&"users".to_owned());
        if is_found {
            db.keyspace("users").and_then(|users| users.put("key", "value")).expect("writes");
        }
        let image = fs.crash_image(CrashPolicy::LoseUnsynced, 0);
        hold.release();
        image
    });
    // A batch that names it would stand in the log without it.
    let db = open(&image);
    assert_eq!(db.keyspaces(), ["default"]);
}

#[test]
fn the_writes_before_a_drop_are_durable_before_the_drop_is() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    let dropped = db.keyspace("dropped").expect("creates");
    let mut batch = lsm_engine::WriteBatch::new();
    batch.put("both", "1");
    batch.within(&dropped).put("both", "1");
    db.write_with(&batch, Durability::Memory.into()).expect("writes");
    db.drop_keyspace(dropped).expect("dropped");
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    assert_eq!(db.keyspaces(), ["default"], "the drop is durable");
    assert!(db.contains_key("both").expect("reads"), "and what came before it in the order");
}

#[test]
fn a_write_beside_a_close_is_durable_before_the_log_ends() {
    let fs = SimFs::new(1);
    let db = open(&fs);
    db.put("before", "1").expect("writes");
    std::thread::scope(|scope| {
        let hold = fs.hold(every().create_of("*.sst"));
        let closing = scope.spawn(|| db.clone().close());
        hold.wait_for(1);
        db.put_with("beside", "2", Durability::Memory.into()).expect("the log has not ended yet");
        hold.release();
        closing.join().expect("no panic").expect("closes");
    });
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    assert!(db.recovery_report().closed_cleanly);
    assert!(db.contains_key("before").expect("reads") && db.contains_key("beside").expect("reads"));
}

#[test]
fn a_crash_anywhere_in_a_close_leaves_a_database_that_opens() {
    let begin = |fs: &SimFs| {
        let db = open(fs);
        db.put("key", "value").expect("writes");
        db
    };
    let fs = SimFs::new(1);
    let db = begin(&fs);
    let first = fs.steps();
    let steps = fs.count_steps(|_| db.close().expect("closes"));
    assert!(steps > 5, "{steps} steps are too few to tell");
    for step in first..first + steps {
        for policy in CrashPolicy::ALL {
            let fs = SimFs::new(1);
            let db = begin(&fs);
            fs.crash_at(step);
            let _ = db.close();
            let db = open(&fs.crash_image(policy, step));
            let found = db.get("key").expect("reads");
            assert_eq!(found.expect("there"), "value", "step {step}, {policy}");
        }
    }
}
