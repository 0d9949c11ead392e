//! A sorted map in memory whose readers never wait.
//!
//! ```
//! use lsm_entry::{Cursor, Entry, MAX_SEQ_NO, key_hash};
//! use lsm_memtable::{Memtable, MemtableOptions};
//! use std::sync::Arc;
//!
//! let memtable = Arc::new(Memtable::new(MemtableOptions::default()));
//! let mut writer = memtable.writer();
//! writer.insert(Entry::put(b"b", 1, b"old"), key_hash(b"b"));
//! writer.insert(Entry::put(b"b", 2, b"new"), key_hash(b"b"));
//! writer.insert(Entry::put(b"a", 3, b""), key_hash(b"a"));
//!
//! assert_eq!(memtable.get(b"b", key_hash(b"b"), MAX_SEQ_NO).unwrap().value, b"new");
//! assert_eq!(memtable.get(b"b", key_hash(b"b"), 1).unwrap().value, b"old");
//! let mut cursor = memtable.cursor();
//! cursor.seek_first().unwrap();
//! assert_eq!(cursor.entry().unwrap().key, b"a");
//! ```
//!
//! To see where entries live, open `arena.rs`; how a point read finds one, `index.rs`; how order is
//! kept, `order.rs`, then `piece.rs`, `tail.rs` and `prefix.rs`; how it is walked, `cursor.rs`; where range
//! deletes are, `range_deletes.rs`; what
//! an insertion does in which order, `writer.rs`; what is asked for ahead of its use, `prefetch.rs`; where memory comes from, `memory.rs`, and where it goes to,
//! `spare.rs`; what
//! threads share, `sync.rs`.

mod arena;
mod cursor;
mod index;
mod memory;
mod memtable;
mod order;
mod piece;
mod prefetch;
mod prefix;
mod range_deletes;
mod spare;
mod tail;
mod writer;

mod sync;

#[cfg(loom)]
#[doc(hidden)]
pub mod modelled;

#[doc(hidden)]
pub mod fuzz;

pub use cursor::MemtableCursor;
pub use memtable::{Memtable, MemtableOptions};
pub use spare::SpareMemory;
pub use writer::MemtableWriter;

/// Runs the README's example as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
