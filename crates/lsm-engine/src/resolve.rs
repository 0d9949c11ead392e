//! What the versions of a key mean to a reader.

use lsm_entry::{Entry, ValueKind};

use crate::shared::Shared;

impl Shared {
    /// The user's value that an entry stands for at `time_ms`, or at present; `None` if the key is
    /// gone. The clock is read only when an entry with expiry is met.
    #[inline]
    pub(crate) fn resolve<'a>(&self, entry: &Entry<'a>, time_ms: Option<u64>) -> Option<&'a [u8]> {
        match entry.kind() {
            ValueKind::Put if entry.tag.has_expiry() => self.unexpired(entry, time_ms),
            ValueKind::Put => Some(entry.value),
            _ => None,
        }
    }
}
