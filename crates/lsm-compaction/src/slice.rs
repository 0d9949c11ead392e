//! A merge cut by its keys into slices, which can be carried out at the same time.
//!
//! ```text
//!   inputs    a ────────────────── z        two runs of level 0
//!                c ──────────── w
//!             a ── g h ──── n o ── z        the tables below them
//!   slices    ────── k│ ──────────          through k, and behind it
//! ```
//!
//! All versions of a key lie in one slice, and range deletes are cut where slices end as they are
//! where tables end. So what the slices' merges write, one behind the other, is one run.

use lsm_entry::{Fragments, bound_after};

/// The keys behind one key and through another. The default is all keys.
///
/// ```
/// use lsm_compaction::{Sample, Slice};
///
/// let sample = |key: &str, bytes| Sample { key: key.into(), bytes };
/// let slices = Slice::cut(vec![sample("k", 10), sample("z", 15), sample("c", 10)], 2);
/// assert_eq!(slices[0].through(), Some(&b"k"[..]));
/// assert_eq!(slices[1].lower(), b"k\0", "the first key behind it");
/// assert_eq!(slices.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    after: Option<Vec<u8>>,
    through: Option<Vec<u8>>,
}

/// A key of a merge's inputs, and about how many of their bytes lie between it and the key sampled
/// before it from the same input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The key.
    pub key: Vec<u8>,
    /// The bytes, its own included.
    pub bytes: u64,
}

impl Slice {
    /// Slices of about equal bytes that together are all keys, ascending: `count` of them, fewer if
    /// the samples do not tell so many apart, at least one.
    pub fn cut(mut samples: Vec<Sample>, count: usize) -> Vec<Self> {
        samples.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let total: u64 = samples.iter().map(|sample| sample.bytes).sum();
        let last = samples.last().map(|sample| sample.key.clone());
        let mut slices = vec![Self::default()];
        let mut bytes = 0;
        for sample in samples {
            bytes += sample.bytes;
            let is_full = bytes * count as u64 >= total * slices.len() as u64;
            let open = slices.last_mut().filter(|open| {
                let lies_behind = open.after.as_ref().is_none_or(|after| *after < sample.key);
                lies_behind && last.as_ref().is_some_and(|last| sample.key < *last)
            });
            if let Some(open) = open.filter(|_| is_full) {
                open.through = Some(sample.key.clone());
                slices.push(Self { after: Some(sample.key), through: None });
            }
        }
        slices
    }

    /// The smallest key that may be in it.
    pub fn lower(&self) -> Vec<u8> {
        self.after.as_deref().map(bound_after).unwrap_or_default()
    }

    /// The last key that may be in it; `None`: it has no end.
    pub fn through(&self) -> Option<&[u8]> {
        self.through.as_deref()
    }

    /// What of some range deletes lies in it.
    pub fn clip(&self, range_deletes: &Fragments) -> Fragments {
        let upper = self.through().map(bound_after).unwrap_or_default();
        range_deletes.clipped(&self.lower(), &upper)
    }
}
