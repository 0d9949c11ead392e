//! Versions made durable as a log of edits.
//!
//! ```
//! use lsm_io::SimFs;
//! use lsm_manifest::{Manifest, ManifestEdit, ManifestState};
//! use std::path::Path;
//!
//! let (fs, dir) = (SimFs::new(0).shared(), Path::new(""));
//! let mut manifest = Manifest::start(&fs, dir, 1, ManifestState::new(7))?;
//! let users = (0, "users".to_owned(), String::new(), 0);
//! manifest.append(ManifestEdit { create_keyspaces: vec![users], ..Default::default() })?;
//!
//! let read = Manifest::read(&fs, dir)?;
//! assert_eq!(read.state.keyspaces[0].name, "users");
//! # Ok::<(), lsm_io::Error>(())
//! ```
//!
//! To see what an edit can change, open `edit.rs`; what edits add up to, `state.rs`; their bytes,
//! `codec.rs`; how they become durable, `manifest.rs`; how they are read back, `read.rs`; which
//! manifest holds, `current.rs`.

mod codec;
mod current;
mod edit;
mod file_name;
mod manifest;
mod read;
mod state;

#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;

pub use edit::{KeyspaceId, ManifestEdit};
pub use file_name::{FileKind, file_name, parse_file_name};
pub use manifest::Manifest;
pub use read::ManifestRead;
pub use state::{KeyspaceState, ManifestState, StateError};
