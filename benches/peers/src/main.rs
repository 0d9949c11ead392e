//! The benchmarks with other stores compiled in.
//!
//! Each store is a file that offers it as the benchmarks want it, set up as someone who knows it
//! well would for this work; what was chosen and why is said there, and printed with each run.

use std::process::ExitCode;

#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "lmdb")]
mod lmdb;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "surrealkv")]
mod surrealkv;

fn main() -> ExitCode {
    let mut engines = lsm_bench::OURS.to_vec();
    #[cfg(feature = "rocksdb")]
    engines.push(rocksdb::ENGINE);
    #[cfg(feature = "fjall")]
    engines.push(fjall::ENGINE);
    #[cfg(feature = "surrealkv")]
    engines.push(surrealkv::ENGINE);
    #[cfg(feature = "lmdb")]
    engines.push(lmdb::ENGINE);
    #[cfg(feature = "redb")]
    engines.push(redb::ENGINE);
    lsm_bench::main_with(&engines)
}
