//! Measures this repository's store, and others beside it, by the same work at the same settings.
//!
//! ```text
//! lsm-bench run --suite smoke
//! lsm-bench run --suite full --engines lsm,fjall,lmdb --rows fillrandom,get --out figures
//! ```
//!
//! A *row* is a workload on given data with a number of threads; it is measured for each *engine*
//! in turn, several times, each time in a process of its own. To see the rows, open `row.rs`; what
//! they must reach, `target.rs`; what is done in them, `work.rs`; what is noted, `measure.rs`; in
//! which order, `suite.rs`; what an engine must offer, `store.rs`; this store behind it, `lsm.rs`;
//! what the machine allows at most, `limit.rs`;
//! what is printed and drawn, `table.rs` and `report.rs`. The peers are in the package `peers`, so
//! that building this one does not build them.

mod chart;
mod child;
mod cli;
mod figures;
mod floor;
mod latency;
mod limit;
mod lsm;
mod measure;
mod process;
mod report;
mod row;
mod scale;
mod scaling;
mod suite;
mod table;
mod target;
mod work;

pub mod feature;
pub mod store;

pub use cli::main_with;
pub use process::wait_until_quiet;

/// What is measured without peers: this store, in each of its settings, and the machine.
pub const OURS: [store::Engine; 3] = [lsm::MAPPED, lsm::CACHED, limit::ENGINE];
