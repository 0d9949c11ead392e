//! Reading a block: entries by position, a key by its tag, a place in order by digests.

use std::cmp::Ordering;
use std::ops::Range;

use lsm_entry::{Entry, SeqNo, compare_internal, digest, key_hash};
use lsm_io::Malformed;

use super::layout::BlockLayout;
use super::{HEADER_BYTES, hash_tag};
use crate::compare::{compare_prefix, is_same};
use crate::simd;

/// What looking for a key in one block came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lookup<'a> {
    /// The entry is here, at this position.
    At(usize, Entry<'a>),
    /// The key is not in the table at or below the sequence number asked for.
    Absent,
    /// The block ends with newer entries of the key; older ones may follow in the next block.
    GoesOn,
}

/// A block's bytes together with where their parts are. What is read lives as long as the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockView<'a, 'l> {
    bytes: &'a [u8],
    layout: &'l BlockLayout,
}

impl<'a, 'l> BlockView<'a, 'l> {
    /// `layout` is that of `bytes`, and its entries were checked.
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], layout: &'l BlockLayout) -> Self {
        Self { bytes, layout }
    }

    /// How many entries there are; at least one.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.layout.count()
    }

    /// The entry at `index`, which is below the count.
    #[inline]
    pub(crate) fn entry(&self, index: usize) -> Entry<'a> {
        let (start, key_end, end) = self.layout.entry_bounds(self.bytes, index);
        // The fallbacks are for blocks that change after their entries were checked, which only a
        // file that is written to while it is mapped can do: wrong bytes then, but no panic.
        Entry {
            key: self.bytes.get(start..key_end).unwrap_or_default(),
            seq_no: self.layout.seq_no(self.bytes, index),
            tag: self.layout.tag(self.bytes, index),
            value: self.bytes.get(key_end..end).unwrap_or_default(),
        }
    }

    /// Key and value of the entry at `index`, which is below the count. `None` only in a block that
    /// has changed after its entries were checked (see [`entry`](Self::entry)).
    #[inline]
    pub(crate) fn key_and_value(&self, index: usize) -> Option<(&'a [u8], &'a [u8])> {
        let (start, key_end, end) = self.layout.plain_entry_bounds(self.bytes, index);
        self.bytes.get(start..end)?.split_at_checked(key_end - start)
    }

    /// Where the key and the value of the entry at `index` are in the block.
    pub(crate) fn entry_ranges(&self, index: usize) -> (Range<usize>, Range<usize>) {
        let (start, key_end, end) = self.layout.entry_bounds(self.bytes, index);
        (start..key_end, key_end..end)
    }

    /// The key of the entry at `index`, which is below the count.
    #[inline]
    pub(crate) fn key(&self, index: usize) -> &'a [u8] {
        let (start, key_end, _) = self.layout.entry_bounds(self.bytes, index);
        self.bytes.get(start..key_end).unwrap_or_default()
    }

    /// The key of the first entry.
    #[inline]
    pub(crate) fn first_key(&self) -> &'a [u8] {
        self.key(0)
    }

    /// The key of the last entry.
    #[inline]
    pub(crate) fn last_key(&self) -> &'a [u8] {
        self.key(self.count() - 1)
    }

    /// Finds the newest entry of `key`, whose hash is `hash`, with a sequence number up to
    /// `seq_no`. The block is the first whose last key is not below `key`, or follows such a one
    /// that answered [`Lookup::GoesOn`].
    #[inline(always)] // So that of the layout only what is asked for is worked out.
    pub(crate) fn find(&self, key: &[u8], hash: u64, seq_no: SeqNo) -> Lookup<'a> {
        let (count, tag) = (self.count(), hash_tag(hash));
        let mut base = 0;
        while base < count {
            let tags = self.bytes.get(HEADER_BYTES + base..).unwrap_or_default();
            let mut matches = simd::tag_mask(tags, (count - base).min(simd::MASK_TAGS), tag);
            // Versions of a key lie newest first, so the first one old enough is the one.
            while matches != 0 {
                let index = base + matches.trailing_zeros() as usize;
                matches &= matches - 1;
                let (start, key_end, end) = self.layout.entry_bounds(self.bytes, index);
                let found = self.bytes.get(start..key_end).unwrap_or_default();
                self.prefetch_rest(start, end);
                if is_same(found, key) {
                    let entry = Entry {
                        key: found,
                        seq_no: self.layout.seq_no(self.bytes, index),
                        tag: self.layout.tag(self.bytes, index),
                        value: self.bytes.get(key_end..end).unwrap_or_default(),
                    };
                    if entry.seq_no <= seq_no {
                        return Lookup::At(index, entry);
                    }
                }
            }
            base += simd::MASK_TAGS;
        }
        if self.last_key() == key { Lookup::GoesOn } else { Lookup::Absent }
    }

    /// Asks for the second cache line of an entry, and for its last, while the first is waited for: who
    /// finds it reads all of it. What lies in between the processor brings in by itself.
    #[inline(always)]
    fn prefetch_rest(&self, start: usize, end: usize) {
        let at = self.bytes.as_ptr().addr();
        simd::prefetch_at(at + start + simd::LINE_BYTES, 1);
        simd::prefetch_at(at + end - 1, 1);
    }

    /// The position of the first entry at or after (`key`, `seq_no`) in internal order; the count
    /// if all are before it.
    pub(crate) fn lower_bound(&self, key: &[u8], seq_no: SeqNo) -> usize {
        let prefix_bytes = self.layout.prefix_bytes as usize;
        let prefix = self.first_key().get(..prefix_bytes).unwrap_or_default();
        match compare_prefix(key, prefix) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.count(),
            Ordering::Equal => {}
        }
        let (mut lower, mut upper) = self.digest_range(digest(key, prefix_bytes));
        // Keys whose digests are equal, and versions of one key, are told apart by comparing.
        while lower < upper {
            let middle = lower.midpoint(upper);
            let seq_no_there = self.layout.seq_no(self.bytes, middle);
            if compare_internal(self.key(middle), seq_no_there, key, seq_no) == Ordering::Less {
                lower = middle + 1;
            } else {
                upper = middle;
            }
        }
        lower
    }

    /// The positions of the entries whose digest is `wanted`: an empty range, where there are none,
    /// stands where they would be.
    #[inline]
    fn digest_range(&self, wanted: u64) -> (usize, usize) {
        let digests = self.bytes.get(self.layout.digests_at as usize..).unwrap_or_default();
        if self.layout.digest_bytes() == 8 {
            let lower = simd::rank_u64(digests, wanted);
            let is_there = digest_at::<8>(digests, lower) == Some(wanted.to_le_bytes());
            match wanted.checked_add(1) {
                _ if !is_there => (lower, lower),
                Some(above) => (lower, simd::rank_u64(digests, above)),
                None => (lower, self.count()),
            }
        } else {
            let wanted = (wanted >> 32) as u32;
            let lower = simd::rank_u32(digests, wanted);
            let is_there = digest_at::<4>(digests, lower) == Some(wanted.to_le_bytes());
            match wanted.checked_add(1) {
                _ if !is_there => (lower, lower),
                Some(above) => (lower, simd::rank_u32(digests, above)),
                None => (lower, self.count()),
            }
        }
    }

    /// Checks everything that reading takes on trust: the order of the entries, the tags, the
    /// common prefix, the digests. For `verify`; a checksum that matches makes them right.
    pub(crate) fn check_order(&self) -> Result<(), Malformed> {
        let malformed = |offset: u32, reason| Err(Malformed { offset: offset as usize, reason });
        let prefix_bytes = self.layout.prefix_bytes as usize;
        let prefix = self.first_key().get(..prefix_bytes).unwrap_or_default();
        let digests = self.bytes.get(self.layout.digests_at as usize..).unwrap_or_default();
        for index in 0..self.count() {
            let entry = self.entry(index);
            if index > 0 {
                let before = self.entry(index - 1);
                if before.compare(&entry) != Ordering::Less {
                    return malformed(self.layout.entries_at, "the entries are out of order");
                }
                if before.key == entry.key && self.layout.has_distinct_keys() {
                    return malformed(1, "two entries are of one key, but the header says no");
                }
            }
            if self.bytes.get(HEADER_BYTES + index) != Some(&hash_tag(key_hash(entry.key))) {
                return malformed(HEADER_BYTES as u32, "a tag is not that of its key");
            }
            if !entry.key.starts_with(prefix) {
                return malformed(6, "a key does not start with the common prefix");
            }
            let expected = digest(entry.key, prefix_bytes);
            let is_right = if self.layout.digest_bytes() == 8 {
                digest_at::<8>(digests, index) == Some(expected.to_le_bytes())
            } else {
                digest_at::<4>(digests, index) == Some(((expected >> 32) as u32).to_le_bytes())
            };
            if !is_right {
                return malformed(self.layout.digests_at, "a digest is not that of its key");
            }
        }
        Ok(())
    }
}

#[inline]
fn digest_at<const WIDTH: usize>(digests: &[u8], index: usize) -> Option<[u8; WIDTH]> {
    digests.get(index * WIDTH..)?.first_chunk::<WIDTH>().copied()
}

#[cfg(test)]
mod tests {
    use lsm_entry::MAX_SEQ_NO;

    use super::*;

    /// What may be read from a block that a file's mapping shows, but never was verified as it is now.
    fn read_all(bytes: &[u8]) {
        let layout = BlockLayout::of_verified(bytes);
        let view = BlockView::new(bytes, &layout);
        assert!(view.count() > 0);
        layout.mean_entry_bytes();
        for tag in 0..=u8::MAX {
            view.find(b"key", u64::from(tag) << 56, MAX_SEQ_NO);
        }
        for index in [0, view.count() / 2, view.count() - 1] {
            view.entry(index);
            view.key_and_value(index);
        }
        view.lower_bound(b"key", MAX_SEQ_NO);
    }

    #[test]
    fn a_block_that_has_changed_since_it_was_verified_is_read_without_a_panic() {
        for byte in 0..=u8::MAX {
            read_all(&[byte; 200]);
        }
        // Without a header, and with one that has no entries.
        read_all(&[]);
        read_all(&[0; HEADER_BYTES]);
    }
}
