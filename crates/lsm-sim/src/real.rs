//! The real machine: a load in a process of its own is killed, or its disk cut off, filled or broken
//! under it, and what it was told is held against what is there afterwards.
//!
//! The *load* ([`load`]) is a few writers, each with a [`stream`] of commits that follows
//! from a seed, so that commit number `n` of a writer is the same in every process and "the first
//! `n` commits of writer `w`" says everything about what its keys hold. Each acknowledgement goes
//! through a pipe ([`acknowledgement`]) to the parent, whose [`oracle`] knows from then on what must
//! be there. How the load is started and ended is in [`child`]; what is done to it: [`kill`],
//! [`cut`], [`full_disk`], [`failed_sync`]; [`memory_limit`] loads where there is little memory. The disks that this takes are made in [`disk`], and always removed: [`place`].

pub mod acknowledgement;
mod ballast;
pub mod child;
pub mod cut;
pub mod disk;
pub mod effect;
pub mod failed_sync;
pub mod full_disk;
pub mod group;
mod growth;
pub mod kill;
mod life;
pub mod load;
pub mod memory_limit;
pub mod mount;
pub mod needs;
pub mod oracle;
pub mod place;
pub mod shutdown;
pub mod stream;
