//! Seeded operation streams and key distributions, for tests and benchmarks.
//!
//! ```
//! use lsm_workload::{KeyChooser, KeyDistribution, ValueMaker, key_bytes};
//!
//! let mut keys = KeyChooser::new(KeyDistribution::Zipfian { theta: 0.99 }, 1_000_000, 42);
//! let mut values = ValueMaker::new(100, 0.5, 42);
//! let (key, value) = (key_bytes(keys.next()), values.next());
//! assert_eq!((key.len(), value.len()), (16, 100));
//! ```
//!
//! The same seed gives the same stream, for ever. To see the generator of numbers, open `rng.rs`;
//! which keys are chosen, `keys.rs`; values, `values.rs`; the YCSB mixes, `ycsb.rs`.

mod keys;
mod rng;
mod values;
mod ycsb;

pub use keys::{KeyChooser, KeyDistribution, key_bytes};
pub use rng::Rng;
pub use values::ValueMaker;
pub use ycsb::{Ycsb, YcsbOp, YcsbStream};

/// Runs the README's example as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
