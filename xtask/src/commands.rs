//! The commands that pages tell their readers to paste, as far as they run an example: it is there, in
//! the crate that the command names, and no two crates have one of the same name.
//!
//! Cargo writes the examples of all crates into one directory: of two with one name, whichever was
//! built last would be run for both.

use std::collections::BTreeMap;

use crate::tree::{SourceFile, Tree};

/// Crates whose README has to say what they cost here, with the command that tells it anywhere else.
const MEASURED: &[&str] =
    &["lsm-wal", "lsm-memtable", "lsm-bloom", "lsm-sstable", "lsm-entry", "lsm-compaction"];

/// Every command that runs what is not there, and every README that lacks one.
pub(crate) fn violations(tree: &Tree) -> Vec<String> {
    let examples: Vec<(&str, &str)> =
        tree.files.iter().filter_map(|file| example(&file.path)).collect();
    let mut violations = same_names(&examples);
    for file in tree.files.iter().filter(|file| file.is_markdown() || is_example(file)) {
        violations.extend(lost_commands(file, &examples));
    }
    for package in MEASURED {
        let path = format!("crates/{package}/README.md");
        let has_figures =
            |file: &SourceFile| commands(&file.text).any(|(_, line)| is_figures(line));
        if !tree.file(&path).is_some_and(has_figures) {
            violations.push(format!("{path} names no `--release` example that prints figures"));
        }
    }
    violations
}

/// The crate and the name of an example, from its path.
fn example(path: &str) -> Option<(&str, &str)> {
    let (package, name) = path.strip_prefix("crates/")?.split_once("/examples/")?;
    Some((package, name.strip_suffix(".rs")?)).filter(|(_, name)| !name.contains('/'))
}

fn is_example(file: &SourceFile) -> bool {
    example(&file.path).is_some()
}

fn is_figures(line: &str) -> bool {
    line.contains("--release")
        && words_after(line, "--example").any(|name| name.contains("figures"))
}

fn same_names(examples: &[(&str, &str)]) -> Vec<String> {
    let mut packages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (package, name) in examples {
        packages.entry(name).or_default().push(package);
    }
    packages.retain(|_, packages| packages.len() > 1);
    let shared = |(name, packages): (&str, Vec<&str>)| {
        format!(
            "{} each have an example {name}; cargo builds both as one file",
            packages.join(" and ")
        )
    };
    packages.into_iter().map(shared).collect()
}

/// The lines that run an example, numbered from one.
fn commands(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| line.contains("--example "))
}

/// The commands of a page, or of an example's own comment, that run no example of a crate.
fn lost_commands(file: &SourceFile, examples: &[(&str, &str)]) -> Vec<String> {
    let mut violations = Vec::new();
    for (number, line) in commands(&file.text) {
        // Where a command names no crate, it is the one that the file belongs to, or any.
        let own = file.path.strip_prefix("crates/").and_then(|path| path.split('/').next());
        for (at, _) in line.match_indices("--example ") {
            let Some(name) = words_after(&line[at..], "--example").next() else { continue };
            let before = line[..at].rsplit('`').next().unwrap_or_default();
            let package = words_after(before, "-p").last().or(own);
            let is_there = examples
                .iter()
                .any(|(of, own)| *own == name && package.is_none_or(|package| package == *of));
            if !is_there {
                let path = &file.path;
                let of = package.unwrap_or("any crate");
                violations.push(format!(
                    "{path}:{number} runs the example {name} of {of}, which is not there"
                ));
            }
        }
    }
    violations
}

/// The words that follow `flag`, freed of what surrounds code in a page.
fn words_after<'a>(line: &'a str, flag: &'a str) -> impl Iterator<Item = &'a str> {
    let words = line.split_whitespace();
    let pairs = words.clone().zip(words.skip(1));
    let end = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-');
    pairs
        .filter(move |(word, _)| word.trim_start_matches('`') == flag)
        .filter_map(move |(_, next)| next.split(end).next())
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_page(path: &str, text: &str, expected: &[&str]) {
        let tree = Tree::of(&[(path, text)]);
        let examples = [("lsm-wal", "event_journal"), ("lsm-io", "saving_a_file")];
        assert_eq!(lost_commands(&tree.files[0], &examples), expected);
    }

    #[test]
    fn a_command_finds_its_example_in_the_crate_that_it_names_or_stands_in() {
        check_page(
            "docs/a.md",
            "| `cargo run -p lsm-wal --example event_journal`, then | x |",
            &[],
        );
        check_page(
            "crates/lsm-io/README.md",
            "`cargo run --example saving_a_file`: three ways",
            &[],
        );
        check_page("docs/a.md", "`cargo run --example saving_a_file`", &[]);
    }

    #[test]
    fn a_command_that_runs_nothing_is_named() {
        let page = "first\n`cargo run -p lsm-wal --example saving_a_file`";
        let lost = "docs/a.md:2 runs the example saving_a_file of lsm-wal, which is not there";
        check_page("docs/a.md", page, &[lost]);
        let lost = "crates/lsm-io/README.md:1 runs the example gone of lsm-io, which is not there";
        check_page("crates/lsm-io/README.md", "cargo run --example gone -- 7", &[lost]);
    }

    #[test]
    fn each_command_of_a_line_is_looked_at_by_itself() {
        let line =
            "`cargo run -p lsm-wal --example event_journal`, `-p lsm-io --example event_journal`";
        let lost = "docs/a.md:1 runs the example event_journal of lsm-io, which is not there";
        check_page("docs/a.md", line, &[lost]);
    }

    #[test]
    fn examples_of_one_name_in_two_crates_are_refused() {
        let examples = [("lsm-a", "figures"), ("lsm-b", "figures"), ("lsm-a", "other")];
        let shared = "lsm-a and lsm-b each have an example figures; cargo builds both as one file";
        assert_eq!(same_names(&examples), [shared]);
    }

    #[test]
    fn a_readme_without_its_figures_is_named() {
        let path = "crates/lsm-wal/README.md";
        let missing = |text: &str| {
            violations(&Tree::of(&[(path, text)]))
                .iter()
                .any(|violation| violation.starts_with(path))
        };
        assert!(missing("`cargo run -p lsm-wal --example event_journal`"));
        let example = "crates/lsm-wal/examples/log_figures.rs";
        let text = "`cargo run --release -p lsm-wal --example log_figures`";
        let found = violations(&Tree::of(&[(path, text), (example, "")]));
        assert!(!found.iter().any(|violation| violation.starts_with(path)), "{found:?}");
    }
}
