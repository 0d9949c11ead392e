//! Arbitrary bytes for everything that reads bytes: the list of all targets, one plain function each.
//!
//! The same functions are called by libFuzzer (the package `fuzz/`, built by `cargo xtask fuzz`), by
//! `cargo test` with the kept inputs, and by `lsm-sim fuzz` with blind changes of those, where
//! libFuzzer cannot be built.
//!
//! A target panics where the reader is wrong. To see those that open a whole directory, open
//! `fuzz/directory.rs`; the one that brings a table in, `fuzz/ingest.rs`; the one that plays operations,
//! `fuzz/ops.rs`; the blind changes, `fuzz/blind.rs`.

mod blind;
mod directory;
mod ingest;
mod ops;

use std::path::PathBuf;

pub use self::blind::Blind;
pub use self::directory::{fuzz_damage, fuzz_hostile};
pub use self::ingest::fuzz_ingest;
pub use self::ops::fuzz_ops;

/// Something that reads arbitrary bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name by which it is asked for.
    pub name: &'static str,
    /// Reads; panics where what was read is wrong.
    pub run: fn(&[u8]),
    /// Where its kept inputs are, from the root of the repository.
    pub corpus: &'static str,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "byte_reader",
        run: lsm_io::fuzz::fuzz_byte_reader,
        corpus: "fuzz/corpus/byte_reader",
    },
    Target { name: "records", run: lsm_entry::fuzz_records, corpus: "fuzz/corpus/records" },
    Target { name: "filter", run: lsm_bloom::fuzz_filter, corpus: "fuzz/corpus/filter" },
    Target {
        name: "memtable",
        run: lsm_memtable::fuzz::fuzz_history,
        corpus: "crates/lsm-memtable/tests/corpus",
    },
    Target {
        name: "frames",
        run: lsm_wal::fuzz::fuzz_frames,
        corpus: "crates/lsm-wal/tests/corpus",
    },
    Target {
        name: "replay",
        run: lsm_wal::fuzz::fuzz_replay,
        corpus: "crates/lsm-wal/tests/corpus",
    },
    Target { name: "log", run: lsm_wal::fuzz::fuzz_log, corpus: "fuzz/corpus/log" },
    Target { name: "block", run: lsm_sstable::fuzz::fuzz_block, corpus: "fuzz/corpus/block" },
    Target {
        name: "table",
        run: lsm_sstable::fuzz::fuzz_table,
        corpus: "crates/lsm-sstable/tests/corpus",
    },
    Target {
        name: "sealed_table",
        run: lsm_sstable::fuzz::fuzz_sealed_table,
        corpus: "crates/lsm-sstable/tests/corpus",
    },
    Target { name: "blob", run: lsm_blob::fuzz::fuzz_blob, corpus: "fuzz/corpus/blob" },
    Target {
        name: "sealed_blob",
        run: lsm_blob::fuzz::fuzz_sealed_blob,
        corpus: "fuzz/corpus/blob",
    },
    Target {
        name: "current",
        run: lsm_manifest::fuzz::fuzz_current,
        corpus: "fuzz/corpus/current",
    },
    Target { name: "edit", run: lsm_manifest::fuzz::fuzz_edit, corpus: "fuzz/corpus/edit" },
    Target {
        name: "manifest",
        run: lsm_manifest::fuzz::fuzz_manifest,
        corpus: "fuzz/corpus/manifest",
    },
    Target { name: "options", run: lsm_engine::fuzz_options, corpus: "fuzz/corpus/options" },
    Target { name: "damage", run: fuzz_damage, corpus: "fuzz/corpus/damage" },
    Target { name: "hostile", run: fuzz_hostile, corpus: "fuzz/corpus/hostile" },
    Target { name: "ingest", run: fuzz_ingest, corpus: "fuzz/corpus/ingest" },
    Target { name: "ops", run: fuzz_ops, corpus: "fuzz/corpus/ops" },
];

/// The target of this name.
///
/// # Errors
/// Names those that there are.
pub fn target(name: &str) -> Result<&'static Target, String> {
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    let found = TARGETS.iter().find(|target| target.name == name);
    found.ok_or_else(|| format!("there is no target \"{name}\"; there are {}", names()))
}

impl Target {
    /// The kept inputs, in the order of their names.
    ///
    /// # Errors
    /// Names the directory or file that could not be read.
    pub fn corpus(&self) -> Result<Vec<(PathBuf, Vec<u8>)>, String> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let dir = PathBuf::from(root).join(self.corpus);
        let unread = |error| format!("could not read {}: {error}", dir.display());
        let entries = std::fs::read_dir(&dir).map_err(unread)?;
        let mut paths: Vec<PathBuf> =
            entries.map(|entry| Ok(entry?.path())).collect::<Result<_, _>>().map_err(unread)?;
        paths.sort();
        let read = |path: PathBuf| {
            let bytes = std::fs::read(&path);
            let bytes =
                bytes.map_err(|error| format!("could not read {}: {error}", path.display()))?;
            Ok((path, bytes))
        };
        paths.into_iter().map(read).collect()
    }
}
