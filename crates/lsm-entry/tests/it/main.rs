//! What the crate promises, tried from outside.

mod fragments;
mod fuzz;
mod merge;
mod merge_cost;
mod records;
mod rng;
