//! The entry at which a cursor stands, wherever its key and value are by then.
//!
//! Mostly the sources stand at it, and it is lent from there. A movement backward leaves them before
//! the oldest of its versions and folding leaves them among the older ones: then it is the cursor's
//! own copy.

use std::borrow::Cow;

use lsm_entry::{Cursor, Tag};

use crate::scan::EntryCursor;
use crate::value::Slice;

/// Where the sources of a cursor stand beside its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// At no entry.
    End,
    /// The merged cursor stands at the entry itself.
    AtEntry,
    /// The same, in a plain stretch: key and value are all there is to it.
    AtPlain,
    /// The merged cursor stands before the entry's oldest version; the entry was copied.
    BeforeEntry,
    /// The merged cursor stands among the entry's older versions, or behind them; the entry was folded.
    WithinEntry,
    /// As at the entry itself; its value lies in a blob file.
    AtLarge,
    /// As before the entry; its value lies in a blob file.
    BeforeLarge,
}

impl EntryCursor {
    /// The key here, or `None` at no entry.
    #[inline]
    pub fn key(&self) -> Option<&[u8]> {
        self.entry().map(|(key, _)| key)
    }

    /// The value here, or `None` at no entry.
    #[inline]
    pub fn value(&self) -> Option<&[u8]> {
        self.entry().map(|(_, value)| value)
    }

    /// Key and value here, or `None` at no entry.
    #[inline]
    pub fn entry(&self) -> Option<(&[u8], &[u8])> {
        if self.position == Position::AtPlain {
            return self.stand.merged.plain_entry();
        }
        self.entry_of_many()
    }

    /// The entry here, in no plain stretch. Never inlined: it saves registers that the way through a
    /// plain stretch does without.
    #[inline(never)]
    fn entry_of_many(&self) -> Option<(&[u8], &[u8])> {
        match self.position {
            Position::AtEntry => {
                self.stand.merged.entry().map(|entry| (entry.key, entry.user_value()))
            }
            Position::AtPlain => self.stand.merged.plain_entry(),
            Position::BeforeEntry | Position::WithinEntry => Some((&self.key, &self.value)),
            Position::AtLarge => {
                self.stand.merged.entry().map(|entry| (entry.key, self.large.bytes()))
            }
            Position::BeforeLarge => Some((&self.key, self.large.bytes())),
            Position::End => None,
        }
    }

    /// What [`entry`](Self::entry) found, for longer than the cursor stays.
    #[inline]
    pub(crate) fn keep(&self, (key, value): (&[u8], &[u8])) -> (Slice, Slice) {
        let value = match self.position {
            Position::AtLarge | Position::BeforeLarge => self.large.shared(),
            _ => Slice::copied(value),
        };
        (Slice::copied(key), value)
    }

    /// The current entry as a table holds it that refers to no blob file, its expiry included, while
    /// the cursor moves forward.
    pub(crate) fn stored(&self) -> Option<(Tag, Cow<'_, [u8]>)> {
        match self.position {
            Position::AtLarge => self.stand.merged.entry().map(|entry| {
                let expiry_bytes = entry.value.len() - entry.user_value().len();
                let value = [&entry.value[..expiry_bytes], self.large.bytes()].concat();
                (entry.tag.without_blob(), Cow::Owned(value))
            }),
            Position::AtEntry | Position::AtPlain => {
                self.stand.merged.entry().map(|entry| (entry.tag, Cow::Borrowed(entry.value)))
            }
            _ => self.value().map(|value| (Tag::PUT, Cow::Borrowed(value))),
        }
    }
}
