//! A merge leaves the block cache as warm as it was.

use std::sync::Arc;

use lsm_compaction::Plan;
use lsm_sstable::{Table, hand_over};
use lsm_version::TableRecord;

use crate::keyspace::KeyspaceCore;
use crate::shared::Shared;
use crate::view::Tree;

impl Shared {
    /// What the cache holds of the plan's inputs in `before` goes over to the tables in `made`, which
    /// are published. Where nobody reads, what was merged may not even be in the page cache: there the
    /// next readers bring in what they need.
    pub(crate) fn hand_cache_over(
        &self,
        core: &KeyspaceCore,
        plan: &Plan,
        before: &Tree,
        made: &[Arc<TableRecord>],
    ) {
        if !core.is_read() {
            return;
        }
        let open =
            |record: &Arc<TableRecord>| before.table(record.number)?.table_if_open().cloned();
        let inputs = plan.inputs.iter();
        let from: Vec<Vec<Arc<Table>>> =
            inputs.map(|input| input.tables.iter().filter_map(open).collect()).collect();
        if !from.iter().flatten().any(|table| table.is_cached()) {
            return;
        }
        let after = Arc::clone(&core.view.load().tree);
        let made = made.iter().filter_map(|record| after.table(record.number));
        let to: lsm_io::Result<Vec<_>> = made.map(|live| live.table().cloned()).collect();
        let goes_on = || !self.background.is_stopping();
        // Whoever reads what cannot be read is told; here nothing is lost but warmth.
        let _ = to.and_then(|to| hand_over(&from, &to, goes_on));
    }
}
