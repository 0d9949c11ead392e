//! Which entries a merge keeps.
//!
//! Snapshots cut the order of writes into *stripes*: no reader stands within one. So of each key
//! only the newest entry of each stripe can ever be seen.
//!
//! ```text
//!   older ──────────── snapshot 10 ──────────── snapshot 20 ──────────── newer
//!        stripe 0                  stripe 1                  stripe 2
//! ```

use lsm_entry::{Entry, SeqNo, ValueKind};

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// It stays.
    Keep,
    /// It goes.
    Drop(DropReason),
}

/// Why an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// A newer one of its key hides it from every reader.
    Shadowed,
    /// A tombstone that hides nothing any more.
    Tombstone,
    /// Its time is over, and it hides nothing.
    Expired,
}

impl Keep {
    /// Whether the entry stays.
    pub fn is_keep(self) -> bool {
        self == Self::Keep
    }
}

/// Judges entries in internal order, one after the other.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Ascending.
    snapshots: Vec<SeqNo>,
    now_ms: u64,
    key: Vec<u8>,
    has_key: bool,
    /// The stripe of the last entry of the key that hides older ones.
    hidden_stripe: Option<usize>,
}

impl Retention {
    /// Keeps what is seen at each of `snapshots` (ascending) and at the present, which is `now_ms`
    /// milliseconds after 1970.
    pub fn new(snapshots: Vec<SeqNo>, now_ms: u64) -> Self {
        debug_assert!(snapshots.is_sorted(), "snapshots ascend");
        Self { snapshots, now_ms, key: Vec::new(), has_key: false, hidden_stripe: None }
    }

    /// Judges the next entry; those of a key come newest first. `nothing_older`: no older entry of
    /// the key lies outside what is being merged.
    #[inline]
    pub fn keep(&mut self, entry: &Entry<'_>, nothing_older: bool) -> Keep {
        if !self.has_key || self.key != entry.key {
            self.key.clear();
            self.key.extend_from_slice(entry.key);
            self.has_key = true;
            self.hidden_stripe = None;
        }
        let stripe = self.snapshots.partition_point(|snapshot| *snapshot < entry.seq_no);
        if self.hidden_stripe == Some(stripe) {
            return Keep::Drop(DropReason::Shadowed);
        }
        // A merge operand needs what it is merged with: it hides nothing.
        if entry.kind() != ValueKind::Merge {
            self.hidden_stripe = Some(stripe);
        }
        // In the oldest stripe no reader sees what lies before the entry; so if nothing older is
        // left anywhere, there is nothing for it to hide.
        if stripe > 0 || !nothing_older {
            return Keep::Keep;
        }
        if entry.tag.is_tombstone() {
            return Keep::Drop(DropReason::Tombstone);
        }
        let is_expired = entry.expires_at_ms().is_some_and(|expires| expires <= self.now_ms);
        if is_expired && self.snapshots.is_empty() && entry.kind() == ValueKind::Put {
            return Keep::Drop(DropReason::Expired);
        }
        Keep::Keep
    }
}
