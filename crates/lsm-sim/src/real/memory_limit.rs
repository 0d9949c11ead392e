//! A database in a control group that allows little memory: it takes many times as much data as the
//! group may use, with default options, and the system does not have to end it.

use std::path::Path;
use std::process::{Command, Stdio};

use lsm_engine::{Db, Durability, Reads, WriteBatch, WriteOptions};

use crate::Figures;
use crate::real::group::{Group, enter};

/// Bytes of a value.
const VALUE_BYTES: u64 = 1000;
/// Entries in a batch.
const BATCH: u64 = 64;
/// Entries that are read one by one: with so little memory nearly each comes from the disk.
const READS: u64 = 500;

/// What to do.
#[derive(Clone, Debug)]
pub struct MemoryLimit {
    /// What the group may use.
    pub limit_bytes: u64,
    /// How many times as much is loaded.
    pub times: u64,
}

impl MemoryLimit {
    /// Loads and reads back in a process of its own, inside `group`.
    ///
    /// # Errors
    /// How it ended, where it did not do so well, or what was lost.
    pub fn run(&self, group: &Group) -> Result<Figures, String> {
        let told = |error: std::io::Error| error.to_string();
        // Not in memory: files there would count against the limit.
        let place = tempfile::tempdir_in(".").map_err(told)?;
        let entries = self.limit_bytes * self.times / VALUE_BYTES;
        let mut child = Command::new(std::env::current_exe().map_err(told)?)
            .args(["memory-load", "--entries", &entries.to_string(), "--dir"])
            .arg(place.path().join("limited.db"))
            .arg("--group")
            .arg(group.path())
            // The load ends with this process, whatever ends it: its input does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(told)?;
        let input = child.stdin.take();
        let output = child.wait_with_output().map_err(told)?;
        drop(input);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("the load ended with {}: {}", output.status, said.trim()));
        }
        let mut figures = Figures::default();
        figures.add("memory_limit.loaded_mib", (entries * VALUE_BYTES) >> 20);
        figures.add("memory_limit.limit_mib", self.limit_bytes >> 20);
        figures.add("memory_limit.peak_mib", group.peak_bytes().unwrap_or(0) >> 20);
        figures.add("memory_limit.entries", entries);
        figures.add("memory_limit.lost", 0);
        figures.add("memory_limit.over_budget", 0);
        Ok(figures)
    }
}

/// What the process inside of the group does.
///
/// # Errors
/// What the engine says; a budget that is not kept; an entry that is not there.
pub fn load(dir: &Path, group: &Path, entries: u64) -> Result<(), String> {
    enter(group)?;
    // Whoever started it holds the other end.
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
    let told = |error: lsm_engine::Error| error.to_string();
    let db = Db::open(dir).map_err(told)?;
    let mut batch = WriteBatch::new();
    for first in (0..entries).step_by(BATCH as usize) {
        batch.clear();
        for n in first..(first + BATCH).min(entries) {
            batch.put(key(n), value(n));
        }
        let options = WriteOptions::durability(Durability::Os);
        db.write_with(&batch, options).map_err(told)?;
        if first % (BATCH * 64) == 0 {
            check_budget(&db)?;
        }
    }
    db.flush().map_err(told)?;
    let mut cursor = db.cursor();
    cursor.seek_first().map_err(told)?;
    let mut count = 0;
    while cursor.key().is_some() {
        count += 1;
        cursor.next().map_err(told)?;
    }
    if count != entries {
        return Err(format!("{count} of {entries} entries are there"));
    }
    // The cursor holds on to every table that it has read, and all of them are made anew beside those.
    db.compact_range::<&[u8]>(..).map_err(told)?;
    for n in (0..entries).step_by((entries / READS).max(1) as usize) {
        if db.get(key(n)).map_err(told)?.as_deref() != Some(value(n).as_slice()) {
            return Err(format!("entry {n} is not what was written"));
        }
    }
    check_budget(&db)?;
    drop(cursor);
    db.close().map_err(told)
}

fn check_budget(db: &Db) -> Result<(), String> {
    let memory = db.metrics().memory;
    // Memtables are weighed now and then, not with every write.
    if memory.total_bytes() > memory.budget_bytes + memory.budget_bytes / 8 {
        return Err(format!("the budget is not kept: {memory:?}"));
    }
    Ok(())
}

/// Spread over the key space, so that merges have something to do.
fn key(n: u64) -> [u8; 8] {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()
}

fn value(n: u64) -> Vec<u8> {
    n.to_le_bytes().iter().copied().cycle().take(VALUE_BYTES as usize).collect()
}
