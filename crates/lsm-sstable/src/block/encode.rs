//! Building a block, entry by entry.

use lsm_entry::{Entry, MAX_SEQ_NO, SeqNo, Tag, digest};

use super::{
    BLOCK_ENTRIES_MAX, FLAG_DISTINCT_KEYS, FLAG_ENDS, FLAG_KEY_LENGTHS, FLAG_KINDS,
    FLAG_WIDE_DIGESTS, FLAG_WIDE_ENDS, HEADER_BYTES, LAYOUT_VERSION, hash_tag,
};

/// Gathers the entries of one block. Its buffers are kept from block to block, so that building
/// allocates nothing once it is under way.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    tags: Vec<u8>,
    seq_nos: Vec<SeqNo>,
    kinds: Vec<u8>,
    key_lengths: Vec<u16>,
    ends: Vec<u32>,
    entries: Vec<u8>,
    digests: Vec<u64>,
    largest_value_bytes: usize,
    shape: Shape,
    stats: BlockStats,
    /// What the block before needed. Which width this one needs is known only once it is whole;
    /// for the estimate of its length, neighbours are alike.
    expects_wide_digests: bool,
}

/// What all entries of a block have in common: that is stored once, or not at all.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    key_bytes: usize,
    entry_bytes: usize,
    kind: u8,
    keys_vary: bool,
    entries_vary: bool,
    kinds_vary: bool,
}

/// The numbers by which the index knows a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockStats {
    pub(crate) entries: u32,
    pub(crate) tombstones: u32,
    pub(crate) seq_no_min: SeqNo,
    pub(crate) seq_no_max: SeqNo,
    /// Earliest expiry of an entry; `u64::MAX` if none expires.
    pub(crate) expiry_min_ms: u64,
    /// Latest expiry; `u64::MAX` if some entry never expires.
    pub(crate) expiry_max_ms: u64,
}

impl Default for BlockStats {
    fn default() -> Self {
        Self {
            entries: 0,
            tombstones: 0,
            seq_no_min: MAX_SEQ_NO,
            seq_no_max: 0,
            expiry_min_ms: u64::MAX,
            expiry_max_ms: 0,
        }
    }
}

impl BlockStats {
    /// Counts one more entry.
    #[inline]
    pub(crate) fn count(&mut self, entry: &Entry<'_>) {
        self.entries += 1;
        self.tombstones += u32::from(entry.tag.is_tombstone());
        self.seq_no_min = self.seq_no_min.min(entry.seq_no);
        self.seq_no_max = self.seq_no_max.max(entry.seq_no);
        let expiry_ms = entry.expires_at_ms().unwrap_or(u64::MAX);
        self.expiry_min_ms = self.expiry_min_ms.min(expiry_ms);
        self.expiry_max_ms = self.expiry_max_ms.max(expiry_ms);
    }
}

impl Shape {
    #[inline]
    fn with(mut self, is_first: bool, entry: &Entry<'_>) -> Self {
        let (key_bytes, entry_bytes) = (entry.key.len(), entry.key.len() + entry.value.len());
        let kind = entry.tag.as_byte();
        if is_first {
            return Self { key_bytes, entry_bytes, kind, ..Self::default() };
        }
        self.keys_vary |= key_bytes != self.key_bytes;
        self.entries_vary |= entry_bytes != self.entry_bytes;
        self.kinds_vary |= kind != self.kind;
        self
    }

    /// Length of a block of this shape.
    #[inline]
    fn block_bytes(&self, count: usize, entries_bytes: usize, seq: usize, digest: usize) -> usize {
        let ends = if !self.entries_vary {
            0
        } else if entries_bytes <= usize::from(u16::MAX) {
            2
        } else {
            4
        };
        let each = 1 + seq + usize::from(self.kinds_vary) + 2 * usize::from(self.keys_vary) + ends;
        (HEADER_BYTES + count * each + entries_bytes).next_multiple_of(8) + count * digest
    }
}

impl BlockBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.tags.is_empty()
    }

    /// Length that the block would have with `entry` added, exact unless its digests turn out to
    /// need another width than those of the block before.
    #[inline]
    pub(crate) fn bytes_with(&self, entry: &Entry<'_>) -> usize {
        let shape = self.shape.with(self.is_empty(), entry);
        let seq_no_min = self.stats.seq_no_min.min(entry.seq_no);
        let seq_no_max = self.stats.seq_no_max.max(entry.seq_no);
        shape.block_bytes(
            self.tags.len() + 1,
            self.entries.len() + entry.key.len() + entry.value.len(),
            bytes_to_hold(seq_no_max - seq_no_min),
            if self.expects_wide_digests { 8 } else { 4 },
        )
    }

    /// Length of the block as it is, as exact as [`bytes_with`](Self::bytes_with).
    pub(crate) fn bytes(&self) -> usize {
        let seq_bytes = bytes_to_hold(self.stats.seq_no_max.saturating_sub(self.stats.seq_no_min));
        let digest_bytes = if self.expects_wide_digests { 8 } else { 4 };
        self.shape.block_bytes(self.tags.len(), self.entries.len(), seq_bytes, digest_bytes)
    }

    /// Length of the largest value so far.
    pub(crate) fn largest_value_bytes(&self) -> usize {
        self.largest_value_bytes
    }

    /// Whether one more entry can be counted.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.tags.len() < BLOCK_ENTRIES_MAX
    }

    /// Length of the keys and values so far.
    pub(crate) fn entries_bytes(&self) -> usize {
        self.entries.len()
    }

    /// Adds the next entry, whose key has this hash.
    #[inline]
    pub(crate) fn push(&mut self, entry: &Entry<'_>, hash: u64) {
        self.shape = self.shape.with(self.is_empty(), entry);
        self.tags.push(hash_tag(hash));
        self.seq_nos.push(entry.seq_no);
        self.kinds.push(entry.tag.as_byte());
        self.key_lengths.push(entry.key.len() as u16);
        self.entries.extend_from_slice(entry.key);
        self.entries.extend_from_slice(entry.value);
        self.ends.push(self.entries.len() as u32);
        self.largest_value_bytes = self.largest_value_bytes.max(entry.value.len());
        self.stats.count(entry);
    }

    /// The key of the last entry added.
    pub(crate) fn last_key(&self) -> &[u8] {
        let last = self.tags.len().checked_sub(1);
        last.map_or(&[], |last| self.key(last))
    }

    /// Appends the whole block to `out` and starts the next. Gives the block's numbers, and how
    /// much of what was appended precedes the digests.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> (BlockStats, usize) {
        let (shape, stats, start) = (self.shape, self.stats, out.len());
        let seq_bytes = bytes_to_hold(stats.seq_no_max - stats.seq_no_min);
        let has_wide_ends = shape.entries_vary && self.entries.len() > usize::from(u16::MAX);
        let prefix_bytes = lsm_entry::common_prefix(self.key(0), self.last_key());
        let has_wide_digests = self.fill_digests(prefix_bytes);

        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let flags = flag(shape.entries_vary, FLAG_ENDS)
            | flag(has_wide_ends, FLAG_WIDE_ENDS)
            | flag(shape.keys_vary, FLAG_KEY_LENGTHS)
            | flag(shape.kinds_vary, FLAG_KINDS)
            | flag(has_wide_digests, FLAG_WIDE_DIGESTS)
            | flag(self.has_distinct_keys(), FLAG_DISTINCT_KEYS);
        let unless = |varies: bool, number: usize| if varies { 0 } else { number };
        let kind = if shape.kinds_vary { Tag::DELETE.as_byte() } else { shape.kind };

        out.extend_from_slice(&[LAYOUT_VERSION, flags, seq_bytes as u8, kind]);
        out.extend_from_slice(&(self.tags.len() as u16).to_le_bytes());
        out.extend_from_slice(&(prefix_bytes as u16).to_le_bytes());
        out.extend_from_slice(&(unless(shape.keys_vary, shape.key_bytes) as u32).to_le_bytes());
        out.extend_from_slice(
            &(unless(shape.entries_vary, shape.entry_bytes) as u32).to_le_bytes(),
        );
        out.extend_from_slice(&stats.seq_no_min.to_le_bytes());
        out.extend_from_slice(&(self.entries.len() as u64).to_le_bytes());

        out.extend_from_slice(&self.tags);
        for seq_no in &self.seq_nos {
            out.extend_from_slice(&(seq_no - stats.seq_no_min).to_le_bytes()[..seq_bytes]);
        }
        if shape.kinds_vary {
            out.extend_from_slice(&self.kinds);
        }
        if shape.keys_vary {
            out.extend(self.key_lengths.iter().flat_map(|length| length.to_le_bytes()));
        }
        if has_wide_ends {
            out.extend(self.ends.iter().flat_map(|end| end.to_le_bytes()));
        } else if shape.entries_vary {
            out.extend(self.ends.iter().flat_map(|end| (*end as u16).to_le_bytes()));
        }
        out.extend_from_slice(&self.entries);
        out.resize(start + (out.len() - start).next_multiple_of(8), 0);
        let body_bytes = out.len() - start;
        if has_wide_digests {
            out.extend(self.digests.iter().flat_map(|digest| digest.to_le_bytes()));
        } else {
            out.extend(
                self.digests.iter().flat_map(|digest| ((digest >> 32) as u32).to_le_bytes()),
            );
        }
        self.clear();
        self.expects_wide_digests = has_wide_digests;
        (stats, body_bytes)
    }

    /// Computes the digests; gives whether eight bytes tell keys apart that four do not.
    fn fill_digests(&mut self, prefix_bytes: usize) -> bool {
        let mut digests = std::mem::take(&mut self.digests);
        digests.clear();
        digests.extend((0..self.tags.len()).map(|index| digest(self.key(index), prefix_bytes)));
        let is_wide =
            digests.windows(2).any(|pair| pair[0] != pair[1] && pair[0] >> 32 == pair[1] >> 32);
        self.digests = digests;
        is_wide
    }

    /// Whether each entry is the only one of its key here, by the digests where those tell.
    fn has_distinct_keys(&self) -> bool {
        let mut pairs = self.digests.windows(2).enumerate();
        pairs.all(|(at, pair)| pair[0] != pair[1] || self.key(at) != self.key(at + 1))
    }

    fn key(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.entries[start..start + usize::from(self.key_lengths[index])]
    }

    fn clear(&mut self) {
        self.tags.clear();
        self.seq_nos.clear();
        self.kinds.clear();
        self.key_lengths.clear();
        self.ends.clear();
        self.entries.clear();
        self.largest_value_bytes = 0;
        self.shape = Shape::default();
        self.stats = BlockStats::default();
    }
}

/// How many bytes `number` needs.
#[inline]
fn bytes_to_hold(number: u64) -> usize {
    (64 - number.leading_zeros() as usize).div_ceil(8)
}
