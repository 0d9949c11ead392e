//! The engine's promises, one file a topic. The model test and the crashes at every step live in
//! lsm-sim.

mod background;
mod beginning;
mod blobs;
mod checkpoints;
mod destroying;
mod directories;
mod dropping;
mod durability;
mod events;
mod exporting;
mod filtering;
mod following;
mod full_disk;
mod gaps;
mod ingesting;
mod keyspaces;
mod leasing;
mod lending;
mod limits;
mod memory;
mod merging;
mod metrics;
mod names;
mod opening;
mod options;
mod orders;
mod past_cache;
mod queues;
mod range_deletes;
mod read_only;
mod repairing;
mod reserve;
mod restoring;
mod rng;
mod scans;
mod slicing;
mod tombstones;
mod transactions;
mod ttl;
mod verifying;
mod waiting;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lsm_engine::{Db, Env, KeyspaceOptions, Options, Reads, Spawn};
use lsm_io::{Fs, SimFs};

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

fn open_at(fs: &SimFs, path: &str) -> Db {
    Db::open_with(path, tiny_options(fs)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every key with its value.
fn content(reads: &impl Reads) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let entries = reads.iter().map(|entry| entry.expect("reads"));
    entries.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

fn exists(fs: &SimFs, path: &str) -> bool {
    Fs::exists(fs, Path::new(path)).expect("an answer")
}

fn remove(fs: &SimFs, dir: &str) {
    fs.remove_dir_all(Path::new(dir)).expect("removed");
}

fn create_dir(fs: &SimFs, dir: &str) {
    fs.create_dir_all(Path::new(dir)).expect("created");
}

/// Every file below a directory.
fn files_in(fs: &SimFs, dir: &str) -> Vec<PathBuf> {
    let files = fs.files().into_iter().map(|(path, _)| path);
    files.filter(|path| path.starts_with(dir)).collect()
}
