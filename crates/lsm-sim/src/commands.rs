//! The commands, one file each: its arguments, and `run`.

pub(crate) mod amplification;
pub(crate) mod crash;
pub(crate) mod damage;
pub(crate) mod kill;
pub(crate) mod model;
pub(crate) mod replay;
pub(crate) mod soak;
