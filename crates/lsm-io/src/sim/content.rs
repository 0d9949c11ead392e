//! The bytes of a simulated file: in pages that are copied when written, and shared until then.
//!
//! A copy of a file costs one reference, whatever its length, so images of a crashed disk are cheap.
//! Pages that were never written, or only with zeros, take no memory: a log segment filled with
//! zeros ahead of use is almost free.

use std::sync::Arc;

pub(super) const PAGE_BYTES: usize = 4096;

type Page = [u8; PAGE_BYTES];

const ZEROS: &Page = &[0; PAGE_BYTES];

/// Bytes with a length; those never written are zero.
#[derive(Clone, Default)]
pub(super) struct Content {
    bytes: u64,
    // Invariant: as many pages as `bytes` needs, and zeros in the last one past the end.
    pages: Arc<Vec<Option<Arc<Page>>>>,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.bytes
    }

    /// Fills the front of `buffer` from `offset`; says how much of it the file had bytes for.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let available = self.bytes.saturating_sub(offset).min(buffer.len() as u64) as usize;
        for (page, start, piece) in page_pieces(offset, available) {
            let target = &mut buffer[piece];
            match &self.pages[page] {
                Some(source) => target.copy_from_slice(&source[start..start + target.len()]),
                None => target.fill(0),
            }
        }
        available
    }

    /// Writes at `offset`, growing where needed. Nothing written is no growth.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        if end > self.bytes {
            self.set_len(end);
        }
        let pages = Arc::make_mut(&mut self.pages);
        for (page, start, piece) in page_pieces(offset, bytes.len()) {
            let source = &bytes[piece];
            let page = &mut pages[page];
            // Compared as a whole, for most of what a log segment is filled with is zeros.
            let is_zero = *source == ZEROS[..source.len()];
            if is_zero && (page.is_none() || source.len() == PAGE_BYTES) {
                *page = None;
                continue;
            }
            let page = Arc::make_mut(page.get_or_insert_with(|| Arc::new([0; PAGE_BYTES])));
            page[start..start + source.len()].copy_from_slice(source);
        }
    }

    /// Cuts, or extends with zeros.
    pub(super) fn set_len(&mut self, bytes: u64) {
        if bytes == self.bytes {
            return;
        }
        let pages = Arc::make_mut(&mut self.pages);
        pages.resize(bytes.div_ceil(PAGE_BYTES as u64) as usize, None);
        let kept = (bytes % PAGE_BYTES as u64) as usize;
        if bytes < self.bytes
            && kept > 0
            && let Some(Some(last)) = pages.last_mut()
        {
            Arc::make_mut(last)[kept..].fill(0);
        }
        self.bytes = bytes;
    }

    /// Shares `other`'s pages that hold bytes from `start` up to `end`; both are equally long.
    pub(super) fn share_pages(&mut self, other: &Self, start: u64, end: u64) {
        debug_assert_eq!(self.bytes, other.bytes, "pages are shared between equal lengths");
        let end = end.min(self.bytes);
        if start >= end {
            return;
        }
        let range = (start as usize / PAGE_BYTES)..(end as usize).div_ceil(PAGE_BYTES);
        Arc::make_mut(&mut self.pages)[range.clone()].clone_from_slice(&other.pages[range]);
    }

    /// Whether the two are equal because every page of theirs is one and the same.
    pub(super) fn is_shared_with(&self, other: &Self) -> bool {
        let is_same = |pair: (&Option<Arc<Page>>, &Option<Arc<Page>>)| match pair {
            (Some(left), Some(right)) => Arc::ptr_eq(left, right),
            (left, right) => left.is_none() && right.is_none(),
        };
        self.bytes == other.bytes && self.pages.iter().zip(other.pages.iter()).all(is_same)
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes as usize];
        self.read(0, &mut bytes);
        bytes
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(0, bytes);
        content
    }
}

/// Cuts `length` bytes at `offset` at the page borders: page, start in the page, range of the bytes.
fn page_pieces(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (usize, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let position = offset + done as u64;
        let start = (position % PAGE_BYTES as u64) as usize;
        let piece = done..length.min(done + PAGE_BYTES - start);
        done = piece.end;
        Some(((position / PAGE_BYTES as u64) as usize, start, piece))
    })
}

#[cfg(test)]
mod tests {
    use super::super::chance::Chance;
    use super::*;

    #[test]
    fn content_agrees_with_a_vector() {
        for seed in 0..50 {
            let mut chance = Chance::new(seed);
            let mut model: Vec<u8> = Vec::new();
            let mut content = Content::default();
            let mut copies: Vec<(Vec<u8>, Content)> = Vec::new();
            for _ in 0..60 {
                let offset = chance.below(3 * PAGE_BYTES as u64) as usize;
                match chance.below(5) {
                    0 => {
                        model.resize(offset, 0);
                        content.set_len(offset as u64);
                    }
                    1 => copies.push((model.clone(), content.clone())),
                    _ => {
                        let fill = chance.below(3) as u8;
                        let bytes = vec![fill; chance.below(2 * PAGE_BYTES as u64) as usize];
                        if !bytes.is_empty() {
                            model.resize(model.len().max(offset + bytes.len()), 0);
                            model[offset..offset + bytes.len()].copy_from_slice(&bytes);
                        }
                        content.write(offset as u64, &bytes);
                    }
                }
                assert_eq!(content.len(), model.len() as u64, "seed {seed}");
                assert_eq!(content.to_vec(), model, "seed {seed}");
            }
            for (model, content) in copies {
                assert_eq!(content.to_vec(), model, "a copy does not change, seed {seed}");
            }
        }
    }

    #[test]
    fn zeros_take_no_memory() {
        let mut content = Content::default();
        content.write(0, &vec![0; 1 << 20]);
        assert_eq!(content.len(), 1 << 20);
        assert!(content.pages.iter().all(Option::is_none));
    }
}
