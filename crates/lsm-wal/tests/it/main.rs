//! The log as its users meet it: appended to a simulated disk, read back after what may befall it.

mod crash;
mod damage;
mod format;
mod frames;
#[cfg(feature = "fuzz")]
mod fuzz;
mod judgement;
mod log;
mod prepare;
mod scan;
mod support;
