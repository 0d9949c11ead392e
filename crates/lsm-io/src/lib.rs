//! Files that can be synced, mapped, locked, simulated and crashed.

mod error;
mod fs;
mod identity;
mod mapping;

pub use error::{Error, Result};
pub use fs::{DirEntry, File, Fs, LockGuard, LockOutcome, OpenMode, SharedFile, SharedFs};
pub use identity::Identity;
pub use mapping::Mapping;
