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
use lsm_version::{Expiring, TableRecord, Version};

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

/// When everything in a table that expires has expired.
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
    /// Nobody counted: an earlier program wrote the table, and some of its entries stay.
    Uncounted,
}

/// Entries that expire, by when all those have that lie in the same table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExpiryShare {
    /// When.
    pub due: ExpiryDue,
    /// In how many tables they lie, alone or beside others.
    pub tables: u64,
    /// How many they are; where `due` is [`Uncounted`](ExpiryDue::Uncounted), how many at most.
    pub entries: u64,
    /// Bytes of their keys and values, before compression; at most, as above.
    pub bytes: u64,
    /// When the first of them expires, in milliseconds since 1970.
    pub first_ms: u64,
    /// When the last of them does; `None` where `due` is [`Uncounted`](ExpiryDue::Uncounted).
    pub last_ms: Option<u64>,
}

impl fmt::Display for ExpiryDue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::Minute => "within a minute",
            Self::Hour => "within an hour",
            Self::Day => "within a day",
            Self::Later => "later",
            Self::Uncounted => "uncounted",
        })
    }
}

impl ExpiryDue {
    fn of(last_ms: Option<u64>, now_ms: u64) -> Self {
        let Some(last_ms) = last_ms else { return Self::Uncounted };
        match last_ms.saturating_sub(now_ms) {
            0 => Self::Expired,
            1..=60_000 => Self::Minute,
            60_001..=3_600_000 => Self::Hour,
            3_600_001..=86_400_000 => Self::Day,
            _ => Self::Later,
        }
    }
}

impl ExpiryShare {
    /// A table's, if anything in it expires.
    fn of(table: &TableRecord, now_ms: u64) -> Option<Self> {
        let first_ms = table.expiry_min_ms?;
        let whole = Expiring { entries: table.entries, bytes: table.raw_bytes, last_ms: 0 };
        let (counted, last_ms) = match (table.expiring, table.expiry_max_ms) {
            (Some(counted), _) => (counted, Some(counted.last_ms)),
            (None, last_ms) => (whole, last_ms),
        };
        let Expiring { entries, bytes, .. } = counted;
        let due = ExpiryDue::of(last_ms, now_ms);
        Some(Self { due, tables: 1, entries, bytes, first_ms, last_ms })
    }

    fn add(&mut self, other: &Self) {
        self.tables += other.tables;
        self.entries = self.entries.saturating_add(other.entries);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
    }
}

impl Keyspace {
    /// How many of the entries in its tables wait to expire, and by when. Costs no disk access.
    pub fn expiry(&self) -> Vec<ExpiryShare> {
        let now_ms = self.db.shared.database_time_ms();
        let mut shares: Vec<ExpiryShare> = Vec::new();
        for table in self.core().view.load().tree.tables() {
            let Some(share) = ExpiryShare::of(table.record(), now_ms) else { continue };
            let index = shares.partition_point(|known| known.due < share.due);
            match shares.get_mut(index).filter(|known| known.due == share.due) {
                Some(known) => known.add(&share),
                None => shares.insert(index, share),
            }
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
    #[track_caller]
    fn check_share(table: &TableRecord, due: ExpiryDue, entries: u64, last_ms: Option<u64>) {
        let share = ExpiryShare::of(table, 1_000).expect("something expires");
        assert_eq!((share.due, share.entries, share.last_ms), (due, entries, last_ms));
    }

    #[test]
    fn what_expires_is_counted_apart_from_what_stays() {
        let expiry = |first_ms, last_ms| TableRecord {
            entries: 100,
            expiry_min_ms: Some(first_ms),
            expiry_max_ms: last_ms,
            ..TableRecord::default()
        };
        check_share(&expiry(5, Some(900)), ExpiryDue::Expired, 100, Some(900));
        let expiring = Some(Expiring { entries: 3, bytes: 30, last_ms: 61_000 });
        let mixed = TableRecord { expiring, ..expiry(5, None) };
        check_share(&mixed, ExpiryDue::Minute, 3, Some(61_000));
        check_share(&expiry(5, None), ExpiryDue::Uncounted, 100, None);
        assert_eq!(ExpiryShare::of(&TableRecord::default(), 1_000), None);
    }
}
