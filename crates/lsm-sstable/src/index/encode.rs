//! Building the index, block by block.

use lsm_entry::{MAX_SEQ_NO, SeqNo};
use lsm_io::bytes::{put_u16, put_u32, put_u64};

use super::{BlockPlace, Extent};
use crate::block::BlockStats;
use crate::compression::Method;

/// Gathers what the index will say.
#[derive(Debug, Default)]
pub(crate) struct IndexBuilder {
    blocks: Vec<(BlockPlace, Extent, BlockStats)>,
    keys: Vec<u8>,
}

impl IndexBuilder {
    /// Adds the next block. Gives `false`, and adds nothing, when the last keys together are
    /// longer than the format can say.
    pub(crate) fn push(
        &mut self,
        offset: u64,
        method: Method,
        bytes: u32,
        last_key: &[u8],
        stats: BlockStats,
    ) -> bool {
        let Ok(key_end) = u32::try_from(self.keys.len() + last_key.len()) else { return false };
        self.keys.extend_from_slice(last_key);
        let place = BlockPlace::new(offset, method);
        self.blocks.push((place, Extent { bytes, key_end }, stats));
        true
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Roughly how long the section will be.
    pub(crate) fn estimated_bytes(&self) -> usize {
        self.keys.len() + self.blocks.len() * 28
    }

    /// The section.
    pub(crate) fn finish(&self) -> Vec<u8> {
        let seq_nos = self.blocks.iter().map(|(_, _, stats)| (stats.seq_no_min, stats.seq_no_max));
        let (min, max) =
            seq_nos.fold((MAX_SEQ_NO, 0), |(min, max), (low, high)| (min.min(low), max.max(high)));
        let seq_base = min.min(max);
        let seq_bytes = match max - seq_base {
            0 => 0,
            1..=0xFFFF_FFFF => 4,
            _ => 8,
        };
        let has_expiries = self.blocks.iter().any(|(_, _, stats)| stats.expiry_min_ms != u64::MAX);

        let mut out = Vec::with_capacity(self.estimated_bytes() + 64);
        put_u32(&mut out, self.blocks.len() as u32);
        out.extend_from_slice(&[seq_bytes, u8::from(has_expiries), 0, 0]);
        put_u64(&mut out, seq_base);
        for (place, extent, _) in &self.blocks {
            put_u64(&mut out, place.0);
            put_u32(&mut out, extent.bytes);
            put_u32(&mut out, extent.key_end);
        }
        for (_, _, stats) in &self.blocks {
            put_u16(&mut out, stats.entries as u16);
            put_u16(&mut out, stats.tombstones as u16);
        }
        for (_, _, stats) in &self.blocks {
            put_seq_no(&mut out, seq_bytes, stats.seq_no_min - seq_base);
            put_seq_no(&mut out, seq_bytes, stats.seq_no_max - seq_base);
        }
        if has_expiries {
            for (_, _, stats) in &self.blocks {
                put_u64(&mut out, stats.expiry_min_ms);
                put_u64(&mut out, stats.expiry_max_ms);
            }
        }
        out.extend_from_slice(&self.keys);
        out
    }
}

fn put_seq_no(out: &mut Vec<u8>, width: u8, above_base: SeqNo) {
    match width {
        0 => {}
        4 => put_u32(out, above_base as u32),
        _ => put_u64(out, above_base),
    }
}
