//! What is so in a history at a moment: under which names an image of its disk counts.

use lsm_engine::Db;

use crate::data::KEYSPACES;
use crate::model::Model;
use crate::setup::Choice;
use crate::world::World;

impl World {
    /// Under which names an image of the disk as it is now counts.
    pub fn scene(&self, model: &Model) -> Vec<String> {
        let mut names = self.setup.names();
        let mut note = |is_so: bool, name: &str| {
            if is_so {
                names.push(name.to_owned());
            }
        };
        let lives = 1..KEYSPACES;
        note(lives.clone().any(|number| model.has(number)), "keyspaces.several");
        note(lives.clone().any(|number| model.was_dropped(number)), "keyspaces.dropped");
        note(!model.checkpoints.is_empty(), "checkpoints.made");
        note(!model.exports.is_empty(), "exports.made");
        note(!self.snapshots.is_empty(), "snapshots.held");
        note(!self.scans.is_empty(), "scans.under_way");
        note(self.reader.is_some(), "reader.beside");
        note(model.has_expired(), "values.expired");
        note(model.feed.is_followed(), "changes.followed");
        let metrics = self.db.as_ref().map(Db::metrics);
        note(metrics.as_ref().is_some_and(|it| it.filter_replaced > 0), "values.filtered");
        note(metrics.is_some_and(|it| it.filter_removed > 0), "values.filtered_away");
        note(model.gone.has_lost_oldest(), "values.evicted");
        note(self.has_merged_for_tombstones(), "deletes.dense");
        let is_limited = |choice: &Choice| choice.tombstone_age_limit_ms.is_some();
        note(model.catalog.iter().flatten().any(is_limited), "deletes.limited");
        note(model.unseen() > 1, "log.group_in_flight");
        note(self.recycled() > 0, "log.recycled");
        names
    }
}
