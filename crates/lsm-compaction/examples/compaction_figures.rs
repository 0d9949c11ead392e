//! What planning costs as a tree grows, and what judging an entry costs while tables are merged.
//!
//! `cargo run --release -p lsm-compaction --example compaction_figures [ENTRIES]`
//!
//! Entries of 16 + 100 bytes, in memory, into a sink that counts them: what is left is the rule of
//! what to keep, the borders of tables, and the key hash. Nanoseconds, the quickest of several rounds.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use lsm_compaction::{CompactionPolicy, PlanInput, Retention, Slice, TableSink, Traffic, merge};
use lsm_entry::{Entry, OwnedEntry, RangeDelete, VecCursor};
use lsm_version::{Place, TableRecord, Version, VersionEdit};

const ROUNDS: usize = 5;
const VALUE_BYTES: usize = 100;

fn main() {
    let entries = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(20_000);
    println!("plan, by tables in the tree");
    for tables in [10, 100, 1_000, 10_000] {
        measure_plan(tables);
    }
    println!("merge, an entry of {entries}");
    measure_merge("every key once", entries, 1, &[]);
    measure_merge("every key twice, the older goes", entries, 2, &[]);
    let newest = entries as u64;
    measure_merge("every key twice, a snapshot keeps both", entries, 2, &[newest / 2]);
}

/// The default policy, asked about a tree of which level 0 is full.
fn measure_plan(tables: u64) {
    let mut edit = VersionEdit::default();
    let mut add = |level: usize, run: u64, number: u64, lower: u64, upper: u64| {
        let table = TableRecord {
            number,
            bytes: 64 << 20,
            lower: lower.to_be_bytes().to_vec(),
            upper: upper.to_be_bytes().to_vec(),
            entries: 500_000,
            ..TableRecord::default()
        };
        edit.added.push((Place { level, run }, Arc::new(table)));
    };
    for number in 0..tables {
        add(6, 1, 1 + number, number * 10, number * 10 + 9);
    }
    for run in 0..4 {
        add(0, tables + 1 + run, tables + 1 + run, 0, tables * 10);
    }
    let version = Version::default().apply(&edit).expect("the tables of a run are apart");
    let policy = CompactionPolicy::default();
    let nanoseconds = quickest(1, || {
        let input = PlanInput {
            version: &version,
            running: &[],
            snapshots: &[],
            now_ms: 0,
            traffic: Traffic::Rest,
        };
        assert!(black_box(policy.as_policy().plan(&input)).is_some(), "level 0 is full");
    });
    print(&format!("{tables} tables"), nanoseconds / 1e3, "us");
}

/// Merges keys with several versions each.
fn measure_merge(what: &str, entries: usize, versions: usize, snapshots: &[u64]) {
    let keys = entries / versions;
    let mut sorted = Vec::with_capacity(entries);
    for key in 0..keys {
        // Newest first: those of the last round of writes.
        for version in (0..versions).rev() {
            let key = (key as u128).to_be_bytes();
            let seq_no = (1 + version * keys) as u64;
            sorted.push(OwnedEntry::from(Entry::put(&key, seq_no, &[b'v'; VALUE_BYTES])));
        }
    }
    let version = Version::parse("L0: a-f c-k d-e b-g\nL6: a-e g-m p-t");
    let input =
        PlanInput { version: &version, running: &[], snapshots, now_ms: 0, traffic: Traffic::Rest };
    let plan = CompactionPolicy::default().as_policy().plan(&input).expect("level 0 is full");
    let mut cursor = VecCursor::new(sorted);
    let mut kept = 0;
    let nanoseconds = quickest(entries, || {
        let mut sink = Counting::default();
        let mut retention = Retention::new(snapshots.to_vec(), 0);
        let merged =
            merge(&mut cursor, &plan, &Slice::default(), &mut retention, &mut sink, &|| false);
        assert!(merged.is_ok(), "memory does not fail");
        kept = sink.entries;
    });
    let is_kept = versions == 1 || !snapshots.is_empty();
    assert_eq!(kept, if is_kept { keys * versions } else { keys }, "{what}");
    print(what, nanoseconds, "ns");
}

/// A sink that counts.
#[derive(Default)]
struct Counting {
    entries: usize,
    table_bytes: u64,
}

impl TableSink for Counting {
    type Error = Infallible;

    fn add(&mut self, entry: Entry<'_>, hash: u64) -> Result<(), Infallible> {
        black_box(hash);
        self.entries += 1;
        self.table_bytes += (entry.key.len() + entry.value.len()) as u64;
        Ok(())
    }

    fn add_range_delete(&mut self, _: &RangeDelete) -> Result<(), Infallible> {
        Ok(())
    }

    fn table_bytes(&self) -> u64 {
        self.table_bytes
    }

    fn cut(&mut self) -> Result<(), Infallible> {
        self.table_bytes = 0;
        Ok(())
    }
}

/// Nanoseconds for each of `count` things, in the quickest round.
fn quickest(count: usize, mut work: impl FnMut()) -> f64 {
    let mut round = || {
        let start = Instant::now();
        work();
        start.elapsed().as_nanos() as f64 / count.max(1) as f64
    };
    (0..ROUNDS).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn print(what: &str, figure: f64, unit: &str) {
    println!("  {what:<44}{figure:>8.1} {unit}");
}
