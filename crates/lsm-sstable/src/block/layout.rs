//! Where the parts of a block are, read from its header.

use lsm_entry::{MAX_SEQ_NO, Tag, ValueKind, digest};
use lsm_io::Malformed;

use super::{
    FLAG_DISTINCT_KEYS, FLAG_ENDS, FLAG_KEY_LENGTHS, FLAG_KINDS, FLAG_WIDE_DIGESTS, FLAG_WIDE_ENDS,
    FLAGS, HEADER_BYTES, LAYOUT_VERSION,
};

/// The parts of one block as offsets into its bytes.
///
/// Invariant: every offset lies within the block that the layout was parsed from; what lies
/// *inside* the parts is checked once, by [`BlockLayout::check_entries`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockLayout {
    pub(super) count: u32,
    pub(super) prefix_bytes: u32,
    /// Length of every key, if there are no key lengths.
    pub(super) key_bytes: u32,
    /// Length of every entry, if there are no ends.
    pub(super) entry_bytes: u32,
    pub(super) seq_base: u64,
    /// Keeps the bytes of a sequence number, of eight that are loaded.
    pub(super) seq_mask: u64,
    pub(super) seq_bytes: u32,
    /// The kind of every entry, if there are no kinds.
    pub(super) tag: Tag,
    pub(super) flags: u8,
    pub(super) seqs_at: u32,
    pub(super) kinds_at: u32,
    pub(super) key_lengths_at: u32,
    pub(super) ends_at: u32,
    pub(super) entries_at: u32,
    pub(super) entries_end: u32,
    pub(super) digests_at: u32,
}

impl BlockLayout {
    /// Reads the header of a whole block, digests and all.
    #[inline]
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let layout = Self::of_header(bytes)?;
        if layout.bytes() != bytes.len() {
            return Err(Malformed { offset: 0, reason: "block is not as long as its header says" });
        }
        Ok(layout)
    }

    /// Reads the header of a block that was verified already and starts at `bytes`, which may go on
    /// behind it. Asks nothing again: of anything else than such a block the layout means nothing, and
    /// what is read by it is wrong or empty.
    #[inline]
    pub(crate) fn of_verified(bytes: &[u8]) -> Self {
        let layout = Self::locate(bytes.first_chunk().unwrap_or(&[0; HEADER_BYTES]));
        // A block has an entry, on which those who walk it and divide by their number rely.
        Self { count: layout.count.max(1), ..layout }
    }

    /// Reads the header of a block whose digests were left out, appends them, and checks the
    /// entries as [`check_entries`](Self::check_entries) does.
    pub(crate) fn complete(bytes: &mut Vec<u8>) -> Result<Self, Malformed> {
        let layout = Self::of_header(bytes)?;
        if layout.digests_at as usize != bytes.len() {
            return Err(Malformed { offset: 0, reason: "block is not as long as its header says" });
        }
        layout.check_entries(bytes)?;
        bytes.reserve_exact(layout.bytes() - bytes.len());
        for index in 0..layout.count() {
            let (start, key_end, _) = layout.entry_bounds(bytes, index);
            let key = bytes.get(start..key_end).unwrap_or_default();
            let digest = digest(key, layout.prefix_bytes as usize);
            if layout.flags & FLAG_WIDE_DIGESTS != 0 {
                bytes.extend_from_slice(&digest.to_le_bytes());
            } else {
                bytes.extend_from_slice(&((digest >> 32) as u32).to_le_bytes());
            }
        }
        Ok(layout)
    }

    /// Reads the header; the sum of the parts is yet to be compared with the block's length.
    fn of_header(bytes: &[u8]) -> Result<Self, Malformed> {
        let malformed = |offset, reason| Err(Malformed { offset, reason });
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return malformed(bytes.len(), "block ends inside its header");
        };
        let (version, flags, seq_bytes) = (header[0], header[1], header[2]);
        if version != LAYOUT_VERSION {
            return malformed(0, "block is of an unknown layout");
        }
        let is_zero = |at: usize, bytes: usize| header[at..at + bytes].iter().all(|it| *it == 0);
        if flags & !FLAGS != 0 || seq_bytes > 7 || !is_zero(10, 2) || !is_zero(28, 4) {
            return malformed(1, "block header has unknown bits set");
        }
        if Tag::from_byte(header[3]).is_none() {
            return malformed(3, "block is of an unknown kind");
        }
        let layout = Self::locate(header);
        if layout.count == 0 {
            return malformed(4, "block has no entries");
        }
        let entries_bytes = u64::from(u32_at(header, 24));
        let entries_end = u64::from(layout.entries_at) + entries_bytes;
        if entries_end + 8 > u64::from(u32::MAX) || (bytes.len() as u64) < entries_end {
            return malformed(24, "block ends inside its entries");
        }
        let is_fixed = flags & FLAG_ENDS == 0;
        let fixed_bytes = u64::from(layout.entry_bytes) * u64::from(layout.count);
        if is_fixed && fixed_bytes != entries_bytes {
            return malformed(12, "entries of one length do not fill their part of the block");
        }
        Ok(layout)
    }

    /// Where the parts are, if the header says the truth. Of a header whose bits are known the sums up
    /// to the entries cannot overflow: those parts stay below 2 MiB together.
    #[inline(always)]
    fn locate(header: &[u8; HEADER_BYTES]) -> Self {
        let u16_at = |at: usize| u32::from(u16::from_le_bytes([header[at], header[at + 1]]));
        let (flags, seq_bytes, count) = (header[1], u32::from(header[2]), u16_at(4));
        let each = |flag: u8, width: u32| if flags & flag != 0 { count * width } else { 0 };
        let end_bytes = if flags & FLAG_WIDE_ENDS != 0 { 4 } else { 2 };
        let seqs_at = HEADER_BYTES as u32 + count;
        let kinds_at = seqs_at + count * seq_bytes;
        let key_lengths_at = kinds_at + each(FLAG_KINDS, 1);
        let ends_at = key_lengths_at + each(FLAG_KEY_LENGTHS, 2);
        let entries_at = ends_at + each(FLAG_ENDS, end_bytes);
        let entries_end = entries_at.saturating_add(u32_at(header, 24));
        Self {
            count,
            prefix_bytes: u16_at(6),
            key_bytes: u16_at(8),
            entry_bytes: u32_at(header, 12),
            seq_base: u64::from(u32_at(header, 16)) | (u64::from(u32_at(header, 20)) << 32),
            seq_mask: 1_u64.wrapping_shl(8 * seq_bytes).wrapping_sub(1),
            seq_bytes,
            tag: Tag::from_byte(header[3]).unwrap_or(Tag::DELETE),
            flags,
            seqs_at,
            kinds_at,
            key_lengths_at,
            ends_at,
            entries_at,
            entries_end,
            digests_at: entries_end.wrapping_add(7) & !7,
        }
    }

    /// The same, with sequence numbers so much above those that are stored.
    #[inline]
    pub(crate) fn shifted(mut self, seq_no_shift: u64) -> Self {
        self.seq_base = self.seq_base.saturating_add(seq_no_shift);
        self
    }

    /// How many entries there are; at least one.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether no two entries are of one key, as far as the header says.
    #[inline]
    pub(super) fn has_distinct_keys(&self) -> bool {
        self.flags & FLAG_DISTINCT_KEYS != 0
    }

    /// Whether every entry is a put that never expires, with its value beside it, and the only one
    /// of its key.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.flags & (FLAG_KINDS | FLAG_DISTINCT_KEYS) == FLAG_DISTINCT_KEYS && self.tag == Tag::PUT
    }

    /// Length of the block, digests included.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.digests_at as usize + self.count() * self.digest_bytes()
    }

    /// Length of the digests, which are its last part.
    pub(crate) fn tail_bytes(&self) -> usize {
        self.count() * self.digest_bytes()
    }

    #[inline]
    pub(super) fn digest_bytes(&self) -> usize {
        if self.flags & FLAG_WIDE_DIGESTS != 0 { 8 } else { 4 }
    }

    /// Checks what the header cannot tell: that every entry lies where it should, and is of a kind
    /// that belongs in a block. Done once for each block that is brought in; after it, no access
    /// through the layout meets anything out of place.
    pub(crate) fn check_entries(&self, bytes: &[u8]) -> Result<(), Malformed> {
        let malformed = |offset: u32, reason| Malformed { offset: offset as usize, reason };
        let mut start = self.entries_at as usize;
        for index in 0..self.count() {
            let (entry_start, key_end, end) = self.entry_bounds(bytes, index);
            if entry_start != start || end < start || end > self.entries_end as usize {
                return Err(malformed(self.ends_at, "an entry ends before it starts"));
            }
            if key_end > end {
                return Err(malformed(self.key_lengths_at, "a key is longer than its entry"));
            }
            start = end;
            let tag = self.tag_byte(bytes, index);
            if Tag::from_byte(tag).is_none_or(|tag| tag.kind() == ValueKind::RangeDelete) {
                return Err(malformed(self.kinds_at, "an entry is of an unknown kind"));
            }
            if self.seq_no(bytes, index) > MAX_SEQ_NO {
                return Err(malformed(self.seqs_at, "a sequence number is above 56 bits"));
            }
        }
        if start != self.entries_end as usize {
            return Err(malformed(self.ends_at, "the last entry ends before the entries do"));
        }
        let (start, key_end, _) = self.entry_bounds(bytes, 0);
        if key_end - start < self.prefix_bytes as usize {
            return Err(malformed(6, "the common prefix is longer than the first key"));
        }
        let padding = bytes.get(self.entries_end as usize..self.digests_at as usize);
        if padding.is_none_or(|padding| padding.iter().any(|byte| *byte != 0)) {
            return Err(malformed(self.entries_end, "the bytes behind the entries are not zero"));
        }
        Ok(())
    }

    /// How long its entries are, one with another.
    pub(crate) fn mean_entry_bytes(&self) -> usize {
        ((self.entries_end - self.entries_at) / self.count) as usize
    }

    /// Where entry `index` starts.
    #[inline]
    pub(crate) fn entry_start(&self, bytes: &[u8], index: usize) -> usize {
        let entries_at = self.entries_at as usize;
        if self.flags & FLAG_ENDS == 0 {
            entries_at + index * self.entry_bytes as usize
        } else if index == 0 {
            entries_at
        } else {
            entries_at + self.end(bytes, index - 1)
        }
    }

    /// Where entry `index` starts, where its key ends, and where it ends.
    #[inline]
    pub(super) fn entry_bounds(&self, bytes: &[u8], index: usize) -> (usize, usize, usize) {
        // Start and end at once: asked apart they cost 28 instructions of a get.
        let entries_at = self.entries_at as usize;
        let (start, end) = if self.flags & FLAG_ENDS == 0 {
            let entry_bytes = self.entry_bytes as usize;
            let start = entries_at + index * entry_bytes;
            (start, start + entry_bytes)
        } else {
            let start = if index == 0 { 0 } else { self.end(bytes, index - 1) };
            (entries_at + start, entries_at + self.end(bytes, index))
        };
        (start, start + self.key_length(bytes, index), end)
    }

    /// The same, asked apart, which saves 18 instructions of a step through a plain stretch.
    #[inline]
    pub(super) fn plain_entry_bounds(&self, bytes: &[u8], index: usize) -> (usize, usize, usize) {
        let start = self.entry_start(bytes, index);
        let end = if self.flags & FLAG_ENDS == 0 {
            start + self.entry_bytes as usize
        } else {
            self.entries_at as usize + self.end(bytes, index)
        };
        (start, start + self.key_length(bytes, index), end)
    }

    #[inline]
    fn key_length(&self, bytes: &[u8], index: usize) -> usize {
        if self.flags & FLAG_KEY_LENGTHS == 0 {
            self.key_bytes as usize
        } else {
            usize::from(u16_at(bytes, self.key_lengths_at as usize + 2 * index))
        }
    }

    #[inline]
    pub(super) fn seq_no(&self, bytes: &[u8], index: usize) -> u64 {
        if self.seq_bytes == 0 {
            return self.seq_base;
        }
        let at = self.seqs_at as usize + index * self.seq_bytes as usize;
        // Eight bytes are loaded and the number's own are kept; near the end of a short block
        // there may be fewer.
        let loaded = match bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            Some(word) => u64::from_le_bytes(*word),
            None => {
                bytes.iter().skip(at).rev().fold(0, |word, byte| (word << 8) | u64::from(*byte))
            }
        };
        self.seq_base.saturating_add(loaded & self.seq_mask)
    }

    #[inline]
    pub(super) fn tag(&self, bytes: &[u8], index: usize) -> Tag {
        if self.flags & FLAG_KINDS == 0 {
            return self.tag;
        }
        Tag::from_byte(self.tag_byte(bytes, index)).unwrap_or(Tag::DELETE)
    }

    #[inline]
    fn tag_byte(&self, bytes: &[u8], index: usize) -> u8 {
        if self.flags & FLAG_KINDS == 0 {
            return self.tag.as_byte();
        }
        bytes.get(self.kinds_at as usize + index).copied().unwrap_or(u8::MAX)
    }

    #[inline]
    fn end(&self, bytes: &[u8], index: usize) -> usize {
        let at = self.ends_at as usize;
        if self.flags & FLAG_WIDE_ENDS == 0 {
            usize::from(u16_at(bytes, at + 2 * index))
        } else {
            let end = bytes.get(at + 4 * index..).and_then(<[u8]>::first_chunk::<4>);
            end.map_or(0, |end| u32::from_le_bytes(*end) as usize)
        }
    }
}

#[inline(always)]
fn u32_at(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[inline]
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let number = bytes.get(at..).and_then(<[u8]>::first_chunk::<2>);
    number.map_or(0, |number| u16::from_le_bytes(*number))
}
