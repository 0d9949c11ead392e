//! Bytes that outlive the read that found them.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use lsm_io::Mapping;

use crate::cache::CachedBlock;

/// A slice of a table that keeps what it lies in alive: the mapped file, or one decoded block.
/// Cheap to clone; dereferences to `[u8]`.
#[derive(Clone)]
pub struct PinnedSlice {
    backing: Backing,
    range: Range<usize>,
}

#[derive(Clone)]
pub(crate) enum Backing {
    /// The mapped file.
    Mapped(Mapping),
    /// A block that was read or decoded.
    Block(Arc<CachedBlock>),
    /// Sections that were read when the table was opened.
    Held(Arc<[u8]>),
}

impl PinnedSlice {
    /// The bytes `range` of `backing`; empty if there are none such.
    pub(crate) fn new(backing: Backing, range: Range<usize>) -> Self {
        Self { backing, range }
    }

    /// A slice of this slice.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let start = self.range.start.saturating_add(range.start);
        let end = self.range.start.saturating_add(range.end).min(self.range.end);
        Self { backing: self.backing.clone(), range: start..end }
    }

    /// Bytes of memory that are held for this slice alone: none if the file is mapped.
    pub(crate) fn memory_bytes(&self) -> usize {
        match &self.backing {
            Backing::Mapped(_) => 0,
            Backing::Block(_) | Backing::Held(_) => self.range.len(),
        }
    }
}

impl Deref for PinnedSlice {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let bytes: &[u8] = match &self.backing {
            Backing::Mapped(mapping) => mapping,
            Backing::Block(block) => block.bytes(),
            Backing::Held(bytes) => bytes,
        };
        bytes.get(self.range.clone()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for PinnedSlice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for PinnedSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedSlice({} bytes)", self.len())
    }
}
