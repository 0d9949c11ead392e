//! The checksum behind a piece of a file, bound to the file and to the place in it.

use crate::{Identity, checksum};

/// Bytes of the checksum that follows what is sealed.
pub const SEAL_BYTES: usize = 8;

/// Computes checksums for one file: of a table's blocks, say.
///
/// A checksum is XXH3 of the bytes, XORed with a number made of the file's birth identity and the
/// offset: so a block of another file, or of another place in this one, does not validate here,
/// and whoever moves a block unchanged adjusts its checksum by one XOR.
#[derive(Clone, Copy, Debug)]
pub struct Sealer {
    salt: u64,
}

impl Sealer {
    /// That of the file with this birth identity.
    pub fn new(identity: Identity) -> Self {
        Self { salt: identity.salt() }
    }

    /// The checksum of `bytes` stored at `offset`.
    #[inline]
    pub fn seal(self, offset: u64, bytes: &[u8]) -> u64 {
        checksum::xxh3(bytes) ^ self.mix(offset)
    }

    /// Splits what was stored at `offset`, checksum behind it, and gives the bytes if they match.
    #[inline]
    pub fn open(self, offset: u64, sealed: &[u8]) -> Option<&[u8]> {
        let (bytes, stored) = sealed.split_last_chunk::<SEAL_BYTES>()?;
        (self.seal(offset, bytes) == u64::from_le_bytes(*stored)).then_some(bytes)
    }

    /// The finalizer of the splitmix64 generator: a bijection that spreads every bit.
    fn mix(self, offset: u64) -> u64 {
        let mut word = self.salt.wrapping_add(offset.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(sealer: Sealer, offset: u64, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        out.extend_from_slice(&sealer.seal(offset, bytes).to_le_bytes());
        out
    }

    #[test]
    fn only_the_same_bytes_in_the_same_place_of_the_same_file_validate() {
        let here = Sealer::new(Identity { database_id: 1, file_number: 7 });
        let elsewhere = Sealer::new(Identity { database_id: 1, file_number: 8 });
        let stored = sealed(here, 4096, b"block");
        assert_eq!(here.open(4096, &stored), Some(&b"block"[..]));
        assert_eq!(here.open(8192, &stored), None, "misdirected");
        assert_eq!(elsewhere.open(4096, &stored), None, "of another file");
        assert_eq!(here.open(4096, &stored[..4]), None, "too short for a checksum");
        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(here.open(4096, &damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn moving_a_block_costs_one_xor() {
        let (old, new) = (
            Sealer::new(Identity { database_id: 1, file_number: 7 }),
            Sealer::new(Identity::default()),
        );
        let moved = old.seal(64, b"block") ^ old.mix(64) ^ new.mix(0);
        assert_eq!(moved, new.seal(0, b"block"));
    }
}
