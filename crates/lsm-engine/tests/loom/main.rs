//! The whole engine on a simulated disk, in every interleaving of a few threads up to a bounded
//! number of preemptions, and with every value that a load may return. `cargo xtask loom --package
//! lsm-engine` runs it.
//!
//! Locks that a model's threads share are loom's (see `sync.rs`); the others, which only one thread
//! of a model takes, are the standard library's, and nothing switches while they are held. Writes
//! are batches, for the buffer of single writes belongs to the thread of the operating system, and
//! all threads of a model are one.
#![cfg(loom)]

mod order;
mod reads;
mod tickets;

use std::path::Path;
use std::sync::Arc;

use loom::thread::{self, JoinHandle};
use lsm_engine::{Db, Durability, Env, Options, Reads, Result, SeqNo, WriteBatch};
use lsm_io::{CrashPolicy, SimFs};

/// An engine and its disk.
struct Rig {
    fs: SimFs,
    db: Db,
}

impl Rig {
    /// A new database; its log is stored into where a commit does not wait for the disk.
    fn new(map_log: bool) -> Arc<Self> {
        Self::on(SimFs::new(0), map_log)
    }

    fn on(fs: SimFs, map_log: bool) -> Arc<Self> {
        let db = Db::open_with(Path::new("db"), Self::options(&fs, map_log)).expect("opens");
        Arc::new(Self { fs, db })
    }

    fn options(fs: &SimFs, map_log: bool) -> Options {
        Options {
            memory_bytes: 4 << 20,
            memtable_bytes: Some(4 << 10),
            log_segment_bytes: 64 << 10,
            map_log,
            env: Env::simulated(fs.shared()),
            ..Options::default()
        }
    }

    fn put(&self, key: &str, value: &str, durability: Durability) -> Result<SeqNo> {
        let mut batch = WriteBatch::new();
        batch.put(key, value);
        self.db.write_with(&batch, durability.into())
    }

    fn get(&self, key: &str) -> Option<String> {
        let value = self.db.get(key).expect("reads");
        value.map(|value| String::from_utf8(value.to_vec()).expect("written here"))
    }

    /// What a power cut at this moment leaves of `keys`.
    fn left_by_a_power_cut(&self, keys: &[&str]) -> Vec<bool> {
        found_on(self.fs.crash_image(CrashPolicy::LoseUnsynced, 0), keys)
    }

    /// What a kill at this moment leaves of `keys`.
    fn left_by_a_kill(&self, keys: &[&str]) -> Vec<bool> {
        found_on(self.fs.kill_image(), keys)
    }
}

fn found_on(image: SimFs, keys: &[&str]) -> Vec<bool> {
    let db = Db::open_with(Path::new("db"), Rig::options(&image, false)).expect("recovers");
    keys.iter().map(|key| db.contains_key(key).expect("reads")).collect()
}

/// Another thread of the model.
fn beside<T: Send + 'static>(
    rig: &Arc<Rig>,
    act: impl FnOnce(&Rig) -> T + Send + 'static,
) -> JoinHandle<T> {
    let rig = Arc::clone(rig);
    // What a write does takes more stack than loom gives by itself: 1 MiB, in words.
    let thread = thread::Builder::new().stack_size(1 << 17).spawn(move || act(&rig));
    thread.expect("loom can spawn")
}
