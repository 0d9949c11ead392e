//! Tables as their users meet them: written to a simulated disk, read back in every mode.

mod damage;
mod expired;
mod format;
#[cfg(feature = "fuzz")]
mod fuzz;
mod handover;
#[cfg(feature = "fuzz")]
mod lies;
mod model;
mod support;
mod table;
