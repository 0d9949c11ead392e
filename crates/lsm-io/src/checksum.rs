//! The two checksums of the file formats: CRC-32 for log frames, XXH3 for blocks and whole files.
//!
//! CRC-32 can be continued from a finished value, so the long part of a frame may be hashed outside
//! a lock and the short part under it. XXH3 is the faster of the two on long input.

use std::fmt;

/// CRC-32 (the IEEE polynomial, as in zlib) of `bytes`.
#[inline]
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// CRC-32 of what `crc` is the checksum of, followed by `bytes`.
///
/// ```
/// use lsm_io::checksum::{crc32, crc32_continued};
/// assert_eq!(crc32_continued(crc32(b"pay"), b"load"), crc32(b"payload"));
/// ```
#[inline]
pub fn crc32_continued(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

/// XXH3, 64 bits, seed 0, of `bytes`.
#[inline]
pub fn xxh3(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// XXH3 of bytes that arrive in pieces: the same number as [`xxh3`] of all of them together.
///
/// ```
/// use lsm_io::checksum::{Xxh3, xxh3};
/// let mut whole = Xxh3::new();
/// whole.update(b"one piece, ");
/// whole.update(b"and another");
/// assert_eq!(whole.finish(), xxh3(b"one piece, and another"));
/// ```
#[derive(Clone)]
pub struct Xxh3 {
    // Boxed: the state is over half a kilobyte, and it lives inside writers that move.
    state: Box<xxhash_rust::xxh3::Xxh3>,
    bytes: u64,
}

impl Xxh3 {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self { state: Box::new(xxhash_rust::xxh3::Xxh3::new()), bytes: 0 }
    }

    /// Hashes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// The checksum of all pieces so far; more may follow.
    pub fn finish(&self) -> u64 {
        self.state.digest()
    }

    /// How many bytes were hashed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Default for Xxh3 {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Xxh3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Xxh3").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksums_are_the_published_ones() {
        // The check value of CRC-32/ISO-HDLC, and XXH3's value for no input: format, not taste.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(xxh3(b""), 0x2D06_8005_38D3_94C2);
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let bytes: Vec<u8> = (0..3000_u32).map(|n| (n * 7 % 251) as u8).collect();
        for cut in [0, 1, 63, 64, 240, 241, 1024, 2999, 3000] {
            let (front, back) = bytes.split_at(cut);
            assert_eq!(crc32_continued(crc32(front), back), crc32(&bytes), "cut at {cut}");
            let mut xxh3_pieces = Xxh3::new();
            xxh3_pieces.update(front);
            xxh3_pieces.update(back);
            assert_eq!(xxh3_pieces.finish(), xxh3(&bytes), "cut at {cut}");
            assert_eq!(xxh3_pieces.bytes(), 3000);
        }
    }
}
