//! Files that can be synced, mapped, locked, simulated and crashed.
//!
//! Storage code takes a [`SharedFs`]. In production that is [`StdFs`], the real disk; in a test it is
//! [`SimFs`], a disk in memory that can lose power at any call and be found again in any state that
//! a real one may be left in.
//!
//! ```
//! use lsm_io::{CrashPolicy, Fs, OpenMode, SimFs, nth};
//! use std::path::Path;
//!
//! let fs = SimFs::new(0).fail(nth(2).sync_of("*.log"));
//! let log = fs.open(Path::new("1.log"), OpenMode::CreateNew)?;
//! fs.sync_dir(Path::new(""))?;
//! log.write_at(0, b"durable")?;
//! log.sync()?;
//! log.write_at(7, b", perhaps not")?;
//! assert!(log.sync().is_err());
//! let after = fs.crash_image(CrashPolicy::LoseUnsynced, 0);
//! assert_eq!(after.read_file("1.log"), b"durable");
//! # Ok::<(), lsm_io::Error>(())
//! ```
//!
//! | to see | open |
//! |---|---|
//! | what can be done with files, and what is durable when | `fs.rs` |
//! | the real disk | `std_fs.rs`, `mapping.rs`, `space.rs` |
//! | whether its syncs can be believed | `metadata_sync.rs` |
//! | writes that wait for no other | `write_through.rs` |
//! | writes that nobody waits for at first | `write_behind.rs` |
//! | long files sent to the disk while they are written | `write_back.rs` |
//! | transfers past the page cache | `direct.rs`, `direct_reader.rs` |
//! | which threads go first, and how long they have run | `priority.rs`, `cpu_time.rs` |
//! | how much memory there may be | `memory.rs` |
//! | the simulated disk | `sim.rs`, and from there `sim/` |
//! | what a power cut keeps | `sim/crash.rs` |
//! | how calls are made to fail | `sim/fault.rs` |
//! | what can go wrong | `error.rs` |
//! | integers and slices as bytes | `bytes.rs` |
//! | checksums | `checksum.rs` |
//! | writing a file front to back | `chunk.rs` |
//! | who a file is | `identity.rs` |
//! | checksums that only count there | `seal.rs` |
//! | what a file that never changes ends with | `footer.rs` |

mod error;
mod footer;
mod fs;
mod identity;
mod seal;

pub mod bytes;
pub mod checksum;

mod chunk;
mod cpu_time;
mod direct;
mod direct_reader;
mod mapping;
mod memory;
mod metadata_sync;
mod priority;
mod space;
mod std_fs;
mod write_back;
mod write_behind;
mod write_through;

#[cfg(feature = "sim")]
mod sim;

#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;

pub use bytes::Malformed;
pub use chunk::ChunkWriter;
pub use cpu_time::thread_cpu_time;
pub use direct::DIRECT_ALIGNMENT;
pub use direct_reader::DirectReader;
pub use error::{Error, Result};
pub use footer::{FooterHead, FooterKind};
pub use fs::{
    DirEntry, File, Fs, LockGuard, LockOutcome, OpenMode, SharedFile, SharedFs, SharedStores,
    Stores,
};
pub use identity::Identity;
pub use mapping::Mapping;
pub use memory::memory_limit_bytes;
pub use priority::give_way;
pub use seal::{SEAL_BYTES, Sealer};
#[cfg(feature = "sim")]
pub use sim::{CrashPolicy, Fault, Hold, Schedule, SimFs, every, nth, once};
pub use std_fs::StdFs;
pub use write_behind::WriteBehind;

/// The README's example runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
