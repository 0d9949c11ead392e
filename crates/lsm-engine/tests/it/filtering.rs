//! Compaction filters: the present changes, what somebody began to read does not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use lsm_engine::{
    Append, CompactionFilter, Db, ErrorKind, FilterDecision, Iter, KeyspaceOptions, Operator,
    Options, Reads, Snapshot, Step, ValueFilter,
};
use lsm_io::SimFs;

use crate::rng::Rng;
use crate::{content, tiny_options};

/// Removes values that begin with "r", makes capitals of those that begin with "c", panics over "p".
struct ByLetter;

fn by_letter(value: &[u8]) -> FilterDecision {
    match value.first() {
        Some(b'r') => FilterDecision::Remove,
        Some(b'c') => FilterDecision::Replace(value.to_ascii_uppercase()),
        Some(b'p') => panic!("on purpose"),
        _ => FilterDecision::Keep,
    }
}

impl CompactionFilter for ByLetter {
    fn name(&self) -> &str {
        "by-letter"
    }

    fn filter(&self, _key: &[u8], value: &[u8]) -> FilterDecision {
        by_letter(value)
    }
}

fn with(filter: impl CompactionFilter) -> KeyspaceOptions {
    KeyspaceOptions {
        compaction_filter: Some(ValueFilter::new(filter)),
        block_bytes: 512,
        ..KeyspaceOptions::default()
    }
}

fn options(fs: &SimFs, filter: impl CompactionFilter) -> Options {
    Options { keyspace: with(filter), ..tiny_options(fs) }
}

fn merge_all(db: &Db) {
    db.compact_range::<&str>(..).expect("merges");
}

#[track_caller]
fn check_content(reads: &impl Reads, expected: &[(&str, &str)]) {
    let expected: BTreeMap<_, _> = expected
        .iter()
        .map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect();
    assert_eq!(content(reads), expected);
}

#[test]
fn a_merge_leaves_what_the_filter_says() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", options(&fs, ByLetter)).expect("opens");
    for (key, value) in [("a", "keep"), ("b", "remove"), ("c", "change"), ("d", "panic")] {
        db.put(key, value).expect("writes");
    }
    db.flush().expect("flushes");
    check_content(&db, &[("a", "keep"), ("b", "remove"), ("c", "change"), ("d", "panic")]);
    merge_all(&db);
    check_content(&db, &[("a", "keep"), ("c", "CHANGE"), ("d", "panic")]);
    let metrics = db.metrics();
    let counts = (metrics.filter_removed, metrics.filter_replaced, metrics.filter_failures);
    assert_eq!(counts, (1, 1, 1));
    // It is gone from the tables too, and under nobody's feet.
    let report = db.verify().expect("verifies");
    assert!(report.is_clean(), "{report:?}");
    db.close().expect("closes");
    let db = Db::open_with("db", options(&fs, ByLetter)).expect("opens");
    check_content(&db, &[("a", "keep"), ("c", "CHANGE"), ("d", "panic")]);
}

#[test]
fn a_replacement_expires_with_what_it_replaced() {
    let fs = SimFs::new(0);
    let clock = Arc::new(std::sync::atomic::AtomicU64::new(1_000_000));
    let told = Arc::clone(&clock);
    let mut options = options(&fs, ByLetter);
    options.env.clock = Arc::new(move || told.load(std::sync::atomic::Ordering::Relaxed));
    let db = Db::open_with("db", options).expect("opens");
    db.put_ttl("c", "change", Duration::from_secs(10)).expect("writes");
    merge_all(&db);
    check_content(&db, &[("c", "CHANGE")]);
    clock.fetch_add(10_000, std::sync::atomic::Ordering::Relaxed);
    check_content(&db, &[]);
}

#[test]
fn a_removal_goes_on_hiding_older_versions() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", options(&fs, ByLetter)).expect("opens");
    db.put("a", "keep").expect("writes");
    let snapshot = db.snapshot();
    db.put("a", "remove").expect("writes");
    merge_all(&db);
    check_content(&db, &[]);
    check_content(&snapshot, &[("a", "keep")]);
    drop(snapshot);
    merge_all(&db);
    check_content(&db, &[]);
}

/// Begins to read in the middle of the merge that asks it.
#[derive(Default)]
struct Readers {
    db: OnceLock<Db>,
    begun: Mutex<Option<(Snapshot, Iter)>>,
}

struct Begins(Arc<Readers>);

impl CompactionFilter for Begins {
    fn name(&self) -> &str {
        "begins"
    }

    fn filter(&self, _key: &[u8], value: &[u8]) -> FilterDecision {
        let db = self.0.db.get().expect("it is open");
        let begun = &mut *self.0.begun.lock().expect("no panic");
        begun.get_or_insert_with(|| (db.snapshot(), db.iter()));
        by_letter(value)
    }
}

#[test]
fn who_begins_to_read_while_values_are_filtered_sees_them_as_they_were() {
    let fs = SimFs::new(0);
    let readers = Arc::new(Readers::default());
    let db = Db::open_with("db", options(&fs, Begins(Arc::clone(&readers)))).expect("opens");
    assert!(readers.db.set(db.clone()).is_ok());
    db.put("a", "keep").expect("writes");
    db.put("b", "remove").expect("writes");
    db.put("c", "change").expect("writes");
    merge_all(&db);
    check_content(&db, &[("a", "keep"), ("c", "CHANGE")]);
    let (snapshot, mut scan) =
        readers.begun.lock().expect("no panic").take().expect("it was asked");
    check_content(&snapshot, &[("a", "keep"), ("b", "remove"), ("c", "change")]);
    assert_eq!(snapshot.get("b").expect("reads").as_deref(), Some(&b"remove"[..]));
    let read = snapshot.multi_get(&["b", "c"]).expect("reads");
    assert_eq!(read[1].as_deref(), Some(&b"change"[..]));
    assert_eq!(scan.by_ref().filter(Result::is_ok).count(), 3);
    // Writes and merges that follow change nothing about that.
    db.delete("a").expect("deletes");
    drop(scan);
    merge_all(&db);
    check_content(&snapshot, &[("a", "keep"), ("b", "remove"), ("c", "change")]);
    // The next one pins nothing.
    drop(snapshot);
    check_content(&db.snapshot(), &[("c", "CHANGE")]);
}

#[test]
fn what_a_transaction_read_and_a_filter_took_away_is_no_conflict() {
    let fs = SimFs::new(0);
    let db = Db::open_with("db", options(&fs, ByLetter)).expect("opens");
    db.put("b", "remove").expect("writes");
    db.flush().expect("flushes");
    let tx = db.transaction();
    assert!(tx.get("b").expect("reads").is_some());
    merge_all(&db);
    tx.put("a", "keep");
    tx.commit().expect("nobody has written what it read");
}

#[test]
fn a_keyspace_is_opened_with_the_filter_that_it_has() {
    struct Other;
    impl CompactionFilter for Other {
        fn name(&self) -> &str {
            "other"
        }
        fn filter(&self, _key: &[u8], _value: &[u8]) -> FilterDecision {
            FilterDecision::Remove
        }
    }
    let fs = SimFs::new(0);
    let db = Db::open_with("db", tiny_options(&fs)).expect("opens");
    let logs = db.keyspace_with("logs", with(ByLetter)).expect("creates");
    logs.put("b", "remove").expect("writes");
    drop(logs);
    db.close().expect("closes");

    let db = Db::open_with("db", tiny_options(&fs)).expect("opens");
    let refused = db.keyspace("logs").expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let has = "keyspace \"logs\" has compaction filter \"by-letter\"; it is opened ";
    assert_eq!(refused.to_string(), format!("{has}without one"));
    let refused = db.keyspace_with("logs", with(Other)).expect_err("refused").to_string();
    assert_eq!(refused, format!("{has}with \"other\""));
    let logs = db.keyspace_with("logs", with(ByLetter)).expect("it is the same");
    // It can be changed, and taken away, for later merges.
    logs.set_options(logs.options()).expect("the same");
    logs.set_options(KeyspaceOptions::default()).expect("takes it away");
    logs.compact_range::<&str>(..).expect("merges");
    check_content(&logs, &[("b", "remove")]);
    logs.set_options(with(Other)).expect("gives another");
    drop(logs);
    db.close().expect("closes");

    let db = Db::open_with("db", tiny_options(&fs)).expect("opens");
    let logs = db.keyspace_with("logs", with(Other)).expect("it was saved");
    logs.compact_range::<&str>(..).expect("merges");
    check_content(&logs, &[]);
}

#[test]
fn the_default_keyspace_takes_the_first_filter_that_it_is_opened_with() {
    let fs = SimFs::new(0);
    Db::open_with("db", tiny_options(&fs)).expect("opens").close().expect("closes");
    Db::open_with("db", options(&fs, ByLetter)).expect("opens").close().expect("closes");
    assert!(Db::open_with("db", tiny_options(&fs)).is_err(), "the name was saved");
    let tool = Options { without_operators: true, ..tiny_options(&fs) };
    let db = Db::open_with("db", tool).expect("opens");
    db.put("b", "remove").expect("writes");
    merge_all(&db);
    check_content(&db, &[("b", "remove")]);
    db.set_options(db.options()).expect("the name stays");
    db.close().expect("closes");
    let db = Db::open_with("db", options(&fs, ByLetter)).expect("opens");
    merge_all(&db);
    check_content(&db, &[]);
}

#[test]
fn large_values_are_filtered_and_lie_where_their_length_says() {
    let fs = SimFs::new(0);
    let keyspace = KeyspaceOptions { blob_threshold_bytes: Some(100), ..with(ByLetter) };
    let large = |letter: &str| letter.repeat(300);
    let open = || Db::open_with("db", Options { keyspace: keyspace.clone(), ..tiny_options(&fs) });
    let db = open().expect("opens");
    for key in ["c", "k", "r"] {
        db.put(key, large(key)).expect("writes");
        db.put(format!("{key} with an expiry"), large(key)).expect("writes");
    }
    db.flush().expect("flushes");
    assert_eq!(db.metrics().blobs.live_values, 6);
    let snapshot = db.snapshot();
    merge_all(&db);
    assert_eq!(snapshot.get("r").expect("reads").as_deref(), Some(large("r").as_bytes()));
    drop(snapshot);
    merge_all(&db);
    db.settle().expect("settles");
    let expected = [
        ("c", &*large("C")),
        ("c with an expiry", &*large("C")),
        ("k", &*large("k")),
        ("k with an expiry", &*large("k")),
    ];
    check_content(&db, &expected);
    assert_eq!(db.metrics().blobs.live_values, 4);
    assert!(db.verify().expect("verifies").is_clean());
    drop(db);
    check_content(&open().expect("opens"), &expected);
}

#[test]
fn what_operands_come_to_is_filtered() {
    let fs = SimFs::new(0);
    let operator = Operator::new(Append);
    let keyspace = KeyspaceOptions { merge_operator: Some(operator), ..with(ByLetter) };
    let db = Db::open_with("db", Options { keyspace, ..tiny_options(&fs) }).expect("opens");
    for key in ["r", "c", "k"] {
        db.put(key, key).expect("writes");
        merge_all(&db);
    }
    check_content(&db, &[("c", "C"), ("k", "k")]);
    for (key, operand) in [("r", "remove"), ("c", "change"), ("k", "keep"), ("new", "remove")] {
        db.merge(key, operand).expect("merges");
        db.flush().expect("flushes");
    }
    check_content(&db, &[("c", "Cchange"), ("k", "kkeep"), ("new", "remove"), ("r", "remove")]);
    merge_all(&db);
    check_content(&db, &[("c", "Cchange"), ("k", "kkeep")]);
    let snapshot = db.snapshot();
    db.merge("k", "!").expect("merges");
    merge_all(&db);
    check_content(&snapshot, &[("c", "Cchange"), ("k", "kkeep")]);
    check_content(&db, &[("c", "Cchange"), ("k", "kkeep!")]);
}

/// What a key was last given, and what was seen of it since.
#[derive(Clone, Debug, Default)]
struct Cell {
    value: Option<Vec<u8>>,
    is_filtered: bool,
    is_fixed: bool,
}

type Cells = BTreeMap<Vec<u8>, Cell>;

impl Cell {
    fn filtered(&self) -> Option<Vec<u8>> {
        match by_letter(self.value.as_ref()?) {
            FilterDecision::Keep => self.value.clone(),
            FilterDecision::Remove => None,
            FilterDecision::Replace(other) => Some(other),
        }
    }

    /// Holds what was found against it. For who keeps a moment the first answer counts; for the present
    /// a value that was filtered stays so.
    #[track_caller]
    fn check(&mut self, found: Option<&[u8]>, keeps_moment: bool, about: &str) {
        let filtered = self.filtered();
        let is_whole = found == self.value.as_deref() && !self.is_filtered;
        let is_filtered = found == filtered.as_deref()
            && !(self.is_fixed && !self.is_filtered && filtered != self.value);
        assert!(is_whole || is_filtered, "{about}: found {found:?} of {self:?}");
        self.is_filtered = !is_whole;
        self.is_fixed = keeps_moment;
    }
}

#[track_caller]
fn check_cells(reads: &impl Reads, cells: &mut Cells, keeps_moment: bool, about: &str) {
    let mut found = content(reads);
    for (key, cell) in cells {
        cell.check(found.remove(key).as_deref(), keeps_moment, about);
    }
    assert!(found.is_empty(), "{about}: nobody wrote {found:?}");
}

/// Values that a test may write: what the filter leaves is told from what it was given.
fn random_value(rng: &mut Rng, n: u32) -> Vec<u8> {
    let letter = ["keep", "remove", "change"][rng.below(3) as usize];
    format!("{letter} {n} {}", "x".repeat(rng.below(300) as usize)).into_bytes()
}

#[test]
fn whatever_happens_the_present_is_filtered_for_good_and_a_moment_does_not_change() {
    for seed in 0..60 {
        let mut rng = Rng(seed);
        let mut fs = SimFs::new(seed);
        let options = |fs: &SimFs| {
            let blob_threshold_bytes = (seed % 2 == 0).then_some(100);
            let keyspace = KeyspaceOptions { blob_threshold_bytes, ..with(ByLetter) };
            Options { keyspace, ..tiny_options(fs) }
        };
        let mut db = Db::open_with("db", options(&fs)).expect("opens");
        let mut cells = Cells::new();
        let mut snapshots: Vec<(Snapshot, Cells)> = Vec::new();
        for n in 0..250 {
            let about = format!("seed {seed}, step {n}");
            let key = format!("k{:02}", rng.below(24)).into_bytes();
            match rng.below(20) {
                0..8 => {
                    let value = random_value(&mut rng, n);
                    db.put(&key, &value).expect("writes");
                    cells.insert(key, Cell { value: Some(value), ..Cell::default() });
                }
                8..10 => {
                    db.delete(&key).expect("deletes");
                    cells.insert(key, Cell::default());
                }
                10..12 => db.flush().expect("flushes"),
                12..15 => drop(db.step(Step::Compact).expect("merges")),
                15 => merge_all(&db),
                16 if snapshots.len() < 3 => snapshots.push((db.snapshot(), cells.clone())),
                17 if !snapshots.is_empty() => {
                    let at = rng.below(snapshots.len() as u64) as usize;
                    drop(snapshots.remove(at));
                }
                18 if rng.below(5) == 0 => {
                    // What readers have seen was durable.
                    snapshots.clear();
                    fs = fs.crash_image(lsm_io::CrashPolicy::ALL[rng.below(8) as usize], seed);
                    db = Db::open_with("db", options(&fs)).expect("opens");
                }
                _ => {}
            }
            if rng.below(3) == 0 {
                check_cells(&db, &mut cells, false, &about);
                for (snapshot, cells) in &mut snapshots {
                    check_cells(snapshot, cells, true, &about);
                }
            }
        }
        snapshots.clear();
        db.settle().expect("settles");
        merge_all(&db);
        for (key, cell) in &cells {
            let found = db.get(key).expect("reads").map(|value| value.to_vec());
            assert_eq!(found, cell.filtered(), "seed {seed}: all was merged");
        }
    }
}

#[test]
fn a_crash_anywhere_in_a_filtered_merge_leaves_each_value_as_it_was_or_as_the_filter_says() {
    let run = |fs: &SimFs| -> lsm_engine::Result<()> {
        let db = Db::open_with("db", options(fs, ByLetter))?;
        for round in 0..3 {
            for letter in ["keep", "remove", "change"] {
                db.put(letter, format!("{letter} {round}"))?;
            }
            db.flush()?;
        }
        db.compact_range::<&str>(..)
    };
    let steps = SimFs::new(0).count_steps(|fs| run(fs).expect("nothing fails"));
    for step in 0..steps {
        let fs = SimFs::new(0).crash_at(step);
        let _ = run(&fs);
        for policy in lsm_io::CrashPolicy::ALL {
            let image = fs.crash_image(policy, step);
            let db = Db::open_with("db", options(&image, ByLetter)).expect("opens");
            for (key, value) in content(&db) {
                let key = String::from_utf8(key).expect("text");
                let value = String::from_utf8(value).expect("text").to_lowercase();
                assert!(value.starts_with(&key), "step {step}, {policy:?}: {key} is {value}");
            }
            merge_all(&db);
            assert!(db.get("remove").expect("reads").is_none(), "step {step}, {policy:?}");
        }
    }
}
