//! Which tables are live: levels, runs, table records, edits; pure data.
//!
//! ```
//! use lsm_version::{Place, TableRecord, Version, VersionEdit};
//! use std::sync::Arc;
//!
//! let table = TableRecord {
//!     number: 7,
//!     lower: b"a".to_vec(),
//!     upper: b"f".to_vec(),
//!     ..TableRecord::default()
//! };
//! let edit = VersionEdit {
//!     added: vec![(Place { level: 0, run: 7 }, Arc::new(table))],
//!     ..VersionEdit::default()
//! };
//! let version = Version::empty().apply(&edit)?;
//! assert_eq!(version.level(0).runs[0].find(b"c").unwrap().number, 7);
//! assert_eq!(version.picture(), "L0: a-f:0\n");
//! # Ok::<(), lsm_version::EditError>(())
//! ```
//!
//! To see what is known of a table, open `table_record.rs`; of a blob file,
//! `blobs.rs`; how tables lie in levels and runs,
//! `version.rs`; how to walk over them, `walk.rs`; how one version becomes the next, `edit.rs`; how one is
//! drawn as text, `picture.rs`.

mod blobs;
mod edit;
#[doc(hidden)]
pub mod picture;
mod table_record;
mod version;
mod walk;

pub use blobs::{BlobRecord, BlobUse};
pub use edit::{Place, VersionEdit};
pub use lsm_entry::{BlobShare, Expiring};
pub use table_record::TableRecord;
pub use version::{EditError, LEVELS, Level, Run, RunId, Version};
pub use walk::{Runs, Tables};

/// Runs the README's example as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
