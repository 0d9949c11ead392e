//! The engine against the model and through crashes, as `cargo test` runs them; the program
//! `lsm-sim` runs more of the same.

mod crashes;
mod damage;
mod faults;
mod fuzz;
mod histories;
#[cfg(feature = "linearizability")]
mod linearizability;
mod real;
