//! What `lsm-io` promises, checked from outside.

mod alike;
mod crash;
mod decode;
mod fault;
mod rng;
