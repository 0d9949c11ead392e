//! What the demo prints while it goes on.

use std::io::{self, Write};
use std::path::Path;

use lsm_engine::{Db, Keyspace};
use serde_json::Value;

use super::INDEX;
use crate::commands::shape::COLUMNS;
use crate::exit::Failure;
use crate::format::BytesFormat;
use crate::output::Output;
use crate::picture;

/// Spaces before everything that belongs to a step.
pub(super) const INDENT: usize = 3;

/// Numbered steps for people, or a single object for programs.
pub(super) struct Story {
    out: Output,
    is_told: bool,
    steps: u32,
}

impl Story {
    pub(super) fn new(is_told: bool) -> Self {
        Self { out: Output::new(), is_told, steps: 0 }
    }

    pub(super) fn title(&mut self, title: &str) -> Result<(), Failure> {
        self.with(|out| writeln!(out, "{title}"))
    }

    /// Begins a step.
    pub(super) fn step(&mut self, what: &str) -> Result<(), Failure> {
        self.steps += 1;
        let number = self.steps;
        self.with(|out| writeln!(out, "\n{number}. {what}"))
    }

    pub(super) fn say(&mut self, line: &str) -> Result<(), Failure> {
        self.with(|out| writeln!(out, "{:INDENT$}{line}", ""))
    }

    /// Prints through `write`, and at once: whoever watches should see each step as it happens.
    pub(super) fn with(
        &mut self,
        write: impl FnOnce(&mut Output) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.is_told {
            write(&mut self.out)?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Draws both keyspaces.
    pub(super) fn trees(&mut self, when: &str, db: &Db, index: &Keyspace) -> Result<(), Failure> {
        let columns = usize::from(COLUMNS) - INDENT;
        for (name, keyspace) in [("by code point", db.default_keyspace()), ("by name", index)] {
            let mut drawn = Vec::new();
            picture::print(&mut drawn, &keyspace.shape(), BytesFormat::default(), columns)?;
            self.say(&format!("{name}, {when}:"))?;
            self.with(|out| {
                String::from_utf8_lossy(&drawn)
                    .lines()
                    .try_for_each(|line| writeln!(out, "{:INDENT$}{line}", ""))
            })?;
            self.with(|out| writeln!(out))?;
        }
        Ok(())
    }

    /// What to type next, as it works from here.
    pub(super) fn next_commands(&mut self, dir: &Path) -> Result<(), Failure> {
        let typed = std::env::args().next().unwrap_or_else(|| "lsm".into());
        let lsm = quote(&typed);
        let db = quote(&dir.display().to_string());
        let commands = [
            (format!("{lsm} get --db {db} U+00E9"), "one record"),
            (format!("{lsm} scan --db {db} --prefix U+00 --limit 5"), "records in order"),
            (
                format!("{lsm} scan --db {db} --keyspace {INDEX} --prefix 'LATIN SMALL LETTER A'"),
                "the index",
            ),
            (format!("{lsm} put --db {db} U+00E9 'with a hat'"), "a change"),
            (format!("{lsm} history --db {db} U+00E9"), "what it shadows"),
            (format!("{lsm} explain --db {db} U+00E9"), "how it is found"),
            (format!("{lsm} stats --db {db} --count"), "what it takes"),
            (format!("{lsm} shape --db {db} --svg tree.svg"), "the tree as a picture"),
            (format!("{lsm} verify --db {db}"), "every byte checked"),
        ];
        let width = commands.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
        self.with(|out| {
            writeln!(out, "\nThe database is in {}. Try:\n", dir.display())?;
            for (command, what) in &commands {
                writeln!(out, "{:INDENT$}{command:<width$}  # {what}", "")?;
            }
            writeln!(out, "\nand remove it with: rm -r {db}")
        })
    }

    /// Ends the story; for programs, with its object.
    pub(super) fn finish(mut self, object: &Value) -> Result<(), Failure> {
        if !self.is_told {
            self.out.json(object)?;
        }
        self.out.finish()
    }
}

/// A word as a shell takes it.
fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./+:=,@".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quote("target/release/lsm"), "target/release/lsm");
        assert_eq!(quote("my dir"), "'my dir'");
        assert_eq!(quote("it's"), "'it'\\''s'");
    }
}
