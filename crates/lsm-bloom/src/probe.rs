//! Where a hash's bits lie: which line, and which bits of its 512.

/// Bytes of a line: one cache line.
pub(crate) const LINE_BYTES: usize = 64;
const LINE_WORDS: usize = LINE_BYTES / WORD_BYTES;
const WORD_BYTES: usize = 8;

/// A line as words, each of them in little-endian bytes.
pub(crate) type Line = [[u8; WORD_BYTES]; LINE_WORDS];

/// More probes than any filter has.
pub(crate) const PROBES_MAX: usize = 16;

const MULTIPLIER: u32 = 0x9E37_79B9;
const INCREMENT: u32 = 0x7F4A_7C15;

/// `n` steps of `s * MULTIPLIER + INCREMENT` in one: the factor and the summand of step `n`. So no
/// probe waits for the one before.
const STEPS: [(u32, u32); PROBES_MAX] = {
    let mut steps = [(0, 0); PROBES_MAX];
    let (mut factor, mut summand, mut probe) = (1u32, 0u32, 0);
    while probe < PROBES_MAX {
        factor = factor.wrapping_mul(MULTIPLIER);
        summand = summand.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        steps[probe] = (factor, summand);
        probe += 1;
    }
    steps
};

/// The line of `hash` among `lines`: the high half of a multiplication, which needs no division
/// and spreads evenly.
#[inline]
pub(crate) fn line_of(hash: u64, lines: u32) -> usize {
    (((hash >> 32) * u64::from(lines)) >> 32) as usize
}

/// The bits of `hash` within its line, as (word, mask), one for each probe.
///
/// They come from the low half of the hash, which the line does not depend on: each probe takes the
/// top 9 bits of a number that a multiplication by an odd constant has mixed.
#[inline]
pub(crate) fn bits_of(hash: u64, probes: u8) -> impl Iterator<Item = (usize, u64)> {
    STEPS.iter().take(usize::from(probes)).map(move |(factor, summand)| {
        let bit = (hash as u32).wrapping_mul(*factor).wrapping_add(*summand) >> 23;
        ((bit >> 6) as usize % LINE_WORDS, 1 << (bit & 63))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_many_is_many_steps() {
        let hash = 0x0123_4567_89AB_CDEF_u64;
        let mut state = hash as u32;
        for (word, mask) in bits_of(hash, PROBES_MAX as u8) {
            state = state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
            let bit = state >> 23;
            assert_eq!((word, mask), (bit as usize / 64, 1 << (bit % 64)));
        }
    }
}
