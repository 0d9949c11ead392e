//! Range deletes cut at each other's bounds: of every key one search tells all that cover it.
//!
//! ```text
//!   range deletes     9: a ────────── m          fragments   a ── d : 9
//!                     5:      d ──────────── z               d ── m : 9 5
//!                                                            m ── z : 5
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{MAX_SEQ_NO, RangeDelete, SeqNo, is_below};

/// A stretch of the key space all keys of which are covered by the same range deletes.
#[derive(Debug)]
pub struct Fragment {
    lower: Vec<u8>,
    upper: Vec<u8>,
    /// Descending, never empty.
    seq_nos: Vec<SeqNo>,
    /// Whether something newer than its newest range delete may lie under it, as far as whoever
    /// keeps the entries has [told](Fragments::note_write).
    is_overwritten: AtomicBool,
}

/// The fragments of some range deletes, ascending and disjoint.
///
/// ```
/// use lsm_entry::{Fragments, MAX_SEQ_NO, RangeDelete};
///
/// let mut fragments = Fragments::default();
/// fragments.insert(RangeDelete { lower: b"d".into(), upper: b"z".into(), seq_no: 5 });
/// fragments.insert(RangeDelete { lower: b"a".into(), upper: b"m".into(), seq_no: 9 });
/// assert_eq!(fragments.cover(b"e", MAX_SEQ_NO), 9);
/// assert_eq!(fragments.cover(b"e", 8), 5, "as it was before the newer one");
/// assert_eq!(fragments.cover(b"b", 8), 0, "nothing covers it");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fragments {
    list: Vec<Arc<Fragment>>,
}

/// What lies around a key: its fragment, or the gap between two.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The fragment that holds the key.
    pub fragment: Option<&'a Fragment>,
    /// From where on it is the same.
    pub lower: &'a [u8],
    /// Up to where it is the same, exclusive; empty: to the end.
    pub upper: &'a [u8],
}

impl Fragment {
    /// Its first key.
    pub fn lower(&self) -> &[u8] {
        &self.lower
    }

    /// The first key beyond it; empty: there is none.
    pub fn upper(&self) -> &[u8] {
        &self.upper
    }

    /// The numbers of the range deletes that cover it, newest first; there is at least one.
    pub fn seq_nos(&self) -> &[SeqNo] {
        &self.seq_nos
    }

    /// The newest range delete up to `seq_no` that covers it; 0: none.
    #[inline]
    pub fn cover(&self, seq_no: SeqNo) -> SeqNo {
        self.seq_nos.iter().copied().find(|covering| *covering <= seq_no).unwrap_or(0)
    }

    /// Whether every entry under it that a reader at `seq_no` sees is gone for that reader: there is
    /// no newer one, and none of its range deletes is newer than the reader.
    pub fn hides_all(&self, seq_no: SeqNo) -> bool {
        self.seq_nos[0] <= seq_no && !self.is_overwritten.load(Ordering::Acquire)
    }

    /// The same range deletes over a part of it.
    fn part(&self, lower: &[u8], upper: &[u8]) -> Self {
        Self {
            lower: lower.to_vec(),
            upper: upper.to_vec(),
            seq_nos: self.seq_nos.clone(),
            is_overwritten: AtomicBool::new(self.is_overwritten.load(Ordering::Acquire)),
        }
    }

    /// The same with one more range delete.
    fn with(mut self, seq_no: SeqNo) -> Self {
        let index = self.seq_nos.partition_point(|newer| *newer > seq_no);
        if self.seq_nos.get(index) != Some(&seq_no) {
            self.seq_nos.insert(index, seq_no);
            if index == 0 {
                // Whatever was written before is older than this one.
                self.is_overwritten = AtomicBool::new(false);
            }
        }
        self
    }

    fn new(lower: &[u8], upper: &[u8], seq_nos: Vec<SeqNo>) -> Self {
        let is_overwritten = AtomicBool::new(false);
        Self { lower: lower.to_vec(), upper: upper.to_vec(), seq_nos, is_overwritten }
    }
}

impl Fragments {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The fragments, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Fragment> {
        self.list.iter().map(|fragment| &**fragment)
    }

    /// How many numbers they hold, all together: what they cost to keep and to build.
    pub fn weight(&self) -> usize {
        self.list.iter().map(|fragment| fragment.seq_nos.len()).sum()
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        let bytes = |fragment: &Arc<Fragment>| {
            let bounds = fragment.lower.len() + fragment.upper.len();
            size_of::<Fragment>() + size_of::<Arc<Fragment>>() + bounds + 8 * fragment.seq_nos.len()
        };
        self.list.iter().map(bytes).sum()
    }

    /// Adds a range delete, cutting what is there at its bounds. One that covers nothing changes
    /// nothing.
    pub fn insert(&mut self, range_delete: RangeDelete) {
        if !range_delete.covers_anything() {
            return;
        }
        let RangeDelete { lower, upper, seq_no } = range_delete;
        let begin = self.list.partition_point(|fragment| !is_below(&lower, &fragment.upper));
        let mut end = begin;
        let mut made = Vec::new();
        let mut make = |fragment| made.push(Arc::new(fragment));
        // Up to where it has been laid; `None`: all of it.
        let mut from = Some(lower);
        while let (Some(at), Some(fragment)) = (&from, self.list.get(end)) {
            if !is_below(&fragment.lower, &upper) {
                break;
            }
            let at = if fragment.lower < *at {
                make(fragment.part(&fragment.lower, at));
                at.clone()
            } else {
                if *at < fragment.lower {
                    make(Fragment::new(at, &fragment.lower, vec![seq_no]));
                }
                fragment.lower.clone()
            };
            let ends_first = !fragment.upper.is_empty() && is_below(&fragment.upper, &upper);
            let to = if ends_first { &fragment.upper } else { &upper };
            make(fragment.part(&at, to).with(seq_no));
            if !ends_first && fragment.upper != upper {
                make(fragment.part(&upper, &fragment.upper));
            }
            from = ends_first.then(|| to.clone());
            end += 1;
        }
        if let Some(at) = from {
            make(Fragment::new(&at, &upper, vec![seq_no]));
        }
        self.list.splice(begin..end, made);
    }

    /// Adds to the last fragment an older range delete with its very bounds, or a fragment behind it;
    /// `false`, and nothing is added, if it is neither. For whoever reads fragments back in order:
    /// however they lie, it costs what was read.
    #[must_use]
    pub fn push(&mut self, lower: &[u8], upper: &[u8], seq_no: SeqNo) -> bool {
        if let Some(last) = self.list.last_mut() {
            if last.lower == lower && last.upper == upper {
                let is_older = last.seq_nos.last().is_some_and(|newer| *newer > seq_no);
                let last = if is_older { Arc::get_mut(last) } else { None };
                return last.map(|last| last.seq_nos.push(seq_no)).is_some();
            }
            if last.upper.is_empty() || lower < last.upper.as_slice() {
                return false;
            }
        }
        let covers_anything = is_below(lower, upper);
        if covers_anything {
            self.list.push(Arc::new(Fragment::new(lower, upper, vec![seq_no])));
        }
        covers_anything
    }

    /// The fragment that holds `key`.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<&Fragment> {
        let fragment = self.list.get(self.index_after(key).checked_sub(1)?)?;
        is_below(key, &fragment.upper).then_some(fragment)
    }

    /// The newest range delete up to `seq_no` that covers `key`; 0: none.
    #[inline]
    pub fn cover(&self, key: &[u8], seq_no: SeqNo) -> SeqNo {
        self.find(key).map_or(0, |fragment| fragment.cover(seq_no))
    }

    /// What lies around `key`, so that a walk need not ask again until it leaves that.
    pub fn around(&self, key: &[u8]) -> Surroundings<'_> {
        let after = self.index_after(key);
        let before = after.checked_sub(1).map(|index| &*self.list[index]);
        if let Some(fragment) = before.filter(|fragment| is_below(key, &fragment.upper)) {
            let (lower, upper) = (&fragment.lower, &fragment.upper);
            return Surroundings { fragment: Some(fragment), lower, upper };
        }
        Surroundings {
            fragment: None,
            lower: before.map_or(&[], |fragment| &fragment.upper),
            upper: self.list.get(after).map_or(&[], |fragment| &fragment.lower),
        }
    }

    /// The fragments that share a key with the range from `lower` to `upper` (exclusive; empty: to
    /// the end).
    pub fn overlapping<'a>(
        &'a self,
        lower: &'a [u8],
        upper: &'a [u8],
    ) -> impl Iterator<Item = &'a Fragment> {
        let begin = self.list.partition_point(|fragment| !is_below(lower, &fragment.upper));
        self.list[begin..]
            .iter()
            .map(|fragment| &**fragment)
            .take_while(move |fragment| is_below(&fragment.lower, upper))
    }

    /// An entry is about to be written at `key`, newer than every range delete so far: what covers
    /// the key does not hide all there any more.
    pub fn note_write(&self, key: &[u8]) {
        if let Some(fragment) = self.find(key)
            && !fragment.is_overwritten.load(Ordering::Relaxed)
        {
            fragment.is_overwritten.store(true, Ordering::Release);
        }
    }

    /// The same without the numbers for which `keep` says no.
    pub fn filtered(&self, mut keep: impl FnMut(&Fragment, SeqNo) -> bool) -> Self {
        let kept = self.list.iter().filter_map(|fragment| {
            let seq_nos = fragment.seq_nos.iter().copied();
            let seq_nos: Vec<_> = seq_nos.filter(|seq_no| keep(fragment, *seq_no)).collect();
            let made =
                || Arc::new(Fragment::new(&fragment.lower, &fragment.upper, seq_nos.clone()));
            (!seq_nos.is_empty()).then(made)
        });
        Self { list: kept.collect() }
    }

    /// What of them lies from `lower` up to `upper` (exclusive; empty: to the end).
    #[must_use]
    pub fn clipped(&self, lower: &[u8], upper: &[u8]) -> Self {
        let parts = self.overlapping(lower, upper).map(|fragment| {
            let ends_first = !fragment.upper.is_empty() && is_below(&fragment.upper, upper);
            let upper = if ends_first { &fragment.upper } else { upper };
            Arc::new(fragment.part(lower.max(&fragment.lower), upper))
        });
        Self { list: parts.collect() }
    }

    /// The same with every number raised by `shift`.
    #[must_use]
    pub fn counted_from(&self, shift: SeqNo) -> Self {
        let raised = self.list.iter().map(|fragment| {
            let seq_nos = fragment.seq_nos.iter();
            let seq_nos = seq_nos.map(|seq_no| seq_no.saturating_add(shift).min(MAX_SEQ_NO));
            Arc::new(Fragment::new(&fragment.lower, &fragment.upper, seq_nos.collect()))
        });
        Self { list: raised.collect() }
    }

    /// The range deletes that these are the fragments of, as few as say the same, ascending.
    pub fn range_deletes(&self) -> Vec<RangeDelete> {
        let mut whole = Vec::new();
        // Those that reach up to the fragment in hand, by their number.
        let mut open: Vec<RangeDelete> = Vec::new();
        for fragment in self.iter() {
            let (ended, going_on) = open.into_iter().partition(|range: &RangeDelete| {
                range.upper != fragment.lower || !fragment.seq_nos.contains(&range.seq_no)
            });
            open = going_on;
            whole.extend::<Vec<_>>(ended);
            for &seq_no in &fragment.seq_nos {
                let upper = fragment.upper.clone();
                match open.iter_mut().find(|range| range.seq_no == seq_no) {
                    Some(range) => range.upper = upper,
                    None => {
                        let lower = fragment.lower.clone();
                        open.push(RangeDelete { lower, upper, seq_no });
                    }
                }
            }
        }
        whole.append(&mut open);
        whole.sort_unstable();
        whole
    }

    /// How many fragments begin at or below `key`.
    #[inline]
    fn index_after(&self, key: &[u8]) -> usize {
        self.list.partition_point(|fragment| fragment.lower.as_slice() <= key)
    }
}

impl FromIterator<RangeDelete> for Fragments {
    fn from_iter<I: IntoIterator<Item = RangeDelete>>(range_deletes: I) -> Self {
        let mut fragments = Self::default();
        range_deletes.into_iter().for_each(|range_delete| fragments.insert(range_delete));
        fragments
    }
}

impl PartialEq for Fragments {
    fn eq(&self, other: &Self) -> bool {
        let parts = |fragments: &Self| -> Vec<_> {
            let list = fragments.list.iter();
            list.map(|f| (f.lower.clone(), f.upper.clone(), f.seq_nos.clone())).collect()
        };
        parts(self) == parts(other)
    }
}
