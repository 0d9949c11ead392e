//! What `lsm-io` promises, checked from outside.

mod alike;
mod crash;
mod fault;
mod fuzz;
mod rng;
