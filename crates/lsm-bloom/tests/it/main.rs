//! What a filter promises, measured from outside.

mod format;
mod fuzz;
mod promise;

use lsm_bloom::FilterBuilder;

/// Well mixed numbers, no two alike: the finisher of splitmix64.
fn hash(n: u64) -> u64 {
    let mut x = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The filter of the hashes of 0 to `keys`.
fn filter_of(keys: u64, bits_per_key: f32) -> Vec<u8> {
    let mut builder = FilterBuilder::new(bits_per_key);
    (0..keys).for_each(|n| builder.add(hash(n)));
    builder.finish()
}
