//! What is kept of each piece: a line of JSON, appended when the piece is finished.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::Result;
use crate::torture::harness::Harness;
use crate::torture::piece::Finished;
use crate::torture::source::{Source, machine};

/// One finished piece.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) commit: String,
    pub(crate) is_dirty: bool,
    pub(crate) harness: String,
    pub(crate) seed_from: u64,
    pub(crate) seed_to: u64,
    pub(crate) seconds: f64,
    pub(crate) machine: String,
    /// When it was finished, in seconds since 1970.
    pub(crate) finished_at: u64,
    pub(crate) figures: BTreeMap<String, u64>,
    /// What it found, if it did not hold.
    pub(crate) failure: Option<String>,
}

impl Entry {
    pub(crate) fn new(source: &Source, harness: &Harness, seed: u64, finished: Finished) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            commit: source.commit.clone(),
            is_dirty: source.is_dirty,
            harness: harness.name.clone(),
            seed_from: seed,
            seed_to: seed + harness.seeds_a_piece - 1,
            seconds: finished.took.as_secs_f64(),
            machine: machine(),
            finished_at: since_epoch.as_secs(),
            figures: finished.figures,
            failure: finished.failure,
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "commit": self.commit,
            "dirty": self.is_dirty,
            "harness": self.harness,
            "seed_from": self.seed_from,
            "seed_to": self.seed_to,
            "seconds": (self.seconds * 10.0).round() / 10.0,
            "machine": self.machine,
            "finished_at": self.finished_at,
            "figures": self.figures,
            "failure": self.failure,
        })
    }

    fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let figures = value["figures"].as_object()?.iter();
        Some(Self {
            commit: text("commit")?,
            is_dirty: value["dirty"].as_bool()?,
            harness: text("harness")?,
            seed_from: value["seed_from"].as_u64()?,
            seed_to: value["seed_to"].as_u64()?,
            seconds: value["seconds"].as_f64()?,
            machine: text("machine")?,
            finished_at: value["finished_at"].as_u64()?,
            figures: figures
                .map(|(name, count)| Some((name.clone(), count.as_u64()?)))
                .collect::<Option<_>>()?,
            failure: text("failure"),
        })
    }
}

/// The file of all of them.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
}

impl Ledger {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Every entry, of every state of the code; none if there is no ledger yet.
    pub(crate) fn read(&self) -> Result<Vec<Entry>> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.told("read", &error).into()),
        };
        let lines: Vec<_> = text.split_inclusive('\n').enumerate().collect();
        let mut entries = Vec::with_capacity(lines.len());
        for (index, line) in lines {
            match Entry::parse(line) {
                Some(entry) => entries.push(entry),
                // Without its end: a run was interrupted while it wrote, and lost this piece.
                None if !line.ends_with('\n') => {}
                None => {
                    let path = self.path.display();
                    return Err(format!("{path}, line {}: no entry of a ledger", index + 1).into());
                }
            }
        }
        Ok(entries)
    }

    /// Removes what an interrupted run may have left of a line, so that the next entry begins one.
    pub(crate) fn cut_interrupted_line(&self) -> Result<()> {
        let cut = || {
            let text = std::fs::read(&self.path)?;
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let file = std::fs::OpenOptions::new().write(true).open(&self.path)?;
            file.set_len(whole as u64)
        };
        match cut() {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(self.told("write", &error).into())
            }
            _ => Ok(()),
        }
    }

    /// Adds one at the end.
    pub(crate) fn append(&self, entry: &Entry) -> Result<()> {
        let write = || {
            if let Some(dir) = self.path.parent() {
                std::fs::create_dir_all(dir)?;
            }
            let mut file = std::fs::OpenOptions::new()
                .create(true)
                .read(true)
                .append(true)
                .open(&self.path)?;
            // One call, so that lines of several workers never mix.
            file.write_all(format!("{}\n", entry.to_json()).as_bytes())
        };
        write().map_err(|error| self.told("write", &error).into())
    }

    fn told(&self, action: &str, error: &std::io::Error) -> String {
        format!("could not {action} {}: {error}", self.path.display())
    }
}
