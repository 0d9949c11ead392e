//! What an entry is, how entries are ordered and encoded, the one key hash, cursors over entries,
//! merging cursors.
//!
//! ```
//! use lsm_entry::{Cursor, Entry, MAX_SEQ_NO, MergingCursor, OwnedEntry, VecCursor};
//!
//! let source = |entries: &[Entry]| VecCursor::new(entries.iter().map(|&e| e.into()).collect());
//! let newer = source(&[Entry::delete(b"b", 4), Entry::put(b"c", 5, b"3")]);
//! let older = source(&[Entry::put(b"a", 1, b"1"), Entry::put(b"b", 2, b"2")]);
//! let mut merged = MergingCursor::new(vec![newer, older]);
//! merged.seek(b"b", MAX_SEQ_NO).unwrap();
//! assert_eq!(merged.entry(), Some(Entry::delete(b"b", 4)), "of one key the newest comes first");
//! ```
//!
//! To see what an entry does to its key, open `kind.rs`; where a large value lies, `blob_ref.rs`; its
//! order, `entry.rs`; how a batch encodes entries, `record.rs`; what a range delete covers,
//! `range_delete.rs` and `fragments.rs`; what a cursor is, `cursor.rs`; how cursors are merged,
//! `merging_cursor.rs`; how most comparisons are saved there, `rank.rs` and `digest.rs`.

mod blob_ref;
mod cursor;
mod digest;
mod entry;
mod expiring;
mod fragments;
mod kind;
mod malformed;
mod merging_cursor;
mod range_delete;
mod rank;
mod record;
mod vec_cursor;

pub use blob_ref::{BlobRef, BlobShare};
pub use cursor::{Cursor, Direction, Stretch};
pub use digest::{begins_with, common_prefix, digest};
pub use entry::{Entry, MAX_KEY_BYTES, MAX_SEQ_NO, SeqNo, compare_internal, key_hash};
pub use expiring::Expiring;
pub use fragments::{Fragment, Fragments, Surroundings};
pub use kind::{Tag, ValueKind};
pub use malformed::Malformed;
pub use merging_cursor::MergingCursor;
pub use range_delete::{RangeDelete, bound_after, is_below, key_after, last_key_below};
#[doc(hidden)]
pub use record::fuzz_records;
pub use record::{
    KEYSPACE_SELECTOR, RECORD_HEADER_BYTES, Record, Records, encode_entry, encode_expiring,
    encode_keyspace,
};
pub use vec_cursor::{OwnedEntry, VecCursor};

/// Runs the README's example as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
