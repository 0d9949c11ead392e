//! Which tables are live: levels, runs, table records, edits; pure data.

mod edit;
mod table_record;
mod version;

pub use edit::{Place, VersionEdit};
pub use table_record::TableRecord;
pub use version::{LEVELS, Level, Run, RunId, Version};
