//! Collects hashes and lays out their filter.

use crate::filter::{FORMAT_VERSION, HEADER_BYTES};
use crate::probe::{LINE_BYTES, Line, bits_of, line_of};
use crate::rate::probes_for;

/// Hashes that are kept in one piece.
const PIECE_HASHES: usize = 8192;

/// Builds a filter. Hashes are kept until the end (8 bytes each), for the filter's size depends on
/// their number.
///
/// They are kept in pieces. A vector of millions would be copied whole each time it grows, and some
/// allocators keep their lock meanwhile: whoever writes to a memtable would wait for it.
#[derive(Clone, Debug)]
pub struct FilterBuilder {
    bits_per_key: f32,
    full: Vec<Vec<u64>>,
    /// The newest hashes, of which there is one if there is any.
    hashes: Vec<u64>,
}

impl FilterBuilder {
    /// A builder for a filter of `bits_per_key` bits a key, brought into 1 to 64. More bits: fewer
    /// wrong "perhaps"; see [`false_positive_rate`](crate::false_positive_rate).
    pub fn new(bits_per_key: f32) -> Self {
        let bits_per_key = if bits_per_key.is_nan() { 10.0 } else { bits_per_key.clamp(1.0, 64.0) };
        Self { bits_per_key, full: Vec::new(), hashes: Vec::new() }
    }

    /// Adds a hash. All its 64 bits should be well mixed, as xxh3's are. A hash added twice in a row
    /// counts once.
    #[inline]
    pub fn add(&mut self, hash: u64) {
        if self.hashes.last() != Some(&hash) {
            if self.hashes.len() == PIECE_HASHES {
                self.begin_piece();
            }
            self.hashes.push(hash);
        }
    }

    #[cold]
    fn begin_piece(&mut self) {
        self.full.push(std::mem::replace(&mut self.hashes, Vec::with_capacity(PIECE_HASHES)));
    }

    /// How many hashes were added.
    pub fn len(&self) -> usize {
        self.full.len() * PIECE_HASHES + self.hashes.len()
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The filter's bytes: see docs/formats/filter.md.
    pub fn finish(self) -> Vec<u8> {
        let bits = self.len() as f64 * f64::from(self.bits_per_key);
        let lines = ((bits / 512.0).ceil() as u32).max(1);
        let probes = probes_for(self.bits_per_key);
        let mut bytes = vec![0; HEADER_BYTES + lines as usize * LINE_BYTES];
        bytes[0] = FORMAT_VERSION;
        bytes[1] = probes;
        bytes[4..8].copy_from_slice(&lines.to_le_bytes());
        let (words, _) = bytes[HEADER_BYTES..].as_chunks_mut();
        let (body, _): (&mut [Line], _) = words.as_chunks_mut();
        for piece in self.full.iter().chain([&self.hashes]) {
            for &hash in piece {
                let line = &mut body[line_of(hash, lines)];
                for (word, mask) in bits_of(hash, probes) {
                    line[word] = (u64::from_le_bytes(line[word]) | mask).to_le_bytes();
                }
            }
        }
        bytes
    }
}
