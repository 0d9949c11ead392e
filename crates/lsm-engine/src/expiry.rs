//! Values whose time ends: when that is, who is to ask, and that it stays so.
//!
//! A value's time to live becomes a time of expiry when it is written, and that is what the log and the
//! tables hold. Whether it is over, each reader judges at the time of its own: a snapshot's is the time
//! at which it was taken, that of a plain read the present. Merges drop what is over for everybody.
//!
//! Time is *database time*: the clock, but never less than it was. That this holds over a crash as well,
//! for whoever was told that a value is over, `lease.rs` sees to.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lsm_entry::Entry;
use lsm_version::{TableRecord, Version};

use crate::db::Db;
use crate::keyspace::Keyspace;
use crate::lease::Lease;
use crate::shared::Shared;

/// The time that never comes.
pub(crate) const NEVER_MS: u64 = u64::MAX;

/// What one database knows of values that expire.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    /// Whether a value that expires was ever written here: else nobody has to ask for the time.
    is_used: AtomicBool,
    pub(crate) lease: Lease,
}

impl Expiry {
    /// Of a database opened for reading only.
    pub(crate) fn read_only() -> Self {
        // The writer may write such values at any time.
        Self { is_used: true.into(), lease: Lease::for_ever() }
    }

    /// Whether there may be values that expire.
    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Acquire)
    }

    /// Values that expire are about to be there.
    ///
    /// Order: before any of them is visible. Whoever sees one then knows to ask for the time.
    pub(crate) fn begin(&self) {
        if !self.is_used() {
            self.is_used.store(true, Ordering::Release);
        }
    }

    /// Takes note of a version's tables before they are seen.
    pub(crate) fn note_version(&self, version: &Version) {
        if !self.is_used() && version.tables().any(|(_, table)| table.expiry_min_ms.is_some()) {
            self.begin();
        }
    }
}

impl Shared {
    /// The time at which somebody who begins to read now reads, if that can matter.
    pub(crate) fn reading_time_ms(&self) -> Option<u64> {
        self.expiry.is_used().then(|| self.database_time_ms())
    }

    /// The user's value of a put that has an expiry, or `None` once that is over at `time_ms`, which
    /// is the present if the reader has no time of its own.
    ///
    /// It may lock the manifest, and wait for a sync. So nobody asks who holds a lock that is taken under
    /// the manifest's, the write mutex above all:
    /// - reads of keys (`read.rs`, `resolve.rs`, `inspect.rs`), those of transactions and of compare-and-set
    ///   included, hold a view and a block;
    /// - so do cursors (`scan/settle.rs`), those of iterators, snapshots, transactions and exports. An
    ///   iterator tells its transaction how far it came once it has come there;
    /// - a commit looks for changes, not for what they mean (`conflict.rs`);
    /// - a delete that looks for what is dead around it (`scan/dead.rs`) goes by what is known;
    /// - flushes, merges and checkpoints judge by `Retention`. What they drop is gone with an edit of theirs,
    ///   which tells a later time, and is shown by a view that is published behind it.
    #[cold]
    pub(crate) fn unexpired<'a>(
        &self,
        entry: &Entry<'a>,
        time_ms: Option<u64>,
    ) -> Option<&'a [u8]> {
        let time_ms = time_ms.unwrap_or_else(|| self.database_time_ms());
        match entry.expires_at_ms() {
            // Order: the time before what is known of it (see `keep_last_time`).
            Some(expires_at_ms) if expires_at_ms <= time_ms && self.tell(expires_at_ms) => None,
            _ => Some(entry.user_value()),
        }
    }
}

impl Db {
    /// The time by which values expire, in milliseconds since 1970: that of the clock, unless it was
    /// later before. It never goes back, and is kept with the database.
    pub fn database_time_ms(&self) -> u64 {
        self.shared().database_time_ms()
    }
}

/// When everything in a table has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpiryDue {
    /// Already.
    Expired,
    /// Within a minute.
    Minute,
    /// Within an hour.
    Hour,
    /// Within a day.
    Day,
    /// Later.
    Later,
    /// Never: some of its entries expire, and some stay. How many of each no table tells.
    InPart,
}

/// Tables in which values expire, by when all of them have. Counted are whole tables, with the entries
/// beside those that expire: tombstones, older versions and, where `due` is
/// [`InPart`](ExpiryDue::InPart), values that stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryShare {
    /// When.
    pub due: ExpiryDue,
    /// How many tables.
    pub tables: u64,
    /// Their entries, all of them.
    pub entries: u64,
    /// Their bytes, all of them.
    pub bytes: u64,
}

impl fmt::Display for ExpiryDue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::Minute => "within a minute",
            Self::Hour => "within an hour",
            Self::Day => "within a day",
            Self::Later => "later",
            Self::InPart => "in part",
        })
    }
}

impl ExpiryDue {
    fn of(table: &TableRecord, now_ms: u64) -> Option<Self> {
        table.expiry_min_ms?;
        let Some(last_ms) = table.expiry_max_ms else { return Some(Self::InPart) };
        Some(match last_ms.saturating_sub(now_ms) {
            0 => Self::Expired,
            1..=60_000 => Self::Minute,
            60_001..=3_600_000 => Self::Hour,
            3_600_001..=86_400_000 => Self::Day,
            _ => Self::Later,
        })
    }
}

impl Keyspace {
    /// Which of its tables wait to expire, by when, each counted whole. Costs no disk access.
    pub fn expiry(&self) -> Vec<ExpiryShare> {
        let now_ms = self.db.shared.database_time_ms();
        let mut shares: Vec<ExpiryShare> = Vec::new();
        for table in self.core().view.load().tree.tables() {
            let record = table.record();
            let Some(due) = ExpiryDue::of(record, now_ms) else { continue };
            let index = shares.partition_point(|share| share.due < due);
            if shares.get(index).is_none_or(|share| share.due != due) {
                shares.insert(index, ExpiryShare { due, tables: 0, entries: 0, bytes: 0 });
            }
            let share = &mut shares[index];
            share.tables += 1;
            share.entries += record.entries;
            share.bytes += record.bytes;
        }
        shares
    }
}

/// A time to live in milliseconds, rounded up.
pub(crate) fn ttl_ms(ttl: Duration) -> u64 {
    let ms = ttl.as_nanos().div_ceil(1_000_000);
    u64::try_from(ms).unwrap_or(NEVER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_rounded_up_and_has_no_end_where_it_cannot_be_counted() {
        assert_eq!(ttl_ms(Duration::ZERO), 0);
        assert_eq!(ttl_ms(Duration::from_nanos(1)), 1);
        assert_eq!(ttl_ms(Duration::from_millis(7)), 7);
        assert_eq!(ttl_ms(Duration::MAX), NEVER_MS);
    }
}
