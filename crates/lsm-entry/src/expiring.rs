//! How much of a table expires.

use crate::Entry;

/// Those entries among others that have an expiry which comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiring {
    /// How many.
    pub entries: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// When the last of them expires, in milliseconds since 1970.
    pub last_ms: u64,
}

impl Expiring {
    /// Counts the next entry.
    #[inline]
    pub fn count(&mut self, entry: &Entry<'_>) {
        if let Some(expires_at_ms) = entry.expires_at_ms().filter(|ms| *ms != u64::MAX) {
            self.entries += 1;
            self.bytes += (entry.key.len() + entry.value.len()) as u64;
            self.last_ms = self.last_ms.max(expires_at_ms);
        }
    }

    /// What is to be told of a table with so many entries: nothing where none expires, or all do.
    pub fn in_part(self, entries: u64) -> Option<Self> {
        (0 < self.entries && self.entries < entries).then_some(self)
    }
}
