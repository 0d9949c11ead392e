//! A simulated file: what readers see, what the disk has, and what lies between the two.

use std::io;
use std::sync::Arc;

use super::content::{Content, PAGE_BYTES};

/// Longer files are refused: an offset out of a damaged file must not take the memory of the test.
const FILE_BYTES_MAX: u64 = 64 << 30;

/// A file without its names.
#[derive(Clone, Default)]
pub(super) struct Inode {
    /// What every reader sees.
    current: Content,
    /// What a power cut cannot take.
    pub(super) durable: Content,
    /// What happened since the last sync, oldest first.
    pub(super) pending: Vec<Pending>,
    /// How many names it has now; without names and handles it takes no room.
    pub(super) names: u32,
    /// How many open handles it has.
    pub(super) handles: u32,
    /// The current bytes in one piece, if somebody mapped them since the last change.
    mapped: Option<Arc<[u8]>>,
    /// Whether it was written past the page cache, in which it is not to be found then.
    pub(super) is_past_cache: bool,
}

/// A change to a file that is not durable yet.
#[derive(Clone)]
pub(super) struct Pending {
    /// Its place in the order of all changes to this disk.
    pub(super) order: u64,
    pub(super) change: Change,
}

#[derive(Clone)]
pub(super) enum Change {
    Write { offset: u64, bytes: Arc<[u8]> },
    SetLen(u64),
}

impl Pending {
    /// What of it lies in front of `start`, and behind `end`.
    fn outside(self, start: u64, end: u64) -> impl Iterator<Item = Self> {
        let Change::Write { offset, bytes } = self.change else {
            unreachable!("a length lies nowhere");
        };
        let cut = |at: u64| (at.saturating_sub(offset) as usize).min(bytes.len());
        let parts = [(offset, &bytes[..cut(start)]), (offset.max(end), &bytes[cut(end)..])];
        let order = self.order;
        let parts = parts.map(|(offset, bytes)| {
            let change = Change::Write { offset, bytes: bytes.into() };
            (!bytes.is_empty()).then_some(Self { order, change })
        });
        parts.into_iter().flatten()
    }
}

impl Inode {
    /// A file of a disk just started: it has these bytes, all of them durable.
    pub(super) fn durably(content: Content) -> Self {
        Self { current: content.clone(), durable: content, ..Self::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.current.len()
    }

    pub(super) fn current(&self) -> &Content {
        &self.current
    }

    pub(super) fn write(&mut self, order: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > FILE_BYTES_MAX) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if !bytes.is_empty() {
            self.mapped = None;
            self.current.write(offset, bytes);
            let change = Change::Write { offset, bytes: bytes.into() };
            self.pending.push(Pending { order, change });
        }
        Ok(())
    }

    pub(super) fn set_len(&mut self, order: u64, bytes: u64) -> io::Result<()> {
        if bytes > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.mapped = None;
        self.current.set_len(bytes);
        self.pending.push(Pending { order, change: Change::SetLen(bytes) });
        Ok(())
    }

    /// Makes the pending changes durable.
    pub(super) fn sync(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        // Whole pages go to the disk, as in a real cache. So bytes that an earlier failed sync had
        // dropped get there after all if a later write touched their page, and else never.
        let bytes = self.current.len();
        self.durable.set_len(bytes);
        for Pending { change, .. } in self.pending.drain(..) {
            let (start, end) = match change {
                Change::Write { offset, bytes } => (offset, offset + bytes.len() as u64),
                Change::SetLen(start) => (start, bytes),
            };
            self.durable.share_pages(&self.current, start, end);
        }
    }

    /// Makes the pages from `start` up to `end` durable; other changes stay pending. If the length is
    /// among them, all do: it has no page of its own.
    pub(super) fn sync_range(&mut self, start: u64, end: u64) {
        let is_longer = self.durable.len() != self.current.len();
        if is_longer || self.pending.iter().any(|p| matches!(p.change, Change::SetLen(_))) {
            return self.sync();
        }
        let page = PAGE_BYTES as u64;
        let (start, end) = (start / page * page, end.next_multiple_of(page));
        self.durable.share_pages(&self.current, start, end);
        let pending = std::mem::take(&mut self.pending);
        self.pending = pending.into_iter().flat_map(|it| it.outside(start, end)).collect();
    }

    /// Forgets that anything is pending, as a kernel does after a failed sync: readers go on seeing
    /// the bytes, the next sync has nothing to do and succeeds, and the disk has none of it.
    pub(super) fn lose_pages(&mut self) {
        self.pending.clear();
    }

    /// Replaces the bytes, on the disk too.
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        self.current = Content::from(bytes);
        self.durable = self.current.clone();
        self.pending.clear();
        self.mapped = None;
    }

    /// All bytes in one piece.
    pub(super) fn mapped(&mut self) -> Arc<[u8]> {
        self.mapped.get_or_insert_with(|| self.current.to_vec().into()).clone()
    }

    /// Takes over `other`'s piece, if the two hold the same bytes as of now.
    pub(super) fn share_mapped(&mut self, other: &Self) {
        if other.mapped.is_some() && self.current.is_shared_with(&other.current) {
            self.mapped.clone_from(&other.mapped);
        }
    }
}
