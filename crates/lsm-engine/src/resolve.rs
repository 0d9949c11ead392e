//! What the versions of a key mean to a reader.
//!
//! Versions are met newest first (or, by a scan that goes backward, oldest first). A put, a tombstone
//! or a range delete ends the search: that is the key's value, or the base of the operands above it.
//! Of a chain of `n` operands every read pays for `n`; flushes and merges shorten chains, and a
//! memtable in which a long one is met is flushed soon.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lsm_entry::{BlobRef, Cursor, Entry, SeqNo, Tag, ValueKind};

use crate::error::Result;
use crate::keyspace::KeyspaceCore;
use crate::shared::Shared;
use crate::value::{Slice, Value};
use crate::view::View;

/// Operands of one key in the active memtable, at which a read has it flushed.
const LONG_CHAIN: usize = 1000;

/// What one version of a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning<'a> {
    /// This is its value.
    Value(&'a [u8]),
    /// This is its value, which lies in a blob file: where, as [`Entry::blob`] says.
    Large(Option<BlobRef>),
    /// It has none.
    Gone,
    /// What older versions come to has to be merged with this.
    Operand(&'a [u8]),
}

/// Merge operands of one key, in the order in which they were met.
#[derive(Debug, Default)]
pub(crate) struct Operands {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Operands {
    pub(crate) fn push(&mut self, operand: &[u8]) {
        self.bytes.extend_from_slice(operand);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn in_order(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end]).collect()
    }

    /// Oldest first, where the newest was met first.
    pub(crate) fn reversed(&self) -> Vec<&[u8]> {
        let mut operands = self.in_order();
        operands.reverse();
        operands
    }
}

/// What is known of a key whose newest versions are operands, met newest first.
#[derive(Debug, Default)]
struct Chain {
    operands: Operands,
    base: Option<Vec<u8>>,
}

impl Chain {
    /// Takes the next older version; says whether it ends the search.
    fn take(&mut self, meaning: Meaning<'_>, view: &View) -> Result<bool> {
        match meaning {
            Meaning::Operand(operand) => {
                self.operands.push(operand);
                return Ok(false);
            }
            Meaning::Value(value) => self.base = Some(value.to_vec()),
            Meaning::Large(place) => self.base = Some(view.tree.blobs.load(place)?.to_vec()),
            Meaning::Gone => {}
        }
        Ok(true)
    }
}

impl Shared {
    /// What an entry means to its key at `time_ms`, or at present. The clock is read only when an entry
    /// with expiry is met.
    #[inline]
    pub(crate) fn resolve<'a>(&self, entry: &Entry<'a>, time_ms: Option<u64>) -> Meaning<'a> {
        match entry.kind() {
            ValueKind::Put if entry.tag == Tag::PUT => Meaning::Value(entry.value),
            ValueKind::Put => self.resolve_flagged(entry, time_ms),
            ValueKind::Merge => Meaning::Operand(entry.user_value()),
            _ => Meaning::Gone,
        }
    }

    /// What a put means that may expire, or whose value lies elsewhere.
    fn resolve_flagged<'a>(&self, entry: &Entry<'a>, time_ms: Option<u64>) -> Meaning<'a> {
        let value = match entry.tag.has_expiry() {
            true => self.unexpired(entry, time_ms),
            false => Some(entry.value),
        };
        match (value, entry.blob()) {
            (None, _) => Meaning::Gone,
            (Some(value), None) => Meaning::Value(value),
            (Some(_), Some(place)) => Meaning::Large(place),
        }
    }

    /// The value of a key whose newest version is an operand.
    #[cold]
    pub(crate) fn get_folded(
        &self,
        core: &KeyspaceCore,
        view: &View,
        key: &[u8],
        hash: u64,
        seq_no: SeqNo,
        time_ms: Option<u64>,
    ) -> Result<Value> {
        let chain = self.chain(core, view, key, hash, seq_no, time_ms)?;
        let value = core.fold(key, chain.base.as_deref(), &chain.operands.reversed())?;
        Ok(Slice::copied(&value))
    }

    fn chain(
        &self,
        core: &KeyspaceCore,
        view: &View,
        key: &[u8],
        hash: u64,
        seq_no: SeqNo,
        time_ms: Option<u64>,
    ) -> Result<Chain> {
        let mut chain = Chain::default();
        for memtable in std::iter::once(&view.active).chain(&view.sealed) {
            let cover = memtable.cover(key, seq_no);
            let versions = memtable.versions(key, hash, seq_no);
            let mut is_end = false;
            for entry in versions.take_while(|entry| entry.seq_no >= cover) {
                is_end = chain.take(self.resolve(&entry, time_ms), view)?;
                if is_end {
                    break;
                }
            }
            if chain.operands.len() > LONG_CHAIN && Arc::ptr_eq(memtable, &view.active) {
                self.note_long_chain(core);
            }
            if is_end || cover > 0 {
                return Ok(chain);
            }
        }
        for live in view.tree.runs.iter().filter_map(|run| run.find(key)) {
            let table = live.table()?;
            let cover = live.cover(key, seq_no)?;
            if table.may_contain(hash) {
                let mut cursor = table.cursor();
                cursor.seek(key, seq_no)?;
                let is_newer = |entry: &Entry<'_>| entry.key == key && entry.seq_no >= cover;
                while let Some(entry) = cursor.entry().filter(is_newer) {
                    if chain.take(self.resolve(&entry, time_ms), view)? {
                        return Ok(chain);
                    }
                    cursor.next()?;
                }
            }
            if cover > 0 {
                return Ok(chain);
            }
        }
        Ok(chain)
    }

    fn note_long_chain(&self, core: &KeyspaceCore) {
        if !core.has_long_chain.swap(true, Ordering::Relaxed) {
            self.background.wake_flush();
        }
    }
}
