//! What the versions of a key mean to a reader.

use lsm_entry::{Entry, ValueKind};

use crate::shared::Shared;

impl Shared {
    /// The user's value that an entry stands for; `None` if the key is gone.
    #[inline]
    pub(crate) fn resolve<'a>(&self, entry: &Entry<'a>) -> Option<&'a [u8]> {
        match entry.kind() {
            ValueKind::Put => match entry.expires_at_ms() {
                // The clock is read only when an entry with expiry is met.
                Some(expires_at_ms) if expires_at_ms <= self.database_time_ms() => None,
                _ => Some(entry.user_value()),
            },
            _ => None,
        }
    }
}
