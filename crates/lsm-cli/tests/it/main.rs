//! The `lsm` program, run as its users run it: arguments in, text and an exit code out.

mod backup;
mod bench;
mod choosing;
mod damage;
mod demo;
mod inspect;
mod live;
mod load;
mod program;
mod records;
mod refused;
mod usage;
