//! Which entries a merge keeps.
//!
//! Snapshots cut the order of writes into *stripes*: no reader stands within one. So of each key
//! only the newest entry of each stripe can ever be seen, and the merge operands above it.
//!
//! ```text
//!   older ──────────── snapshot 10 ──────────── snapshot 20 ──────────── newer
//!        stripe 0                  stripe 1                  stripe 2
//! ```

use std::fmt;
use std::sync::Arc;

use lsm_entry::{Entry, Fragment, Fragments, SeqNo, ValueKind};

use crate::filter::CompactionFilter;
use crate::operator::MergeOperator;
use crate::read_times::ReadTimes;

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays.
    Keep,
    /// It goes.
    Drop(DropReason),
    /// It is a merge operand, the newest one of its key and stripe, and is to be folded with those
    /// that follow.
    Fold,
}

/// Why an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// A newer one of its key hides it from every reader.
    Shadowed,
    /// A range delete hides it from every reader.
    Covered,
    /// A tombstone that hides nothing any more.
    Tombstone,
    /// Its time is over, and it hides nothing.
    Expired,
}

impl Verdict {
    /// Whether the entry stays.
    pub fn is_keep(self) -> bool {
        self == Self::Keep
    }
}

/// Fetches the value of an entry that lies elsewhere; `None` if it cannot be read.
pub type FetchValue = dyn Fn(&Entry<'_>) -> Option<Vec<u8>> + Send + Sync;

/// Judges entries in internal order, one after the other.
#[derive(Clone)]
pub struct Retention {
    times: ReadTimes,
    operator: Option<Arc<dyn MergeOperator>>,
    fetch: Option<Arc<FetchValue>>,
    filter: Option<Arc<dyn CompactionFilter>>,
    key: Vec<u8>,
    has_key: bool,
    /// The stripe of the last entry of the key that hides older ones.
    hidden_stripe: Option<usize>,
    /// The key's last operand.
    last_operand: Option<SeqNo>,
    range_deletes: Fragments,
    /// The numbers of those that cover the key, newest first.
    covering: Vec<SeqNo>,
}

impl Retention {
    /// Keeps what is seen at each of `snapshots` (ascending) and at the present, which is `now_ms`
    /// milliseconds after 1970.
    pub fn new(snapshots: Vec<SeqNo>, now_ms: u64) -> Self {
        // A snapshot whose time is not known may have been taken at any.
        Self::at(ReadTimes::new(snapshots.into_iter().map(|seq_no| (seq_no, 0)).collect(), now_ms))
    }

    /// The same where it is known at what times the snapshots read: what has expired for all of them
    /// need not be kept for any.
    pub fn at(times: ReadTimes) -> Self {
        Self {
            times,
            operator: None,
            fetch: None,
            filter: None,
            key: Vec::new(),
            has_key: false,
            hidden_stripe: None,
            last_operand: None,
            range_deletes: Fragments::default(),
            covering: Vec::new(),
        }
    }

    /// The same, folding merge operands. Without an operator they stay as they are.
    #[must_use]
    pub fn folding(mut self, operator: Option<Arc<dyn MergeOperator>>) -> Self {
        self.operator = operator;
        self
    }

    /// The same, folding also onto values that lie elsewhere. What cannot be fetched is not folded onto.
    #[must_use]
    pub fn fetching(mut self, fetch: Arc<FetchValue>) -> Self {
        self.fetch = Some(fetch);
        self
    }

    /// The same, asking a filter about the values that it keeps and that no snapshot sees.
    #[must_use]
    pub fn filtering(mut self, filter: Option<Arc<dyn CompactionFilter>>) -> Self {
        self.filter = filter;
        self
    }

    /// The same, dropping what `range_deletes`, which are merged with the entries, hide from every
    /// reader.
    #[must_use]
    pub fn with_range_deletes(mut self, range_deletes: Fragments) -> Self {
        self.range_deletes = range_deletes;
        self
    }

    /// The range deletes that are still needed: of each stripe the newest, and in the oldest only
    /// where something may lie under them that is not merged with them.
    pub fn kept_range_deletes(&self, nothing_older: impl Fn(&Fragment) -> bool) -> Fragments {
        self.range_deletes.filtered(|fragment, seq_no| {
            let stripe = self.stripe(seq_no);
            let newest = fragment.seq_nos().iter().find(|newer| self.stripe(**newer) == stripe);
            newest == Some(&seq_no) && (stripe > 0 || !nothing_older(fragment))
        })
    }

    /// Judges the next entry; those of a key come newest first. `nothing_older`: no older entry of
    /// the key lies outside what is being merged.
    #[inline]
    pub fn judge(&mut self, entry: &Entry<'_>, nothing_older: bool) -> Verdict {
        if !self.has_key || self.key != entry.key {
            self.key.clear();
            self.key.extend_from_slice(entry.key);
            self.has_key = true;
            self.hidden_stripe = None;
            self.last_operand = None;
            if !self.range_deletes.is_empty() {
                let fragment = self.range_deletes.find(entry.key);
                self.covering.clear();
                self.covering.extend_from_slice(fragment.map_or(&[], Fragment::seq_nos));
            }
        }
        if !self.covering.is_empty() && self.is_covered(entry.seq_no) {
            return Verdict::Drop(DropReason::Covered);
        }
        let stripe = self.stripe(entry.seq_no);
        if self.hidden_stripe == Some(stripe) {
            return Verdict::Drop(DropReason::Shadowed);
        }
        if entry.kind() == ValueKind::Merge {
            return self.judge_operand(entry.seq_no);
        }
        self.hidden_stripe = Some(stripe);
        // In the oldest stripe no reader sees what lies before the entry; so if nothing older is
        // left anywhere, there is nothing for it to hide.
        if stripe > 0 || !nothing_older {
            return Verdict::Keep;
        }
        if entry.tag.is_tombstone() {
            return Verdict::Drop(DropReason::Tombstone);
        }
        if entry.kind() == ValueKind::Put && self.has_expired(entry) {
            return Verdict::Drop(DropReason::Expired);
        }
        Verdict::Keep
    }

    /// A merge operand needs what it is merged with: it hides nothing.
    #[cold]
    fn judge_operand(&mut self, seq_no: SeqNo) -> Verdict {
        // Of two copies one counts: an operand is not to be applied twice.
        if self.last_operand == Some(seq_no) {
            return Verdict::Drop(DropReason::Shadowed);
        }
        self.last_operand = Some(seq_no);
        if self.operator.is_some() { Verdict::Fold } else { Verdict::Keep }
    }

    /// The stripe in which a sequence number lies.
    #[inline]
    pub(crate) fn stripe(&self, seq_no: SeqNo) -> usize {
        self.times.stripe(seq_no)
    }

    /// Whether a range delete of its own stripe covers an entry with this number, of the key that was
    /// judged last.
    pub(crate) fn is_covered(&self, seq_no: SeqNo) -> bool {
        let newer = self.covering.iter().rev().find(|covering| **covering > seq_no);
        newer.is_some_and(|newer| self.stripe(*newer) == self.stripe(seq_no))
    }

    /// Whether a range delete covers all that is older than this number in its stripe, of the key that
    /// was judged last, down to `floor`.
    pub(crate) fn is_bounded(&self, seq_no: SeqNo, floor: SeqNo) -> bool {
        let older = self.covering.iter().find(|covering| **covering < seq_no);
        older.is_some_and(|older| *older > floor && self.stripe(*older) == self.stripe(seq_no))
    }

    /// Whether an entry's time is over for every reader who sees it.
    pub(crate) fn has_expired(&self, entry: &Entry<'_>) -> bool {
        self.times.is_over(entry)
    }

    /// What is written for operands instead of them hides what is older in their stripe.
    pub(crate) fn hide_older_than(&mut self, seq_no: SeqNo) {
        self.hidden_stripe = Some(self.stripe(seq_no));
    }

    /// The value of an entry, wherever it lies; `None` if it cannot be told.
    pub(crate) fn value_of(&self, entry: &Entry<'_>) -> Option<Vec<u8>> {
        match &self.fetch {
            _ if !entry.tag.is_blob() => Some(entry.value.to_vec()),
            Some(fetch) => fetch(entry),
            None => None,
        }
    }

    /// Whether merge operands lie above the entry that was judged last.
    pub(crate) fn is_under_operands(&self) -> bool {
        self.last_operand.is_some()
    }

    /// Whether no snapshot sees an entry with this number.
    pub(crate) fn is_newest(&self, seq_no: SeqNo) -> bool {
        self.stripe(seq_no) == self.times.snapshots().len()
    }

    /// Whether an entry with this number lies in the oldest stripe: no reader sees what is older.
    pub(crate) fn is_oldest(&self, seq_no: SeqNo) -> bool {
        self.stripe(seq_no) == 0
    }

    #[inline]
    pub(crate) fn filter(&self) -> Option<&Arc<dyn CompactionFilter>> {
        self.filter.as_ref()
    }

    pub(crate) fn operator(&self) -> Option<&Arc<dyn MergeOperator>> {
        self.operator.as_ref()
    }
}

impl fmt::Debug for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retention")
            .field("times", &self.times)
            .field("operator", &self.operator.as_ref().map(|operator| operator.name()))
            .field("filter", &self.filter.as_ref().map(|filter| filter.name()))
            .finish_non_exhaustive()
    }
}
