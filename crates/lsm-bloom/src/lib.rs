//! A cache-line-blocked Bloom filter: a set of hashes that may say "perhaps" and never wrongly
//! "no".
//!
//! ```
//! use lsm_bloom::{Filter, FilterBuilder};
//!
//! let mut builder = FilterBuilder::new(10.0);
//! for hash in [0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F] {
//!     builder.add(hash);
//! }
//! let bytes = builder.finish();
//! let filter = Filter::parse(&bytes)?;
//! assert!(filter.may_contain(0x9E37_79B9_7F4A_7C15));
//! # Ok::<(), lsm_bloom::Malformed>(())
//! ```
//!
//! Every key sets its bits within one line of 64 bytes, so a question costs one cache miss, which
//! [`Filter::prefetch`] lets overlap with others. Whoever asks often keeps the [`FilterShape`] and finds
//! the line once, for both. To see where a key's bits lie, open `probe.rs`;
//! the bytes, `filter.rs`; the formula of its errors, `rate.rs`.

mod builder;
mod filter;
mod prefetch;
mod probe;
mod rate;

pub use builder::FilterBuilder;
pub use filter::{Filter, FilterLine, FilterShape, Malformed, fuzz_filter};
pub use rate::false_positive_rate;

/// Runs the README's example as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
