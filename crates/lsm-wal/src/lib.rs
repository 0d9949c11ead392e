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
//! pending.write()?;
//! pending.sync()?; // From here on it survives a power cut.
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
//! The log knows no keys. To see the bytes of a frame, open `frame.rs`; how frames are appended
//! under a lock and synced outside it, `log.rs`; how segments are made ready, `segment.rs`; how a
//! torn end is told from damage, `replay.rs`. `frame_writer.rs` and `frame_reader.rs` are the same
//! frames in a plain file.

mod frame;
mod frame_reader;
mod frame_writer;
#[doc(hidden)]
pub mod fuzz;
mod identity_frame;
mod log;
mod replay;
mod segment;

pub use frame::{FRAME_HEADER_BYTES, FrameKind, FrameRef, MAX_PAYLOAD_BYTES, PayloadHash, hash_payload};
pub use frame_reader::{FrameReader, FrameStep};
pub use frame_writer::FrameWriter;
pub use identity_frame::FORMAT_VERSION;
pub use log::{Log, LogOptions, Pending, PendingWrite, SegmentInfo};
pub use replay::{Cut, LogReport, Mark, RecoveryMode, replay};
pub use segment::PreparedSegment;
