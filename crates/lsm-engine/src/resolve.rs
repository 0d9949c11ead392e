//! What the versions of a key mean to a reader.
//!
//! Versions are met newest first (or, by a scan that goes backward, oldest first). A put, a tombstone
//! or a range delete ends the search: that is the key's value, or the base of the operands above it.
//! Of a chain of `n` operands every read pays for `n`; flushes and merges shorten chains, and a
//! memtable in which a long one is met is flushed soon.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lsm_entry::{Cursor, Entry, SeqNo, ValueKind};

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
    fn take(&mut self, meaning: Meaning<'_>) -> bool {
        match meaning {
            Meaning::Operand(operand) => {
                self.operands.push(operand);
                return false;
            }
            Meaning::Value(value) => self.base = Some(value.to_vec()),
            Meaning::Gone => {}
        }
        true
    }
}

impl Shared {
    /// What an entry means to its key at `time_ms`, or at present. The clock is read only when an entry
    /// with expiry is met.
    #[inline]
    pub(crate) fn resolve<'a>(&self, entry: &Entry<'a>, time_ms: Option<u64>) -> Meaning<'a> {
        match entry.kind() {
            ValueKind::Put if entry.tag.has_expiry() => {
                self.unexpired(entry, time_ms).map_or(Meaning::Gone, Meaning::Value)
            }
            ValueKind::Put => Meaning::Value(entry.value),
            ValueKind::Merge => Meaning::Operand(entry.user_value()),
            _ => Meaning::Gone,
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
        (seq_no, time_ms): (SeqNo, Option<u64>),
    ) -> Result<Option<Value>> {
        let chain = self.chain(core, view, key, hash, (seq_no, time_ms))?;
        let value = core.fold(key, chain.base.as_deref(), &chain.operands.reversed())?;
        Ok(Some(Slice::copied(&value)))
    }

    fn chain(
        &self,
        core: &KeyspaceCore,
        view: &View,
        key: &[u8],
        hash: u64,
        (seq_no, time_ms): (SeqNo, Option<u64>),
    ) -> Result<Chain> {
        let mut chain = Chain::default();
        for memtable in std::iter::once(&view.active).chain(&view.sealed) {
            let cover = memtable.cover(key, seq_no);
            let versions = memtable.versions(key, hash, seq_no);
            let mut newer = versions.take_while(|entry| entry.seq_no >= cover);
            let is_end = newer.any(|entry| chain.take(self.resolve(&entry, time_ms)));
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
                    if chain.take(self.resolve(&entry, time_ms)) {
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
