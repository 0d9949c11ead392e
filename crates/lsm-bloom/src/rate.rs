//! How often a filter says "perhaps" of a hash that was never added.

/// Probes that make the fewest errors at `bits_per_key` bits, between 1 and 12.
pub(crate) fn probes_for(bits_per_key: f32) -> u8 {
    // ln 2 times the bits would be best if keys spread over all lines alike; lines that happen to
    // be fuller want fewer.
    (bits_per_key * 0.6).round().clamp(1.0, 12.0) as u8
}

/// The expected share of wrong "perhaps" at `bits_per_key` bits.
///
/// A line of 512 bits holds a number of keys that is Poisson distributed around `512 /
/// bits_per_key`; with `n` keys of `k` probes each, a bit of it is set with probability
/// `1 - (1 - 1/512)^(k n)`, and a question errs when all of its `k` bits are. (Putze, Sanders,
/// Singler: "Cache-, Hash- and Space-Efficient Bloom Filters", 2007.)
///
/// ```
/// let rate = lsm_bloom::false_positive_rate(10.0);
/// assert!(rate > 0.009 && rate < 0.013, "about one in a hundred at 10 bits a key: {rate}");
/// ```
pub fn false_positive_rate(bits_per_key: f32) -> f64 {
    let probes = f64::from(probes_for(bits_per_key));
    let mean = 512.0 / f64::from(bits_per_key);
    let mut rate = 0.0;
    let mut probability = (-mean).exp();
    let largest = (mean + 12.0 * mean.sqrt() + 12.0) as u32;
    for keys in 1..=largest {
        probability *= mean / f64::from(keys);
        let set = 1.0 - (1.0f64 - 1.0 / 512.0).powf(probes * f64::from(keys));
        rate += probability * set.powf(probes);
    }
    rate
}
