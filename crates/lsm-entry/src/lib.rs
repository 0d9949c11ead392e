//! What an entry is, how entries are ordered and encoded, the one key hash, cursors over entries,
//! merging cursors.

mod cursor;
mod entry;
mod kind;

pub use cursor::{Cursor, Direction, Stretch};
pub use entry::{Entry, MAX_KEY_BYTES, MAX_SEQ_NO, SeqNo, compare_internal, key_hash};
pub use kind::{Tag, ValueKind};
