//! A write-ahead log: opaque payloads in checksummed frames, appended to segments, read back up to
//! the first torn one.
//!
//! ```
//! use lsm_io::{Identity, SimFs};
//! use lsm_wal::{FrameKind, Log, Pending, PreparedSegment, RecoveryMode, hash_payload, replay};
//! use std::path::Path;
//!
//! let (fs, dir) = (SimFs::new(0).shared(), Path::new(""));
//! let identity = Identity { database_id: 7, file_number: 1 };
//! let segment = PreparedSegment::prepare(&fs, dir, identity, 64 << 10, None)?;
//! let mut log = Log::start(segment, 1);
//! log.append(FrameKind::BATCH, 1, 1, b"event", hash_payload(b"event"));
//! let mut pending = log.take_pending(Pending::Sync);
//! pending.write()?; // From here on it survives the process,
//! pending.sync()?; // and from here on a power cut.
//!
//! let mut found = Vec::new();
//! replay(&fs, dir, 7, 1, Some(1), RecoveryMode::Default, &mut |frame| {
//!     found.push(frame.payload.to_vec());
//!     Ok(())
//! })?;
//! assert_eq!(found, [b"event"]);
//! # Ok::<(), lsm_io::Error>(())
//! ```
//!
//! The log knows no keys. Format: docs/formats/log.md
//!
//! | to see | open |
//! |---|---|
//! | the bytes of a frame | `frame.rs`; of the first one, `identity_frame.rs` |
//! | how segments are made ready, and made of old ones | `segment.rs` |
//! | how frames are appended under a lock | `log.rs` |
//! | how they are written and synced outside it | `pending.rs` |
//! | how the log is read back | `replay.rs`, and from there `replay/` |
//! | how a torn end is told from damage | `replay/judge.rs` |
//! | what a replay has to tell | `report.rs` |
//! | the same frames in a plain file | `frame_writer.rs`, `frame_reader.rs` |

mod frame;
mod identity_frame;

mod log;
mod pending;
mod segment;

mod replay;
mod report;

mod frame_reader;
mod frame_writer;

#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;

pub use frame::{
    FRAME_HEADER_BYTES, FrameKind, FrameRef, MARK_EXTRA_BYTES_MAX, MAX_PAYLOAD_BYTES, PayloadHash,
    hash_payload,
};
pub use frame_reader::{FrameReader, FrameStep};
pub use frame_writer::FrameWriter;
pub use identity_frame::FORMAT_VERSION;
pub use log::Log;
pub use pending::{Pending, PendingWrite};
pub use replay::replay;
pub use report::{Cut, LogReport, Mark, RecoveryMode};
pub use segment::{LogOptions, PreparedSegment, SegmentInfo};

/// The README's example runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
