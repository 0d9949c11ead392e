//! A small database, one of whose files is to be damaged, and what is known of it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_engine::{Compression, Env};
use lsm_engine::{KeyspaceOptions, Options, ReadMode};
use lsm_io::{SharedFs, SimFs};
use lsm_wal::{FrameReader, FrameStep};

use crate::contents::State;

/// The directory of every specimen.
pub(crate) const DIR: &str = "db";

/// A database on a simulated disk, and the file of it that is damaged.
#[derive(Clone, Debug)]
pub struct Specimen {
    /// What kind of file it is: "table_lz4", "log_killed", ...
    pub kind: &'static str,
    pub(super) fs: SimFs,
    pub(super) path: PathBuf,
    pub(super) history: Arc<History>,
    /// Whether it was closed: then nothing may be cut.
    pub(super) is_closed: bool,
    /// Any change to the bytes up to here has to be noticed.
    pub(super) used_bytes: usize,
    /// Bytes before these are proven by what stands behind them: damage to them is no torn end.
    pub(super) torn_from: usize,
    pub(super) pieces: Vec<Range<usize>>,
    pub(super) replacements: Vec<(String, Vec<u8>)>,
    pub(super) siblings: Vec<PathBuf>,
}

/// What was written, and what proves how much of it.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The contents after each number of commits.
    pub(super) states: Vec<State>,
    /// Commits that are in tables.
    pub(super) flushed: usize,
    /// The marks of the log: each proves that so many commits were durable, while it can be read.
    pub(super) marks: Vec<Mark>,
}

#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) path: PathBuf,
    pub(super) range: Range<usize>,
    pub(super) bytes: Vec<u8>,
    pub(super) commits: usize,
}

impl Specimen {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes before the damage.
    pub fn bytes(&self) -> Vec<u8> {
        self.fs.read_file(&self.path)
    }

    /// The blocks, frames or lines that it is made of.
    pub fn pieces(&self) -> &[Range<usize>] {
        &self.pieces
    }

    /// Other files that could stand in its place: what it was earlier, what another database has
    /// under its name.
    pub fn replacements(&self) -> &[(String, Vec<u8>)] {
        &self.replacements
    }

    /// The other files of its kind in the same database.
    pub fn siblings(&self) -> &[PathBuf] {
        &self.siblings
    }

    /// A disk of its own with this database.
    pub(crate) fn disk(&self) -> SimFs {
        self.fs.kill_image()
    }

    /// How many commits were acknowledged.
    pub(super) fn commits(&self) -> usize {
        self.history.states.len() - 1
    }

    /// How many commits are certainly there, on a disk on which the file was changed: those that
    /// are in tables, and those which a mark proves that can still be read.
    pub(super) fn commits_proven(&self, fs: &SimFs) -> usize {
        if self.is_closed {
            return self.commits();
        }
        let is_readable = |mark: &&Mark| {
            let is_there = fs.files().iter().any(|(path, _)| *path == mark.path);
            is_there && fs.read_file(&mark.path).get(mark.range.clone()) == Some(&mark.bytes[..])
        };
        let marks = self.history.marks.iter().filter(is_readable).map(|mark| mark.commits);
        marks.max().unwrap_or(0).max(self.history.flushed)
    }
}

/// The engine as small as it can be, on `fs`.
pub(crate) fn options(fs: &SimFs, mode: ReadMode, compression: Compression, id: u64) -> Options {
    let mut env = Env::simulated(fs.shared());
    env.random = Arc::new(move || id);
    Options {
        memory_bytes: 4 << 20,
        memtable_bytes: Some(1 << 20),
        cache_bytes: Some(1 << 20),
        log_segment_bytes: 64 << 10,
        log_bytes_max: 1 << 20,
        read_mode: mode,
        keyspace: KeyspaceOptions {
            compression: vec![compression],
            block_bytes: 256,
            ..KeyspaceOptions::default()
        },
        env,
        ..Options::default()
    }
}

/// A frame as far as the sweep has to know it.
pub(super) struct FoundFrame {
    pub(super) kind: lsm_wal::FrameKind,
    pub(super) seq_no: u64,
    pub(super) range: Range<usize>,
    pub(super) payload: Vec<u8>,
}

/// The frames of a file, and whether it ends behind the last one, with zeros or nothing at all.
pub(super) fn frames(fs: &SharedFs, path: &Path) -> (Vec<FoundFrame>, bool) {
    let mut frames = Vec::new();
    let Ok(mut reader) = FrameReader::open(fs, path, None) else { return (frames, false) };
    loop {
        match reader.next().expect("a simulated disk reads") {
            FrameStep::Frame(frame) => frames.push(FoundFrame {
                kind: frame.kind,
                seq_no: frame.seq_start,
                range: frame.offset as usize..frame.end() as usize,
                payload: frame.payload.to_vec(),
            }),
            FrameStep::End { .. } => return (frames, true),
            FrameStep::Bad { .. } => return (frames, false),
        }
    }
}
