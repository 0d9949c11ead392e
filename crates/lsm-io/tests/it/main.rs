//! What `lsm-io` promises, checked from outside.

mod alike;
mod crash;
mod fault;
#[cfg(feature = "fuzz")]
mod fuzz;
mod rng;
