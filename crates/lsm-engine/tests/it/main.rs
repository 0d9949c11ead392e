//! The engine's promises, one file a topic. The model test and the crashes at every step live in
//! lsm-sim.

mod background;
mod checkpoints;
mod directories;
mod dropping;
mod durability;
mod events;
mod full_disk;
mod keyspaces;
mod limits;
mod names;
mod opening;
mod read_only;
mod scans;
mod transactions;
mod verifying;
mod waiting;

use lsm_engine::{Db, Env, KeyspaceOptions, Options, Spawn};
use lsm_io::SimFs;

/// A database so small that a few hundred entries exercise every path.
fn tiny_options(fs: &SimFs) -> Options {
    Options {
        memory_bytes: 4 << 20,
        memtable_bytes: Some(32 << 10),
        log_segment_bytes: 64 << 10,
        log_bytes_max: 256 << 10,
        keyspace: KeyspaceOptions { block_bytes: 512, ..KeyspaceOptions::default() },
        env: Env::simulated(fs.shared()),
        ..Options::default()
    }
}

/// The same with threads of its own for work in the background.
fn threaded(fs: &SimFs) -> Options {
    let options = tiny_options(fs);
    Options { env: Env { spawn: Spawn::Threads, ..options.env }, ..options }
}

fn open(fs: &SimFs) -> Db {
    Db::open_with("db", tiny_options(fs)).expect("opens")
}

fn key(n: u32) -> Vec<u8> {
    format!("key-{n:06}").into_bytes()
}
