//! A file of large values: written once, each found by its place, each with a checksum.
//!
//! ```
//! use lsm_blob::{BlobFile, BlobWriter, ReadMode};
//! use lsm_io::{Fs, Identity, OpenMode, SimFs};
//! use std::path::Path;
//!
//! let (fs, path) = (SimFs::new(0), Path::new("000007.blob")); // Or StdFs: real files.
//! let identity = Identity { database_id: 1, file_number: 7 };
//! let mut writer = BlobWriter::new(fs.open(path, OpenMode::CreateNew)?, identity);
//! let offset = writer.add(&[7; 100_000])?;
//! let summary = writer.finish()?; // Durable, but for its name.
//!
//! let file = BlobFile::open(fs.open(path, OpenMode::Read)?, identity, summary.bytes, ReadMode::Mapped)?;
//! assert_eq!(file.get(offset, 100_000)?[..3], [7, 7, 7]);
//! # Ok::<(), lsm_io::Error>(())
//! ```
//!
//! To see how values are written, open `writer.rs`; how one is read and checked, `file.rs`; how a
//! whole file is, `verify.rs`; what the last bytes say, `footer.rs`. Format: docs/formats/blob.md

mod file;
mod footer;
mod verify;
mod writer;

#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;

pub use file::{BlobFile, BlobValue, ReadMode};
pub use footer::FORMAT_VERSION;
pub use verify::VerifyReport;
pub use writer::{BlobSummary, BlobWriter};

/// Runs the README's example as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
