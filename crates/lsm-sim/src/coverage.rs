//! What a set of histories has exercised, so that nothing is left out unnoticed.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::History;
use crate::op::{Change, OP_NAMES, Op};

/// How often each operation, option and policy was used.
#[derive(Clone, Debug)]
pub struct Coverage {
    counts: BTreeMap<String, u64>,
    /// Histories counted.
    pub histories: u64,
    /// Operations counted.
    pub operations: u64,
}

impl Default for Coverage {
    fn default() -> Self {
        let counts = OP_NAMES.iter().map(|name| (format!("op {name}"), 0)).collect();
        Self { counts, histories: 0, operations: 0 }
    }
}

impl Coverage {
    /// Counts a history that ran.
    pub fn note(&mut self, history: &History) {
        self.histories += 1;
        self.operations += history.ops.len() as u64;
        for name in history.setup.names() {
            *self.counts.entry(format!("setup {name}")).or_default() += 1;
        }
        for op in &history.ops {
            self.count(format!("op {}", op.name()));
            if let Op::Transact { writes, ttl_ms, by_cursor, .. } = op {
                let names = [
                    ("puts_ttl", ttl_ms.is_some()),
                    ("reads_by_cursor", *by_cursor),
                    ("deletes_range", writes.iter().any(is_range)),
                    ("deletes_prefix", writes.iter().any(is_prefix)),
                ];
                names.iter().for_each(|(name, is_so)| {
                    *self.counts.entry(format!("transaction {name}")).or_default() +=
                        u64::from(*is_so);
                });
            }
            match op {
                Op::Write { durability, .. }
                | Op::DeleteRange { durability, .. }
                | Op::Transact { durability, .. } => {
                    self.count(format!("durability {durability:?}"));
                }
                Op::PowerCut(policy) => self.count(format!("crash {policy:?}")),
                Op::SetOptions { choice, .. } => {
                    self.count(format!("switch to {}", choice.policy_name()));
                }
                Op::Background(step) => self.count(format!("step {step:?}")),
                _ => {}
            }
        }
    }

    fn count(&mut self, name: String) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// Whatever was used less often than `minimum`.
    pub fn below(&self, minimum: u64) -> Vec<&str> {
        let few = self.counts.iter().filter(|(_, count)| **count < minimum);
        few.map(|(name, _)| name.as_str()).collect()
    }
}

fn is_range(change: &Change) -> bool {
    matches!(change, Change::DeleteRange { .. })
}

fn is_prefix(change: &Change) -> bool {
    matches!(change, Change::DeletePrefix { .. })
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} histories, {} operations", self.histories, self.operations)?;
        self.counts.iter().try_for_each(|(name, count)| writeln!(f, "  {count:>9}  {name}"))
    }
}
