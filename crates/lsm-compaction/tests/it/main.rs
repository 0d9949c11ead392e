//! Plans as pictures, plans against their invariants, retention and folding against every reader.

mod divided;
mod filtering;
mod folding;
mod plans;
mod retention;
mod rng;
mod settling;
mod slicing;
