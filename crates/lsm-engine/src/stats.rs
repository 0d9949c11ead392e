//! What the engine counts while it runs.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lsm_compaction::{MergeStats, Plan};

use crate::outputs::WrittenTables;

use crate::events::Work;

/// Stripes that threads share among them.
pub(crate) const STRIPES: usize = 7;
/// Words from one stripe of a counter to the next: a cache line.
const STRIPE_WORDS: usize = 8;
/// Words of a counter: a power of two, so that a remainder by it is cheap.
const WORDS: usize = (STRIPES + 1) * STRIPE_WORDS;
/// Where threads count that have no stripe yet.
const NEWCOMERS: usize = STRIPES * STRIPE_WORDS;

/// A counter that threads add to without sharing a cache line. In a build with `--cfg lsm_unmeasured`
/// nothing is counted or timed: `cargo xtask instructions --unmeasured` shows what that saves.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Counter {
    /// The first of each stripe counts. Words rather than stripes, for these are reached without an
    /// instruction of their own.
    words: [AtomicU64; WORDS],
}

thread_local! {
    /// The word of the calling thread's stripe.
    static WORD: Cell<usize> = const { Cell::new(NEWCOMERS) };
}

/// Held while counts go from one word to another, and while words are summed up.
static MOVING: Mutex<()> = Mutex::new(());

/// Stripes, and the one of newcomers.
pub(crate) const LANES: usize = STRIPES + 1;

/// Where the calling thread keeps what it shares with as few others as may be.
#[inline]
pub(crate) fn lane() -> usize {
    WORD.get() / STRIPE_WORDS % LANES
}

/// The stripe of the calling thread. It gets one here, when it takes a time for the first time, so
/// that whoever only counts has nothing to ask.
pub(crate) fn stripe() -> usize {
    let word = WORD.get();
    let word = if word == NEWCOMERS { take_word() } else { word };
    word / STRIPE_WORDS
}

#[cold]
fn take_word() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let word = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES * STRIPE_WORDS;
    WORD.set(word);
    word
}

impl Default for Counter {
    fn default() -> Self {
        Self { words: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Counter {
    #[inline]
    pub(crate) fn count(&self) {
        self.add(1);
    }

    /// Returns what its stripe counted before.
    #[inline]
    pub(crate) fn add(&self, count: u64) -> u64 {
        if cfg!(lsm_unmeasured) {
            return 1;
        }
        self.words[WORD.get() % WORDS].fetch_add(count, Ordering::Relaxed)
    }

    /// Of a thread that takes a time. What newcomers have counted goes to its stripe, so that the next
    /// of them counts from zero, which is a number at which a time is taken: it gets a stripe at once.
    #[cold]
    pub(crate) fn welcome(&self) {
        stripe();
        let _moving = MOVING.lock().unwrap_or_else(PoisonError::into_inner);
        self.add(self.words[NEWCOMERS].swap(0, Ordering::Relaxed));
    }

    pub(crate) fn total(&self) -> u64 {
        let _moving = MOVING.lock().unwrap_or_else(PoisonError::into_inner);
        let words = self.words.iter().map(|word| word.load(Ordering::Relaxed));
        words.fold(0, u64::wrapping_add)
    }
}

/// The counters of one open database; all start at zero when it is opened.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) filter_false_positives: Counter,
    pub(crate) entries_passed: Counter,
    pub(crate) filter_removed: Counter,
    pub(crate) filter_replaced: Counter,
    pub(crate) filter_failures: Counter,
    pub(crate) entries_written: Counter,
    pub(crate) user_bytes_written: Counter,
    pub(crate) flushes: Counter,
    pub(crate) flush_bytes: Counter,
    /// By opens that found something in the log.
    pub(crate) recovery_bytes: Counter,
    pub(crate) checkpoint_bytes: Counter,
    pub(crate) export_bytes: Counter,
    pub(crate) ingests: Counter,
    pub(crate) ingest_bytes: Counter,
    pub(crate) compactions: Counter,
    pub(crate) compaction_bytes_read: Counter,
    pub(crate) compaction_bytes_written: Counter,
    pub(crate) blob_bytes: Counter,
    pub(crate) entries_dropped: Counter,
    pub(crate) background_errors: Counter,
    pub(crate) manifest_bytes: Counter,
    cpu_ns: [Counter; 3],
}

impl Stats {
    /// Work in the background has used the processor for so long.
    pub(crate) fn note_cpu_time(&self, work: Work, time: Duration) {
        self.cpu_ns[work as usize].add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn cpu_time(&self, work: Work) -> Duration {
        Duration::from_nanos(self.cpu_ns[work as usize].total())
    }

    pub(crate) fn note_write(&self, entries: u64, user_bytes: u64) {
        self.entries_written.add(entries);
        self.user_bytes_written.add(user_bytes);
    }

    pub(crate) fn note_flush(&self, written: &WrittenTables) {
        self.flushes.count();
        self.flush_bytes.add(self.note_tables(written));
    }

    /// An open has written tables of what it found in the log.
    pub(crate) fn note_recovery(&self, written: &WrittenTables) {
        self.recovery_bytes.add(self.note_tables(written));
    }

    /// A checkpoint holds tables of what was in memory.
    pub(crate) fn note_checkpoint(&self, written: &WrittenTables) {
        self.checkpoint_bytes.add(self.note_tables(written));
    }

    pub(crate) fn note_export(&self, written: &WrittenTables) {
        self.export_bytes.add(self.note_tables(written));
    }

    pub(crate) fn note_ingest(&self, written: &WrittenTables) {
        self.ingests.count();
        self.ingest_bytes.add(self.note_tables(written));
    }

    pub(crate) fn note_compaction(
        &self,
        plan: &Plan,
        merged: &MergeStats,
        written: &WrittenTables,
    ) {
        self.compactions.count();
        let inputs = plan.inputs.iter().flat_map(|input| &input.tables);
        self.compaction_bytes_read.add(inputs.map(|table| table.bytes).sum());
        self.compaction_bytes_written.add(self.note_tables(written));
        self.entries_dropped.add(merged.entries_read - merged.entries_written);
        self.filter_removed.add(merged.filter_removed);
        self.filter_replaced.add(merged.filter_replaced);
        self.filter_failures.add(merged.filter_failures);
    }

    /// Bytes of tables and blob files; of the latter apart, too.
    fn note_tables(&self, written: &WrittenTables) -> u64 {
        let blob_bytes = written.blobs().iter().map(|blob| blob.bytes).sum();
        self.blob_bytes.add(blob_bytes);
        written.records().iter().map(|record| record.bytes).sum::<u64>() + blob_bytes
    }
}

#[cfg(test)]
mod tests {
    use crate::{Db, Reads};

    #[test]
    fn threads_that_read_once_count_into_different_stripes() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let ways: [fn(&Db); 3] = [
            |db| drop(db.get("key").unwrap()),
            |db| drop(db.multi_get(&["key"]).unwrap()),
            |db| db.cursor().seek("key").unwrap(),
        ];
        for _ in 0..super::STRIPES {
            for read in ways {
                std::thread::scope(|scope| scope.spawn(|| read(&db)).join().unwrap());
            }
        }
        let lookups = &db.shared().default_keyspace.lookups;
        let stripes = lookups.words.chunks(super::STRIPE_WORDS);
        let counted = stripes.map(|words| words[0].load(super::Ordering::Relaxed));
        assert_eq!(counted.collect::<Vec<_>>(), [3, 3, 3, 3, 3, 3, 3, 0]);
    }
}
