//! Random trees under random policies: every plan keeps the invariants, and the tree comes to rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsm_compaction::{Action, CompactionPolicy, Plan, PlanInput, RunningPlan, Traffic};
use lsm_version::{Place, TableRecord, Version, VersionEdit};

use crate::rng::Rng;

/// A tree, and what each table holds: key to the number of the write.
struct Tree {
    version: Version,
    contents: BTreeMap<u64, BTreeMap<u8, u64>>,
    next_number: u64,
    writes: u64,
}

impl Tree {
    fn new() -> Self {
        Self { version: Version::empty(), contents: BTreeMap::new(), next_number: 1, writes: 0 }
    }

    fn table(&mut self, entries: BTreeMap<u8, u64>) -> Arc<TableRecord> {
        let number = self.next_number;
        self.next_number += 1;
        let bound = |key: Option<&u8>| vec![*key.expect("no table is empty")];
        let table = TableRecord {
            number,
            bytes: 10 * entries.len() as u64,
            lower: bound(entries.keys().next()),
            upper: bound(entries.keys().next_back()),
            entries: entries.len() as u64,
            seq_no_max: entries.values().copied().max().unwrap_or(0),
            ..TableRecord::default()
        };
        self.contents.insert(number, entries);
        Arc::new(table)
    }

    fn flush(&mut self, rng: &mut Rng) {
        let mut entries = BTreeMap::new();
        let around = rng.below(200) as u8;
        for _ in 0..1 + rng.below(12) {
            self.writes += 1;
            entries.insert(around.wrapping_add(rng.below(40) as u8), self.writes);
        }
        let table = self.table(entries);
        let place = Place { level: 0, run: table.number };
        let edit = VersionEdit { added: vec![(place, table)], ..VersionEdit::default() };
        self.version = self.version.apply(&edit).expect("a flush fits");
    }

    /// What a reader finds: the first run, newest first, that has the key.
    fn read(&self, key: u8) -> Option<u64> {
        let mut runs = self.version.runs();
        runs.find_map(|(_, run)| self.contents[&run.find(&[key])?.number].get(&key).copied())
    }

    fn carry_out(&mut self, plan: &Plan) {
        let mut added = Vec::new();
        match plan.action {
            Action::Drop => panic!("these policies drop nothing"),
            Action::Move => {
                added.extend(plan.tables().map(|table| (plan.output, Arc::clone(table))));
            }
            Action::Merge => {
                let mut merged = BTreeMap::new();
                // Newest first: what is there already stays.
                for table in plan.tables() {
                    for (key, write) in &self.contents[&table.number] {
                        merged.entry(*key).or_insert(*write);
                    }
                }
                let entries: Vec<_> = merged.into_iter().collect();
                for chunk in entries.chunks(8) {
                    let table = self.table(chunk.iter().copied().collect());
                    added.push((plan.output, table));
                }
            }
        }
        let removed = plan.inputs.iter().flat_map(|input| {
            let place = Place { level: input.level, run: input.run };
            input.tables.iter().map(move |table| (place, table.number))
        });
        let edit = VersionEdit { removed: removed.collect(), added, ..VersionEdit::default() };
        self.version = self.version.apply(&edit).expect("every plan fits its version");
    }
}

fn random_policy(rng: &mut Rng) -> CompactionPolicy {
    let text = match rng.below(4) {
        0 => "leveled(level_zero_runs=2, base_bytes=200, size_ratio=3, table_bytes=80)",
        1 => "tiered(runs=3, table_bytes=80)",
        2 => "lazy_leveled(level_zero_runs=2, runs=2, table_bytes=80)",
        _ => "fifo(runs=5, table_bytes=80)",
    };
    text.parse().expect("a policy")
}

fn next_plan(tree: &Tree, policy: &CompactionPolicy, running: &[RunningPlan]) -> Option<Plan> {
    let input = PlanInput {
        version: &tree.version,
        running,
        snapshots: &[],
        now_ms: 0,
        traffic: Traffic::Rest,
    };
    policy.as_policy().plan(&input)
}

#[test]
fn no_plan_changes_what_is_read_and_every_tree_comes_to_rest() {
    for seed in 0..300 {
        let mut rng = Rng(seed);
        let mut tree = Tree::new();
        let mut model: BTreeMap<u8, u64> = BTreeMap::new();
        for _ in 0..12 {
            let policy = random_policy(&mut rng);
            for _ in 0..1 + rng.below(6) {
                tree.flush(&mut rng);
            }
            for key in 0..=255u8 {
                model.extend(tree.read(key).map(|write| (key, write)));
            }
            let mut plans = 0;
            while let Some(plan) = next_plan(&tree, &policy, &[]) {
                tree.carry_out(&plan);
                for (key, write) in &model {
                    let found = tree.read(*key);
                    assert_eq!(found, Some(*write), "seed {seed}, key {key}: {plan:#?}");
                }
                plans += 1;
                assert!(plans < 1000, "seed {seed}: {policy} never comes to rest");
            }
        }
    }
}

#[test]
fn plans_that_run_together_change_nothing_that_is_read_in_either_order() {
    for seed in 0..400 {
        let mut rng = Rng(seed);
        let mut tree = Tree::new();
        for _ in 0..4 {
            for _ in 0..2 + rng.below(5) {
                tree.flush(&mut rng);
            }
            let policy = random_policy(&mut rng);
            let Some(first) = next_plan(&tree, &policy, &[]) else { continue };
            let other = random_policy(&mut rng);
            let Some(second) = next_plan(&tree, &other, &[first.as_running()]) else {
                tree.carry_out(&first);
                continue;
            };
            let expected: Vec<_> = (0..=255u8).map(|key| tree.read(key)).collect();
            let order = if rng.below(2) == 0 { [&first, &second] } else { [&second, &first] };
            for plan in order {
                tree.carry_out(plan);
                let found: Vec<_> = (0..=255u8).map(|key| tree.read(key)).collect();
                assert_eq!(found, expected, "seed {seed}: {first:#?} beside {second:#?}");
            }
        }
    }
}
