//! A merge in slices writes what it writes as a whole, into tables of one run.

use std::convert::Infallible;

use lsm_compaction::{
    CompactionPolicy, Plan, PlanInput, Retention, Sample, Slice, TableSink, Traffic, merge,
};
use lsm_entry::{Entry, Fragments, OwnedEntry, RangeDelete, Tag, VecCursor, last_key_below};
use lsm_version::Version;

use crate::rng::Rng;

#[derive(Default)]
struct Tables {
    ended: Vec<Table>,
    open: Table,
}

#[derive(Default)]
struct Table {
    entries: Vec<OwnedEntry>,
    range_deletes: Vec<RangeDelete>,
}

impl Table {
    fn lower(&self) -> &[u8] {
        let entries = self.entries.iter().map(|entry| entry.key.as_slice());
        let ranges = self.range_deletes.iter().map(|range| range.lower.as_slice());
        entries.chain(ranges).min().expect("no table is empty")
    }

    fn upper(&self) -> &[u8] {
        let entries = self.entries.iter().map(|entry| entry.key.as_slice());
        let ranges = self.range_deletes.iter().map(|range| last_key_below(&range.upper));
        entries.chain(ranges).max().expect("no table is empty")
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.range_deletes.is_empty()
    }
}

impl TableSink for Tables {
    type Error = Infallible;

    fn add(&mut self, entry: Entry<'_>, _: u64) -> Result<(), Infallible> {
        self.open.entries.push(entry.into());
        Ok(())
    }

    fn add_range_delete(&mut self, range_delete: &RangeDelete) -> Result<(), Infallible> {
        self.open.range_deletes.push(range_delete.clone());
        Ok(())
    }

    fn table_bytes(&self) -> u64 {
        self.open.entries.len() as u64
    }

    fn cut(&mut self) -> Result<(), Infallible> {
        if !self.open.is_empty() {
            self.ended.push(std::mem::take(&mut self.open));
        }
        Ok(())
    }
}

/// A plan for a merge into the deepest level: what is under it does not matter here.
fn plan(table_entries: u64) -> Plan {
    let version = Version::parse("L0: a-f c-k d-e b-g\nL6: a-e g-m p-t");
    let input = PlanInput {
        version: &version,
        running: &[],
        snapshots: &[],
        now_ms: 0,
        traffic: Traffic::Rest,
    };
    let plan = CompactionPolicy::default().as_policy().plan(&input).expect("level 0 is full");
    Plan { output_table_bytes: table_entries, ..plan }
}

fn merge_slices(
    entries: &[OwnedEntry],
    retention: &Retention,
    plan: &Plan,
    slices: &[Slice],
) -> Vec<Table> {
    let mut tables = Tables::default();
    for slice in slices {
        let mut cursor = VecCursor::new(entries.to_vec());
        let mut retention = retention.clone();
        let merged = merge(&mut cursor, plan, slice, &mut retention, &mut tables, &|| false);
        assert!(merged.is_ok(), "memory does not fail");
        let Ok(()) = tables.cut();
    }
    tables.ended
}

fn key(rng: &mut Rng) -> Vec<u8> {
    vec![b'a' + rng.below(16) as u8]
}

#[test]
fn slices_write_together_what_the_whole_merge_writes() {
    let mut were_cut = 0;
    for seed in 0..3000 {
        let mut rng = Rng(seed);
        let (mut entries, mut range_deletes) = (Vec::new(), Fragments::default());
        for seq_no in 1..=1 + rng.below(60) {
            if rng.below(8) == 0 {
                let (lower, upper) = (key(&mut rng), key(&mut rng));
                range_deletes.insert(RangeDelete { lower, upper, seq_no });
            } else {
                let tag = if rng.below(3) == 0 { Tag::DELETE } else { Tag::PUT };
                entries.push(OwnedEntry { key: key(&mut rng), seq_no, tag, value: Vec::new() });
            }
        }
        entries.sort_by(|one, other| (&one.key, other.seq_no).cmp(&(&other.key, one.seq_no)));
        let snapshots = if rng.below(2) == 0 { vec![] } else { vec![rng.below(60)] };
        let retention = Retention::new(snapshots, 0).with_range_deletes(range_deletes);
        let plan = plan(1 + rng.below(12));
        let sampled = (0..rng.below(10)).map(|_| Sample { key: key(&mut rng), bytes: 1 });
        let slices = Slice::cut(sampled.collect(), 1 + rng.below(4) as usize);

        let whole = merge_slices(&entries, &retention, &plan, &[Slice::default()]);
        let sliced = merge_slices(&entries, &retention, &plan, &slices);
        let entries_of = |tables: &[Table]| -> Vec<OwnedEntry> {
            tables.iter().flat_map(|table| table.entries.clone()).collect()
        };
        assert_eq!(entries_of(&sliced), entries_of(&whole), "seed {seed}, {slices:?}");
        let covers = |tables: &[Table]| -> Vec<(u8, Vec<u64>)> {
            let mut joined = Fragments::default();
            for range in tables.iter().flat_map(|table| &table.range_deletes) {
                joined.insert(range.clone());
            }
            let numbers = |key| joined.find(&[key]).map(|it| it.seq_nos().to_vec());
            (b'a'..=b'z').map(|key| (key, numbers(key).unwrap_or_default())).collect()
        };
        assert_eq!(covers(&sliced), covers(&whole), "seed {seed}, {slices:?}");
        let is_run = sliced.is_sorted_by(|one, other| one.upper() < other.lower());
        assert!(is_run, "seed {seed}: the tables' bounds meet, {slices:?}");
        were_cut += usize::from(slices.len() > 1 && !sliced.is_empty());
    }
    assert!(were_cut > 1000, "only {were_cut} were cut");
}

#[test]
fn slices_are_about_equal() {
    let sample = |n: u32| Sample { key: n.to_be_bytes().to_vec(), bytes: 10 + u64::from(n % 3) };
    let samples: Vec<_> = (0..1000).rev().map(sample).collect();
    for count in 1..=8 {
        let slices = Slice::cut(samples.clone(), count);
        assert_eq!(slices.len(), count);
        for slice in &slices {
            let is_in = |sample: &&Sample| {
                sample.key >= slice.lower()
                    && slice.through().is_none_or(|last| sample.key.as_slice() <= last)
            };
            let bytes: u64 = samples.iter().filter(is_in).map(|sample| sample.bytes).sum();
            let fair = 11_000 / count as u64;
            assert!(bytes.abs_diff(fair) <= 24, "{bytes} of about {fair}, {count} slices");
        }
    }
}

#[test]
fn no_slice_is_empty_whatever_the_samples_are() {
    let sample = |key: &str, bytes| Sample { key: key.into(), bytes };
    let slices = |samples: &[Sample]| Slice::cut(samples.to_vec(), 4).len();
    assert_eq!(slices(&[]), 1);
    assert_eq!(slices(&[sample("a", 1)]), 1, "nothing lies behind the last key");
    assert_eq!(slices(&[sample("a", 1), sample("a", 1), sample("a", 1)]), 1);
    assert_eq!(slices(&[sample("a", 100), sample("b", 1), sample("b", 1)]), 2);
    assert_eq!(slices(&[sample("a", 0), sample("b", 0)]), 2);
}
