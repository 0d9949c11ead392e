//! A memtable's range deletes, beside its entries: few, so the writer builds their fragments anew
//! and publishes them whole, as one pointer.
//!
//! Readers ask one flag, which lies where the writer writes nothing else; only where it is set do
//! they take the fragments. As long as no entry is written under a fragment after its newest range
//! delete, the fragment hides all that the memtable holds there, and a scan need not step over it.
//!
//! Order: fragments before the number by which readers see them; a fragment is told of an entry
//! before the entry can be found.

use std::sync::Arc;

use lsm_entry::{Fragments, SeqNo};

use crate::sync::ArcSwap;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Numbers in the fragments beyond which a memtable has no room: each batch with a range delete
/// copies as many pointers.
const WEIGHT_MAX: usize = 4096;

/// The range deletes of a memtable. One writer; readers need an acquire load, and mostly no more.
#[derive(Debug)]
pub(crate) struct RangeDeletes {
    has_any: AtomicBool,
    present: ArcSwap<Fragments>,
    weight: AtomicUsize,
    memory_bytes: AtomicUsize,
}

impl RangeDeletes {
    pub(crate) fn new() -> Self {
        Self {
            has_any: AtomicBool::new(false),
            present: ArcSwap::from_pointee(Fragments::default()),
            weight: AtomicUsize::new(0),
            memory_bytes: AtomicUsize::new(0),
        }
    }

    /// The fragments as they are now; `None`: there are none.
    #[inline]
    pub(crate) fn present(&self) -> Option<Arc<Fragments>> {
        self.has_any.load(Ordering::Acquire).then(|| self.present.load_full())
    }

    /// The newest range delete up to `seq_no` that covers `key`; 0: none.
    #[inline]
    pub(crate) fn cover(&self, key: &[u8], seq_no: SeqNo) -> SeqNo {
        if self.has_any.load(Ordering::Acquire) { self.cover_there(key, seq_no) } else { 0 }
    }

    /// Apart from the question whether there are any, which so becomes part of the read.
    #[cold]
    fn cover_there(&self, key: &[u8], seq_no: SeqNo) -> SeqNo {
        self.present.load().cover(key, seq_no)
    }

    /// An entry is about to be written at `key`. Only the writer calls it.
    #[inline]
    pub(crate) fn note_write(&self, key: &[u8]) {
        if self.has_any.load(Ordering::Relaxed) {
            self.present.load().note_write(key);
        }
    }

    /// Shows `fragments` from now on. Only the writer calls it.
    pub(crate) fn publish(&self, fragments: Fragments) {
        self.weight.store(fragments.weight(), Ordering::Release);
        self.memory_bytes.store(fragments.memory_bytes(), Ordering::Release);
        self.present.store(Arc::new(fragments));
        // Order: the fragments before the flag that leads to them.
        self.has_any.store(true, Ordering::Release);
    }

    /// Whether there should be no more of them here.
    pub(crate) fn is_full(&self) -> bool {
        self.weight.load(Ordering::Acquire) >= WEIGHT_MAX
    }

    /// Bytes of memory that they take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Ordering::Acquire)
    }
}
