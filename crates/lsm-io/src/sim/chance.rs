//! The simulation's own small dice: the same seed throws the same numbers.

/// A seeded sequence of numbers.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub(super) fn next(&mut self) -> u64 {
        // A counter in steps of the golden ratio, scrambled: every seed has the full period.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        scramble(self.0)
    }

    /// A number below `bound`, which is not 0. The bias is too small to matter to a test.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Heads or tails.
    pub(super) fn coin(&mut self) -> bool {
        self.next() >> 63 == 1
    }
}

/// One seed from two numbers.
pub(super) fn mix(left: u64, right: u64) -> u64 {
    scramble(left ^ scramble(right.wrapping_add(0x9E37_79B9_7F4A_7C15)))
}

/// Each bit of the answer depends on every bit of `number`; no two numbers give the same answer.
fn scramble(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
