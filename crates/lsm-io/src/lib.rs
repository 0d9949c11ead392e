//! Files that can be synced, mapped, locked, simulated and crashed.

pub mod bytes;
pub mod checksum;
mod error;
mod fs;
#[doc(hidden)]
pub mod fuzz;
mod identity;
mod mapping;
mod sim;
mod space;
mod std_fs;

pub use bytes::Malformed;
pub use error::{Error, Result};
pub use fs::{DirEntry, File, Fs, LockGuard, LockOutcome, OpenMode, SharedFile, SharedFs};
pub use identity::Identity;
pub use mapping::Mapping;
pub use sim::{CrashPolicy, Fault, Hold, Schedule, SimFs, every, nth, once};
pub use std_fs::StdFs;
