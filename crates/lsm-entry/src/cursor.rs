//! A position among entries.

use crate::{Entry, SeqNo};

/// Which way a cursor moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards larger keys.
    Forward,
    /// Towards smaller keys.
    Backward,
}

/// A stretch of entries, from the current one on in one direction, that a source can walk without
/// being asked anything in between (the rest of a block, say).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch<'a> {
    /// The user key of the stretch's last entry in the direction asked for.
    pub last_key: &'a [u8],
    /// How many entries follow the current one in the stretch (0: none).
    pub remaining: usize,
}

/// A position among entries in internal order (key ascending, newest first).
///
/// A cursor is either *at* an entry or at an end, where [`entry`](Cursor::entry) is `None`. It
/// starts at an end; `next` and `prev` at an end stay there until the next seek.
/// After an error the cursor is at an end.
pub trait Cursor {
    /// What can go wrong on the way to the next entry; `Infallible` in memory.
    type Error;

    /// Moves to the first entry.
    ///
    /// # Errors
    /// Those of the medium the entries live on; so for every movement.
    fn seek_first(&mut self) -> Result<(), Self::Error>;

    /// Moves to the last entry.
    ///
    /// # Errors
    /// See [`seek_first`](Cursor::seek_first).
    fn seek_last(&mut self) -> Result<(), Self::Error>;

    /// Moves to the first entry at or after (`key`, `seq_no`) in internal order: the newest entry
    /// of `key` with a sequence number up to `seq_no`, else the first entry of a later key.
    ///
    /// # Errors
    /// See [`seek_first`](Cursor::seek_first).
    fn seek(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Self::Error>;

    /// Begins loading what [`seek`](Self::seek) will look at, without waiting for it: so what several sources look
    /// at is loaded at once. The same seek follows, or another preparation, or a movement to elsewhere.
    fn prepare_seek(&mut self, key: &[u8], seq_no: SeqNo) {
        let _ = (key, seq_no);
    }

    /// Moves to the last entry at or before (`key`, `seq_no`) in internal order. With sequence
    /// number 0 that is the oldest entry of `key`, or the last entry of an earlier key.
    ///
    /// # Errors
    /// See [`seek_first`](Cursor::seek_first).
    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Self::Error>;

    /// Moves to the next entry.
    ///
    /// # Errors
    /// See [`seek_first`](Cursor::seek_first).
    fn next(&mut self) -> Result<(), Self::Error>;

    /// Moves to the entry before.
    ///
    /// # Errors
    /// See [`seek_first`](Cursor::seek_first).
    fn prev(&mut self) -> Result<(), Self::Error>;

    /// The entry here, or `None` at an end. Borrowed: it stays valid until the cursor moves.
    fn entry(&self) -> Option<Entry<'_>>;

    /// Whether there is an entry here: the same as [`entry`](Cursor::entry) being `Some`, and
    /// cheaper where that has to be put together.
    fn is_at_entry(&self) -> bool {
        self.entry().is_some()
    }

    /// How far the source can be walked from here without a comparison, if it knows.
    fn stretch(&self, direction: Direction) -> Option<Stretch<'_>> {
        let _ = direction;
        None
    }

    /// How many steps in this direction, within the stretch that [`stretch`](Self::stretch) tells, lead to
    /// entries whose keys come strictly before `key`: all such, or 0 if the source cannot tell.
    fn steps_before(&self, key: &[u8], direction: Direction) -> usize {
        let _ = (key, direction);
        0
    }

    /// The key of the entry here: cheaper than [`entry`](Cursor::entry) where that has to be put together.
    fn key(&self) -> Option<&[u8]> {
        self.entry().map(|entry| entry.key)
    }

    /// How many of the entries that follow in this direction are *plain* for a reader at `seq_no`, so
    /// that nothing has to be asked on the way over them: puts that never expire, with their values
    /// beside them, that it sees, no two of one key, nor of the key here. The entry here is such a put
    /// as well, or the answer is 0. Moving forward, older versions of the last one's key may come
    /// behind it. Moving backward, nothing newer of its key does, nor of the key here.
    fn plain(&self, direction: Direction, seq_no: SeqNo) -> usize {
        let _ = (direction, seq_no);
        0
    }

    /// Moves on to an entry that [`plain`](Self::plain) has counted in this direction, nothing else having
    /// moved the cursor since. Such entries lie side by side, so it is as good as free, and cannot fail.
    /// Only a source that counts any has to do it.
    fn step_plain(&mut self, direction: Direction) {
        let _ = direction;
    }

    /// Key and value of the entry here, where [`plain`](Self::plain) has answered more than 0 or which it
    /// has counted: what [`entry`](Self::entry) says, without what is known of such an entry.
    fn plain_entry(&self) -> Option<(&[u8], &[u8])> {
        self.entry().map(|entry| (entry.key, entry.value))
    }
}
