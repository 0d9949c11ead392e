//! Every kind of damage to every kind of file: after each the answers are right, or an error says
//! which file is damaged and where; never a wrong answer, a panic or an open that does not end.
//!
//! To see which small databases are damaged, open `damage/specimen.rs`, and how they are made,
//! `damage/workshop.rs`; what is done to their files, `damage/change.rs`; what counts as right,
//! `damage/judge.rs`; how all of it is run and counted, `damage/sweep.rs`.

mod change;
mod judge;
mod specimen;
mod sweep;
mod workshop;

pub use self::change::{Change, Family};
pub use self::judge::{Outcome, judge};
pub use self::specimen::Specimen;
pub(crate) use self::specimen::{DIR, options};
pub use self::sweep::{Sweep, Tally};
pub use self::workshop::specimens;
