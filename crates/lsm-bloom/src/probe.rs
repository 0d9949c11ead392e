//! Where a hash's bits lie: which line, and which bits of its 512.

/// Bytes of a line: one cache line.
pub(crate) const LINE_BYTES: usize = 64;

/// The line of `hash` among `lines`: the high half of a multiplication, which needs no division
/// and spreads evenly.
#[inline]
pub(crate) fn line_of(hash: u64, lines: u32) -> usize {
    (((hash >> 32) * u64::from(lines)) >> 32) as usize
}

/// The bits of `hash` within its line, as (byte, mask), one for each probe.
///
/// The low half of the hash, which the line does not depend on, steps through the line: each probe
/// takes the top 9 bits of a multiplication by an odd constant.
#[inline]
pub(crate) fn bits_of(hash: u64, probes: u8) -> impl Iterator<Item = (usize, u8)> {
    let mut state = hash as u32;
    (0..probes).map(move |_| {
        state = state.wrapping_mul(0x9E37_79B9).wrapping_add(0x7F4A_7C15);
        let bit = state >> 23;
        ((bit >> 3) as usize, 1 << (bit & 7))
    })
}
