//! Versions as pictures in text, for tests and simulators.
//!
//! ```text
//! L0: a-f c-k            each table of level 0 is a run of its own, newest first
//! L1: a-e g-m:200 p-t    one run; after the colon, bytes
//! L2: a-z | b-k m-p      two runs, newest first
//! ```

use std::fmt::Write as _;
use std::sync::Arc;

use crate::{Place, Run, TableRecord, Version, VersionEdit};

/// Bytes of a table whose picture does not say.
const DEFAULT_BYTES: u64 = 100;

impl Version {
    /// Reads a picture; tables are numbered from 1 in the order of the text, runs so that earlier
    /// ones are newer. Panics on what is no picture: it is for tests.
    pub fn parse(picture: &str) -> Self {
        let mut edit = VersionEdit::default();
        let mut number = 0;
        // Newest first means descending ids.
        let mut run = 1000;
        for line in picture.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (level, rest) = line.split_once(':').expect("a level begins with \"L1:\"");
            let level: usize = level.trim_start_matches('L').parse().expect("a level's number");
            for group in rest.split('|') {
                for word in group.split_whitespace() {
                    number += 1;
                    if level == 0 {
                        run -= 1;
                    }
                    let table = Arc::new(parse_table(word, number, run));
                    edit.added.push((Place { level, run }, table));
                }
                run -= 1;
            }
        }
        Self::empty().apply(&edit).expect("the picture shows a version")
    }

    /// The picture of this version.
    pub fn picture(&self) -> String {
        let mut picture = String::new();
        for (number, level) in self.levels().iter().enumerate() {
            if level.runs.is_empty() {
                continue;
            }
            let separator = if number == 0 { " " } else { " | " };
            let runs: Vec<_> = level.runs.iter().map(picture_run).collect();
            let _ = writeln!(picture, "L{number}: {}", runs.join(separator));
        }
        picture
    }
}

fn picture_run(run: &Run) -> String {
    let tables: Vec<_> = run.tables.iter().map(|table| picture_table(table)).collect();
    tables.join(" ")
}

/// The word that stands for a table.
pub fn picture_table(table: &TableRecord) -> String {
    let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
    let mut word = format!("{}-{}", text(&table.lower), text(&table.upper));
    if table.bytes != DEFAULT_BYTES {
        let _ = write!(word, ":{}", table.bytes);
    }
    word
}

fn parse_table(word: &str, number: u64, age: u64) -> TableRecord {
    let (bounds, bytes) = word.split_once(':').unwrap_or((word, ""));
    let (lower, upper) = bounds.split_once('-').unwrap_or((bounds, bounds));
    let bytes = if bytes.is_empty() { DEFAULT_BYTES } else { bytes.parse().expect("bytes") };
    TableRecord {
        number,
        birth_number: number,
        bytes,
        lower: lower.into(),
        upper: upper.into(),
        seq_no_min: age,
        seq_no_max: age,
        entries: bytes / 10,
        raw_bytes: bytes,
        ..TableRecord::default()
    }
}
