//! Values of a given length and compressibility.

use crate::rng::Rng;

/// Random bytes from which values are cut, so that making one costs nothing.
const POOL_BYTES: usize = 1 << 20;

/// Makes values.
#[derive(Clone, Debug)]
pub struct ValueMaker {
    pool: Vec<u8>,
    bytes: usize,
    /// Where in the pool the next value begins.
    position: usize,
}

impl ValueMaker {
    /// Values of `bytes` bytes of which a share (0 to 1) can be compressed away: each value is
    /// random in its first part and repeats one byte in the rest.
    pub fn new(bytes: usize, compressible: f32, seed: u64) -> Self {
        let mut pool = vec![0; POOL_BYTES.max(bytes)];
        Rng::new(seed).fill(&mut pool);
        let random = (bytes as f32 * (1.0 - compressible.clamp(0.0, 1.0))) as usize;
        if bytes > 0 {
            for value in pool.chunks_mut(bytes) {
                let random = random.min(value.len());
                value[random..].fill(b'=');
            }
        }
        Self { pool, bytes, position: 0 }
    }

    /// The next value.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "it lends, and has no end")]
    pub fn next(&mut self) -> &[u8] {
        if self.position + self.bytes > self.pool.len() {
            self.position = 0;
        }
        let value = &self.pool[self.position..self.position + self.bytes];
        self.position += self.bytes;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_half_compressible_value_repeats() {
        let mut values = ValueMaker::new(100, 0.5, 1);
        let value = values.next().to_vec();
        assert_eq!(&value[50..], &[b'='; 50]);
        assert_ne!(&value[..50], &values.next()[..50], "the next one differs");
    }

    #[test]
    fn values_of_every_length_can_be_made() {
        for bytes in [0, 1, 3, 1 << 20, (1 << 20) + 1] {
            let mut values = ValueMaker::new(bytes, 0.3, 1);
            for _ in 0..3 {
                assert_eq!(values.next().len(), bytes);
            }
        }
    }
}
