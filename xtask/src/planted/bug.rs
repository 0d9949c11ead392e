//! A planted bug: a fault to put into the tree, the promise it breaks and the checks that must
//! notice, as kept in `xtask/planted/NAME.diff`:
//!
//! ```text
//! The name of a table is not durable before an edit names it.
//! crash: cargo test -p lsm-sim --test it -- no_crash_in_a_short_sequence
//!
//! @@ crates/lsm-engine/src/outputs.rs
//!          if !self.finished.is_empty() {
//! -            self.workshop.sync_names()?;
//!          }
//! ```
//!
//! The first line says what the fault breaks. Each further line names a harness and the command by
//! which it notices. The changes follow, as in a diff without line numbers: their lines stand in the
//! file exactly once. A bug that swaps what must not be swapped is named in docs/orders.md.

use std::path::Path;

use super::harness::Harness;
use crate::{Result, workspace};

/// Where the bugs are kept, from the root of the repository.
const DIRECTORY: &str = "xtask/planted";

/// One fault.
#[derive(Clone, Debug)]
pub(crate) struct Bug {
    pub(crate) name: String,
    /// What it breaks, in a sentence.
    pub(crate) promise: String,
    /// Never empty. Each has to fail.
    pub(crate) checks: Vec<Check>,
    /// Never empty.
    pub(crate) changes: Vec<Change>,
}

/// What is expected to notice.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) harness: Harness,
    /// Variables of its environment.
    pub(crate) variables: Vec<(String, String)>,
    /// The words of a cargo command, without `cargo`.
    pub(crate) words: String,
}

/// One replacement in one file.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) path: String,
    find: String,
    replacement: String,
}

/// Every kept bug, in the order of their names.
pub(crate) fn all() -> Result<Vec<Bug>> {
    let mut bugs = Vec::new();
    for entry in std::fs::read_dir(workspace::root().join(DIRECTORY))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "diff") {
            bugs.push(read(&path)?);
        }
    }
    bugs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(bugs)
}

fn read(path: &Path) -> Result<Bug> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("could not read {}: {error}", path.display()))?;
    Bug::parse(&name, &text).map_err(|reason| format!("{DIRECTORY}/{name}.diff: {reason}").into())
}

impl Bug {
    pub(crate) fn parse(name: &str, text: &str) -> std::result::Result<Self, String> {
        let (head, changes) = text.split_once("\n\n").ok_or("an empty line ends the head")?;
        let mut lines = head.lines();
        let promise = lines.next().unwrap_or_default().to_owned();
        let mut bug = Self {
            name: name.to_owned(),
            promise,
            checks: Vec::new(),
            changes: parse_changes(changes)?,
        };
        for line in lines {
            let (field, value) =
                line.split_once(": ").ok_or_else(|| format!("`{line}` is no `field: value`"))?;
            bug.checks.push(Check::parse(field, value)?);
        }
        if bug.checks.is_empty() {
            return Err("no check is named".to_owned());
        }
        if bug.changes.is_empty() {
            return Err("nothing is changed".to_owned());
        }
        Ok(bug)
    }

    /// The files it changes and what they hold then; `read` gives what a file holds now.
    ///
    /// # Errors
    /// When the list is stale: a change does not stand in its file exactly once.
    pub(crate) fn changed(
        &self,
        read: impl Fn(&str) -> Option<String>,
    ) -> std::result::Result<Vec<(String, String)>, String> {
        let mut changed: Vec<(String, String)> = Vec::new();
        for change in &self.changes {
            let at = match changed.iter().position(|(path, _)| *path == change.path) {
                Some(at) => at,
                None => {
                    let text = read(&change.path)
                        .ok_or_else(|| format!("{}: there is no {}", self.name, change.path))?;
                    changed.push((change.path.clone(), text));
                    changed.len() - 1
                }
            };
            let text = &mut changed[at].1;
            *text = change.applied(text).map_err(|reason| format!("{}: {reason}", self.name))?;
        }
        Ok(changed)
    }
}

impl Check {
    /// Reads `NAME=VALUE cargo WORDS`, with any number of variables.
    fn parse(harness: &str, command: &str) -> std::result::Result<Self, String> {
        let harness = Harness::parse(harness)?;
        let mut rest = command;
        let mut variables = Vec::new();
        loop {
            let (word, more) = rest.split_once(' ').ok_or("a check is a cargo command")?;
            rest = more;
            match word.split_once('=') {
                Some((name, value)) => variables.push((name.to_owned(), value.to_owned())),
                None if word == "cargo" => break,
                None => return Err("a check is a cargo command".to_owned()),
            }
        }
        Ok(Self { harness, variables, words: rest.to_owned() })
    }

    /// Whether it is a test of one crate in the usual build.
    pub(crate) fn is_plain(&self) -> bool {
        let of_the_simulator = self.words.contains("-p lsm-sim ");
        self.variables.is_empty() && self.words.starts_with("test ") && !of_the_simulator
    }
}

impl Change {
    /// `text` with the replacement in it.
    fn applied(&self, text: &str) -> std::result::Result<String, String> {
        let starts: Vec<usize> = text
            .match_indices(&self.find)
            .map(|(at, _)| at)
            .filter(|&at| at == 0 || text.as_bytes()[at - 1] == b'\n')
            .collect();
        match starts[..] {
            [at] => {
                let (before, rest) = text.split_at(at);
                Ok([before, &self.replacement, &rest[self.find.len()..]].concat())
            }
            _ => Err(format!(
                "{} holds these lines {} times, and should once:\n{}",
                self.path,
                starts.len(),
                self.find
            )),
        }
    }
}

fn parse_changes(text: &str) -> std::result::Result<Vec<Change>, String> {
    let mut changes: Vec<Change> = Vec::new();
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("@@ ") {
            let (find, replacement) = (String::new(), String::new());
            changes.push(Change { path: path.to_owned(), find, replacement });
            continue;
        }
        let change = changes.last_mut().ok_or_else(|| format!("`{line}` belongs to no file"))?;
        let (sign, rest) = line.split_at_checked(1).unwrap_or((" ", ""));
        let (is_found, is_put) = match sign {
            " " => (true, true),
            "-" => (true, false),
            "+" => (false, true),
            _ => return Err(format!("`{line}` begins with none of ` `, `-`, `+`, `@@`")),
        };
        for (is_wanted, side) in [(is_found, &mut change.find), (is_put, &mut change.replacement)] {
            if is_wanted {
                side.push_str(rest);
                side.push('\n');
            }
        }
    }
    match changes.iter().find(|change| change.find.is_empty() || change.find == change.replacement)
    {
        Some(change) => Err(format!("a change in {} finds or changes nothing", change.path)),
        None => Ok(changes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "A name is lost.
crash: cargo test -p a -- b
loom: RUSTFLAGS=--cfg=loom cargo test -p a -- c

@@ src/a.rs
 first
-second
+third
@@ src/a.rs
-fourth
";

    #[test]
    fn a_bug_is_read_and_applied() {
        let bug = Bug::parse("name", TEXT).unwrap();
        assert_eq!(bug.promise, "A name is lost.");
        assert_eq!(bug.checks[0].words, "test -p a -- b");
        assert_eq!(bug.checks[1].variables, [("RUSTFLAGS".to_owned(), "--cfg=loom".to_owned())]);
        assert!(bug.checks[0].is_plain() && !bug.checks[1].is_plain());
        let changed = bug.changed(|_| Some("first\nsecond\nfourth\n".to_owned())).unwrap();
        assert_eq!(changed, [("src/a.rs".to_owned(), "first\nthird\n".to_owned())]);
    }

    #[test]
    fn lines_that_do_not_stand_there_exactly_once_make_a_bug_stale() {
        let bug = Bug::parse("name", TEXT).unwrap();
        for text in ["first\nfourth\n", "first\nsecond\nfirst\nsecond\nfourth\n"] {
            let reason = bug.changed(|_| Some(text.to_owned())).unwrap_err();
            assert!(reason.starts_with("name: src/a.rs holds these lines"), "{reason}");
        }
        assert_eq!(bug.changed(|_| None).unwrap_err(), "name: there is no src/a.rs");
    }

    #[test]
    fn a_bug_without_check_or_change_is_refused() {
        for (text, reason) in [
            ("A.\n\n@@ a\n-b\n", "no check is named"),
            ("A.\ncrash: make test\n\n@@ a\n-b\n", "a check is a cargo command"),
            ("A.\ncrash: cargo test -p a\n\n", "nothing is changed"),
            ("A.\nluck: cargo test -p a\n\n@@ a\n-b\n", "there is no harness `luck`"),
            ("A.\ncrash: cargo test -p a\n\n@@ a\n b\n", "a change in a finds or changes nothing"),
        ] {
            assert_eq!(Bug::parse("name", text).unwrap_err(), reason);
        }
    }
}
