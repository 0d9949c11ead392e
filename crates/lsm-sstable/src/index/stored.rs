//! The handles of the blocks as they are stored: checked once, when the table is opened, and read from
//! there ever after, or copied into memory.

use lsm_entry::MAX_KEY_BYTES;
use lsm_io::Malformed;

use super::{BlockHandle, BlockPlace, Extent, HANDLE_BYTES, HEADER_BYTES, key_between};
use crate::compression::Method;

/// The handles in an index section.
#[derive(Clone, Copy)]
pub(super) struct StoredHandles<'a>(&'a [[u8; HANDLE_BYTES]]);

impl<'a> StoredHandles<'a> {
    /// Those of `blocks` blocks, which are there.
    pub(super) fn of(section: &'a [u8], blocks: usize) -> Self {
        let handles = section.get(HEADER_BYTES..HEADER_BYTES + blocks * HANDLE_BYTES);
        Self(handles.unwrap_or_default().as_chunks().0)
    }

    pub(super) fn get(self, number: usize) -> Option<(BlockPlace, Extent)> {
        self.0.get(number).map(decode)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = (BlockPlace, Extent)> {
        self.0.iter().map(decode)
    }

    /// The last key of block `number`, among `keys`.
    pub(super) fn key(self, keys: &'a [u8], number: usize) -> &'a [u8] {
        key_between(keys, number, |number| self.get(number).map(|(_, extent)| extent.key_end))
    }

    /// Blocks must ascend and end before `data_end`, and last keys, which lie at `keys_at`, too; equal
    /// ones are versions of one key.
    pub(super) fn check(self, keys: &[u8], keys_at: usize, data_end: u64) -> Result<(), Malformed> {
        let (mut block_end, mut last_key_end) = (0_u64, 0_u32);
        for (number, (place, extent)) in self.iter().enumerate() {
            let offset = HEADER_BYTES + number * HANDLE_BYTES;
            let malformed = |reason| Malformed { offset, reason };
            let handle = BlockHandle { place, bytes: extent.bytes };
            if Method::from_byte((place.0 >> BlockPlace::OFFSET_BITS) as u8).is_none() {
                return Err(malformed("block is compressed in an unknown way"));
            }
            if handle.offset() < block_end || handle.end() > data_end {
                return Err(malformed("blocks overlap or reach into the sections"));
            }
            let key_bytes = extent.key_end.checked_sub(last_key_end);
            if key_bytes.is_none_or(|bytes| bytes as usize > MAX_KEY_BYTES) {
                return Err(malformed("a last key is longer than a key can be"));
            }
            (block_end, last_key_end) = (handle.end(), extent.key_end);
        }
        if last_key_end as usize != keys.len() {
            return Err(Malformed { offset: 0, reason: "index is not as long as its keys" });
        }
        let keys = (0..self.0.len()).map(|number| self.key(keys, number));
        if !keys.is_sorted() {
            return Err(Malformed { offset: keys_at, reason: "last keys are out of order" });
        }
        Ok(())
    }
}

fn decode(stored: &[u8; HANDLE_BYTES]) -> (BlockPlace, Extent) {
    let [a, b, c, d, e, f, g, h, bytes @ .., k0, k1, k2, k3] = *stored;
    let place = BlockPlace(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    let key_end = u32::from_le_bytes([k0, k1, k2, k3]);
    (place, Extent { bytes: u32::from_le_bytes(bytes), key_end })
}
