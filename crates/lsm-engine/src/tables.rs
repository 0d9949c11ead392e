//! Table files: named, opened when first touched, removed when no view holds them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::Sender;
use lsm_entry::{Fragments, SeqNo};
use lsm_io::{DirectReader, Identity, OpenMode, SharedFs};
use lsm_manifest::{FileKind, file_name};
use lsm_sstable::{FilterLine, Table, TableCursor};
use lsm_version::TableRecord;

use crate::blobs::OpenBlobs;
use crate::budget::Budget;
use crate::env::Spawn;
use crate::filter_use::FilterUse;
use crate::options::{Options, ReadMode};

/// Where tables live and how they are read; shared by all keyspaces.
#[derive(Debug)]
pub(crate) struct TableStore {
    pub(crate) fs: SharedFs,
    pub(crate) dir: PathBuf,
    pub(crate) budget: Arc<Budget>,
    pub(crate) read_mode: ReadMode,
    /// Whether merges may read past the page cache.
    may_go_past_cache: bool,
    /// Whether there may be threads that read ahead.
    may_spawn: bool,
    /// What this process may use of memory, if the system tells.
    memory_limit_bytes: Option<u64>,
    /// The files of all tables that some view holds.
    live_bytes: AtomicU64,
    /// Files that nobody needs any more.
    garbage: Sender<(FileKind, u64)>,
    pub(crate) opened: AtomicU64,
    /// Those of the blob files that are open, as far as they may be closed.
    pub(crate) open_blobs: OpenBlobs,
}

impl TableStore {
    /// The tables in `dir`; files that nobody needs any more go into `garbage`.
    pub(crate) fn new(
        dir: &Path,
        options: &Options,
        garbage: Sender<(FileKind, u64)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            fs: Arc::clone(&options.env.fs),
            dir: dir.to_owned(),
            budget: Budget::new(options),
            read_mode: options.read_mode,
            may_go_past_cache: options.may_go_past_cache(),
            may_spawn: options.env.spawn == Spawn::Threads,
            memory_limit_bytes: lsm_io::memory_limit_bytes(),
            live_bytes: AtomicU64::new(0),
            garbage,
            opened: AtomicU64::new(0),
            open_blobs: OpenBlobs::default(),
        })
    }

    /// The path of table `number`.
    pub(crate) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(file_name(FileKind::Table, number))
    }

    /// A file that nobody needs any more.
    pub(crate) fn dispose(&self, kind: FileKind, number: u64) {
        // A reader may be the last to hold it: only the number is sent, the log's thread removes the
        // file. At shutdown nobody listens, and recovery removes it as an orphan.
        let _ = self.garbage.send((kind, number));
    }

    /// Whether the tables together leave half of the memory to everything else. Of a table that is
    /// opened while they do and stays open when they do not any more, the system goes on reading ahead.
    fn fits_in_memory(&self) -> bool {
        leave_half(self.live_bytes.load(Ordering::Relaxed), self.memory_limit_bytes)
    }

    fn open(&self, record: &TableRecord) -> lsm_io::Result<Arc<Table>> {
        let file = self.fs.open(&self.path(record.number), OpenMode::Read)?;
        let identity =
            Identity { database_id: record.birth_database_id, file_number: record.birth_number };
        let cache = Arc::clone(self.budget.cache());
        let mode = match self.read_mode {
            ReadMode::Mapped if !self.budget.has_room_for_indexes() => {
                lsm_sstable::ReadMode::MappedWithIndex(cache)
            }
            ReadMode::Mapped if self.fits_in_memory() => lsm_sstable::ReadMode::Mapped(cache),
            ReadMode::Mapped => lsm_sstable::ReadMode::MappedInPart(cache),
            ReadMode::Cached => lsm_sstable::ReadMode::Cached(cache),
        };
        self.opened.fetch_add(1, Ordering::Relaxed);
        // What was ingested got its numbers after it was written; all others have them already.
        Table::open_from(file, identity, record.bytes, mode, record.seq_no_min)
    }
}

/// Whether so many bytes leave half of what there is to others.
fn leave_half(bytes: u64, limit_bytes: Option<u64>) -> bool {
    limit_bytes.is_none_or(|limit| bytes <= limit / 2)
}

/// A table that some view holds. The file is opened when it is first read from, and removed after
/// the last view that held it is gone, if a compaction has replaced it.
#[derive(Debug)]
pub(crate) struct LiveTable {
    record: Arc<TableRecord>,
    /// Kept beside the open table, where a read looks anyway.
    has_range_deletes: bool,
    store: Arc<TableStore>,
    opened: OnceLock<Arc<Table>>,
    pub(crate) filter_use: FilterUse,
    replaced: AtomicBool,
}

impl LiveTable {
    pub(crate) fn new(record: Arc<TableRecord>, store: Arc<TableStore>) -> Self {
        let has_range_deletes = record.range_deletes > 0;
        store.live_bytes.fetch_add(record.bytes, Ordering::Relaxed);
        let (opened, replaced) = (OnceLock::new(), AtomicBool::new(false));
        let filter_use = FilterUse::default();
        Self { record, has_range_deletes, store, opened, filter_use, replaced }
    }

    #[inline]
    pub(crate) fn record(&self) -> &Arc<TableRecord> {
        &self.record
    }

    /// The open table.
    #[inline]
    pub(crate) fn table(&self) -> lsm_io::Result<&Arc<Table>> {
        match self.opened.get() {
            Some(table) => Ok(table),
            None => self.open(),
        }
    }

    #[cold]
    fn open(&self) -> lsm_io::Result<&Arc<Table>> {
        // Two readers may both open it; one of the two handles is dropped again.
        let mut opened = Some(self.store.open(&self.record)?);
        let table = self.opened.get_or_init(|| opened.take().expect("taken here only"));
        if opened.is_none() {
            self.store.budget.table_opened(table.memory_bytes());
        }
        Ok(table)
    }

    /// What decides about `hash` in the table's filter; `None`: there is none that is worth asking.
    #[inline]
    pub(crate) fn filter_line(&self, hash: u64) -> lsm_io::Result<Option<FilterLine<'_>>> {
        Ok(if self.filter_use.pays() { self.table()?.filter_line(hash) } else { None })
    }

    /// A cursor for whoever walks over the table once: what is in no cache stays out of it.
    pub(crate) fn cursor_for_merge(&self) -> lsm_io::Result<TableCursor> {
        let table = self.table()?;
        if !self.store.may_go_past_cache || table.is_in_memory() {
            return Ok(table.cursor().in_passing());
        }
        let file =
            self.store.fs.open_direct(&self.store.path(self.record.number), OpenMode::Read)?;
        let reader = DirectReader::new(file)?;
        let reader = if self.store.may_spawn { reader.reading_ahead() } else { reader };
        Ok(table.cursor().reading_by(reader))
    }

    /// The table's range deletes; `None`: there are none, and it need not be opened to know.
    #[inline]
    pub(crate) fn range_deletes(&self) -> lsm_io::Result<Option<&Fragments>> {
        if !self.has_range_deletes {
            return Ok(None);
        }
        Ok(Some(self.table()?.range_deletes()))
    }

    /// The newest range delete up to `seq_no` that covers `key`; 0: none.
    #[inline]
    pub(crate) fn cover(&self, key: &[u8], seq_no: SeqNo) -> lsm_io::Result<SeqNo> {
        if self.has_range_deletes { self.cover_there(key, seq_no) } else { Ok(0) }
    }

    /// Apart from the question whether there are any, which so becomes part of the read.
    #[cold]
    fn cover_there(&self, key: &[u8], seq_no: SeqNo) -> lsm_io::Result<SeqNo> {
        Ok(self.table()?.range_deletes().cover(key, seq_no))
    }

    /// The open table, if somebody has read from it.
    pub(crate) fn table_if_open(&self) -> Option<&Arc<Table>> {
        self.opened.get()
    }

    /// No version names the file any more: whoever drops the last handle has it removed.
    pub(crate) fn mark_replaced(&self) {
        self.replaced.store(true, Ordering::Release);
    }
}

impl Drop for LiveTable {
    fn drop(&mut self) {
        self.store.live_bytes.fetch_sub(self.record.bytes, Ordering::Relaxed);
        if let Some(table) = self.opened.get() {
            self.store.budget.table_closed(table.memory_bytes());
        }
        if self.replaced.load(Ordering::Acquire) {
            self.store.dispose(FileKind::Table, self.record.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Db, Env, Reads};

    #[test]
    fn tables_count_against_the_memory_for_as_long_as_they_are_there() {
        let env = Env::simulated(lsm_io::SimFs::new(1).shared());
        let options = Options { memory_bytes: 4 << 20, env, ..Options::default() };
        let db = Db::open_with("db", options).expect("opens");
        let store = Arc::clone(&db.shared().tables);
        for round in 0..4 {
            db.put("key", vec![round; 1000]).expect("writes");
            db.flush().expect("flushes");
        }
        db.compact_range::<&str>(..).expect("merges");
        db.settle().expect("settles");
        assert!(db.get("key").expect("reads").is_some());
        let view = db.default_keyspace().core().view.load();
        let bytes: Vec<u64> = view.tree.tables().map(|table| table.record().bytes).collect();
        assert_eq!(bytes, [store.live_bytes.load(Ordering::Relaxed)], "one table is left");
    }

    #[test]
    fn a_table_opened_without_room_is_read_with_nothing_of_its_index_in_memory() {
        let env = Env::simulated(lsm_io::SimFs::new(1).shared());
        let options = Options { memory_bytes: 4 << 20, env, ..Options::default() };
        let db = Db::open_with("db", options).expect("opens");
        let budget = &db.shared().tables.budget;
        let table_bytes = || db.metrics().memory.table_bytes;
        let read_back = |salt: u8| {
            for n in 0..1000_u32 {
                db.put(n.to_be_bytes(), vec![salt; 1000]).expect("writes");
            }
            db.compact_range::<&str>(..).expect("merges");
            let before = table_bytes();
            for n in 0..1000_u32 {
                let value = db.get(n.to_be_bytes()).expect("reads");
                assert_eq!(value.as_deref(), Some(&[salt; 1000][..]), "{n}");
            }
            assert_eq!(db.iter().count(), 1000);
            table_bytes() - before
        };
        let held = read_back(1);
        assert!(held > 250 * 25, "{held} bytes for 250 blocks or more");
        budget.table_opened(3 << 20);
        let in_place = read_back(2);
        assert!(in_place < 2000, "{in_place} bytes");
        budget.table_closed(3 << 20);
        assert!(read_back(3) >= held, "there is room again");
    }

    #[test]
    fn tables_that_leave_less_than_half_do_not_fit() {
        assert!(leave_half(50, Some(100)) && !leave_half(51, Some(100)));
        assert!(leave_half(u64::MAX, None), "nobody says how much there is");
    }
}
