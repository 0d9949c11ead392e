//! The one writer of a memtable.

use lsm_entry::{Entry, Fragments, MAX_KEY_BYTES, MAX_SEQ_NO, RangeDelete, ValueKind};

use crate::memtable::{End, Memtable};
use crate::sync::MutexGuard;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// The right to write to a memtable, until dropped.
#[derive(Debug)]
pub struct MemtableWriter<'a> {
    memtable: &'a Memtable,
    end: MutexGuard<'a, End>,
    /// The fragments with the range deletes inserted here, published when the writer is dropped: a
    /// batch of many copies what is there once.
    fragments: Option<Fragments>,
}

impl<'a> MemtableWriter<'a> {
    pub(crate) fn new(memtable: &'a Memtable, end: MutexGuard<'a, End>) -> Self {
        Self { memtable, end, fragments: None }
    }

    /// Inserts an entry. `hash` is [`lsm_entry::key_hash`] of its key. Of one key, sequence numbers
    /// must ascend. A range delete, whose key is its lower and whose value its upper bound, covers
    /// what was inserted before it, and is seen once the writer is dropped.
    ///
    /// # Panics
    /// If there is no room, which [`Memtable::has_room`] tells beforehand; in particular if the
    /// memtable is frozen.
    #[inline]
    pub fn insert(&mut self, entry: Entry<'_>, hash: u64) {
        assert!(self.memtable.has_room(1, entry.key.len() + entry.value.len()), "{NO_ROOM}");
        assert!(entry.key.len() <= MAX_KEY_BYTES, "a key has at most {MAX_KEY_BYTES} bytes");
        assert!(u32::try_from(entry.value.len()).is_ok(), "a value has fewer than 4 GiB");
        debug_assert!(entry.seq_no <= MAX_SEQ_NO, "a sequence number has 56 bits");
        if entry.kind() == ValueKind::RangeDelete {
            return self.insert_range_delete(&entry);
        }
        // Order: before the entry can be found (see `range_deletes.rs`).
        match &self.fragments {
            Some(fragments) => fragments.note_write(entry.key),
            None => self.memtable.range_deletes.note_write(entry.key),
        }
        if self.end.order.is_gathering() {
            return self.gather(&entry);
        }
        let Memtable { arena, index, order, .. } = self.memtable;
        let end = &mut *self.end;

        let newest = index.find(hash, |position| {
            let newest = arena.entry(position);
            (newest.key == entry.key).then_some((position, newest.seq_no))
        });
        debug_assert!(
            newest.is_none_or(|(_, (_, seq_no))| seq_no < entry.seq_no),
            "sequence numbers of one key ascend"
        );
        let older = newest.map(|(_, (position, _))| position);
        let position = arena.append(&mut end.arena, &entry, older);
        // Order: into the order, then into the index. Whoever reads a version by its key also finds
        // it by a search of the order that begins afterwards.
        order.add(arena, &mut end.order, entry.key, position);
        match newest {
            Some((place, _)) => index.replace(place, hash, position),
            None => index.insert(&mut end.index, hash, position),
        }
        self.count(&entry, newest.is_none());
    }

    /// Inserts an entry that nobody looks for before the memtable is frozen.
    #[cold]
    fn gather(&mut self, entry: &Entry<'_>) {
        let end = &mut *self.end;
        let position = self.memtable.arena.append(&mut end.arena, entry, None);
        end.order.gather(entry.key, position);
        let bytes = end.arena.allocated_bytes() + end.order.gathered_bytes();
        self.count(entry, false);
        self.memtable.counts.arena_bytes.store(bytes, Ordering::Relaxed);
    }

    #[cold]
    fn insert_range_delete(&mut self, entry: &Entry<'_>) {
        let present = &self.memtable.range_deletes;
        let fragments = self.fragments.get_or_insert_with(|| {
            present.present().map_or_else(Fragments::default, |present| (*present).clone())
        });
        let (lower, upper) = (entry.key.to_vec(), entry.value.to_vec());
        fragments.insert(RangeDelete { lower, upper, seq_no: entry.seq_no });
        self.count(entry, false);
    }

    /// Tells what has been inserted.
    #[inline]
    fn count(&self, entry: &Entry<'_>, is_new_key: bool) {
        // One thread writes them, so nothing is lost between loading and storing.
        let add = |counter: &AtomicUsize, count: usize| {
            counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Release);
        };
        let counts = &self.memtable.counts;
        let is_first = counts.entries.load(Ordering::Relaxed) == 0;
        if is_first || entry.seq_no < counts.first_seq_no.load(Ordering::Relaxed) {
            counts.first_seq_no.store(entry.seq_no, Ordering::Relaxed);
        }
        if entry.seq_no > counts.last_seq_no.load(Ordering::Relaxed) {
            counts.last_seq_no.store(entry.seq_no, Ordering::Relaxed);
        }
        counts.used_bytes.store(self.end.arena.used_bytes(), Ordering::Release);
        counts.arena_bytes.store(self.end.arena.allocated_bytes(), Ordering::Relaxed);
        add(&counts.data_bytes, entry.key.len() + entry.value.len());
        add(&counts.keys, usize::from(is_new_key));
        add(&counts.tombstones, usize::from(entry.tag.is_tombstone()));
        // Order: last, so that whoever finds the memtable not empty finds a range of sequence
        // numbers.
        add(&counts.entries, 1);
    }
}

impl Drop for MemtableWriter<'_> {
    fn drop(&mut self) {
        if let Some(fragments) = self.fragments.take() {
            self.memtable.range_deletes.publish(fragments);
        }
    }
}

const NO_ROOM: &str = "whoever inserts has asked has_room";
