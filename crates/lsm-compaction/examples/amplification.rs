//! The planner alone, as a simulator: no file is read or written. Keys are overwritten at random, a
//! memtable at a time; each policy's plans are carried out on sets of keys; what had to be written,
//! kept and looked at is printed.
//!
//! `cargo run --release -p lsm-compaction --example amplification -- [KEYS] [OVERWRITES]`

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lsm_compaction::{Action, CompactionPolicy, PlanInput, Traffic};
use lsm_version::{Place, TableRecord, Version, VersionEdit};

/// Each simulated key stands for this many bytes: so few keys make a large tree.
const KEY_BYTES: u64 = 116 << 10;
const MEMTABLE_BYTES: u64 = 64 << 20;

#[derive(Default)]
struct Tree {
    version: Version,
    /// The keys of each table, ascending.
    keys: HashMap<u64, Arc<[u32]>>,
    next_number: u64,
    flushed_bytes: u64,
    merged_bytes: u64,
    merges: u64,
    moves: u64,
    runs_most: usize,
}

impl Tree {
    fn table(&mut self, keys: &[u32]) -> Arc<TableRecord> {
        self.next_number += 1;
        let bound = |key: Option<&u32>| key.map_or(Vec::new(), |key| key.to_be_bytes().to_vec());
        self.keys.insert(self.next_number, keys.into());
        Arc::new(TableRecord {
            number: self.next_number,
            bytes: keys.len() as u64 * KEY_BYTES,
            lower: bound(keys.first()),
            upper: bound(keys.last()),
            entries: keys.len() as u64,
            ..TableRecord::default()
        })
    }

    fn apply(&mut self, edit: &VersionEdit) {
        self.version = self.version.apply(edit).expect("plans fit their version");
        self.runs_most = self.runs_most.max(self.version.runs().count());
    }

    fn flush(&mut self, keys: &[u32]) {
        let table = self.table(keys);
        self.flushed_bytes += table.bytes;
        let place = Place { level: 0, run: table.number };
        self.apply(&VersionEdit { added: vec![(place, table)], ..VersionEdit::default() });
    }

    /// Carries out plans until there is none.
    fn settle(&mut self, policy: &CompactionPolicy) {
        loop {
            let version = self.version.clone();
            let input = PlanInput {
                version: &version,
                running: &[],
                snapshots: &[],
                now_ms: 0,
                traffic: Traffic::Rest,
            };
            let Some(plan) = policy.as_policy().plan(&input) else { return };
            let mut edit = VersionEdit::default();
            for input in &plan.inputs {
                let place = Place { level: input.level, run: input.run };
                edit.removed.extend(input.tables.iter().map(|table| (place, table.number)));
            }
            if plan.action == Action::Move {
                self.moves += 1;
                edit.added.extend(plan.tables().map(|table| (plan.output, Arc::clone(table))));
            } else {
                self.merges += 1;
                let inputs = plan.tables().flat_map(|table| self.keys[&table.number].to_vec());
                let mut keys: Vec<u32> = inputs.collect();
                keys.sort_unstable();
                keys.dedup();
                for chunk in keys.chunks((plan.output_table_bytes / KEY_BYTES) as usize) {
                    let table = self.table(chunk);
                    self.merged_bytes += table.bytes;
                    edit.added.push((plan.output, table));
                }
            }
            self.apply(&edit);
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|word| word.parse::<u64>().ok());
    let mebibytes = arguments.next().unwrap_or(580);
    let overwritten_mebibytes = arguments.next().unwrap_or(4 * mebibytes);
    println!(
        "{mebibytes} MiB of keys, {overwritten_mebibytes} MiB overwritten at random, 64 MiB memtables"
    );
    println!("policy          written   space   runs (now, most)   merges   moves");
    for name in ["leveled", "lazy_leveled", "tiered"] {
        let policy: CompactionPolicy = name.parse().expect("a policy");
        let keys = (mebibytes << 20) / KEY_BYTES;
        let mut tree = Tree::default();
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (u64::from((state >> 32) as u32) * keys) >> 32
        };
        let mut memtable = BTreeMap::new();
        let mut written = 0;
        let total = (mebibytes + overwritten_mebibytes) << 20;
        while written < total {
            memtable.insert(random() as u32, ());
            written += KEY_BYTES;
            if memtable.len() as u64 * KEY_BYTES >= MEMTABLE_BYTES {
                let flushed: Vec<u32> = memtable.keys().copied().collect();
                tree.flush(&flushed);
                memtable.clear();
                tree.settle(&policy);
            }
        }
        let live: std::collections::HashSet<u32> = tree
            .version
            .tables()
            .flat_map(|(_, table)| tree.keys[&table.number].to_vec())
            .collect();
        // The log writes every byte once.
        let all = written + tree.flushed_bytes + tree.merged_bytes;
        println!(
            "{name:<14} {:>8.2} {:>7.2} {:>18} {:>8} {:>7}",
            all as f64 / written as f64,
            tree.version.bytes() as f64 / (live.len() as u64 * KEY_BYTES) as f64,
            format!("{}, {}", tree.version.runs().count(), tree.runs_most),
            tree.merges,
            tree.moves,
        );
    }
}
