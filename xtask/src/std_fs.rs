//! Only lsm-io names `std::fs`.
//!
//! Every other crate reaches files through the traits of lsm-io, so all of them can be run on a
//! simulated disk and crashed at every step. One direct call would be one step that no test can
//! reach. Tests, examples and benchmarks may do as they like.

use crate::code::shipped_lines;
use crate::tree::Tree;

/// Crates that may: the one that wraps it, the tools around the workspace, and the programs that
/// read their user's files and watch over child processes.
const EXCEPTED: &[&str] = &["crates/lsm-io/", "crates/lsm-cli/", "crates/lsm-sim/"];

/// Every place in shipped code of the other crates that names the module.
pub(crate) fn violations(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for file in tree.files.iter().filter(|file| is_held_to_it(&file.path)) {
        for line in lines_naming_it(&file.text) {
            violations.push(format!("{}:{line} names std::fs; use lsm_io::Fs", file.path));
        }
    }
    violations
}

fn is_held_to_it(path: &str) -> bool {
    let shipped = path.starts_with("crates/") && path.contains("/src/") && path.ends_with(".rs");
    shipped
        && !path.ends_with("/tests.rs")
        && !path.contains("/tests/")
        && !EXCEPTED.iter().any(|prefix| path.starts_with(prefix))
}

/// The numbers of the lines that name the module, as `std::fs` or as `std::{.., fs, ..}`.
fn lines_naming_it(source: &str) -> Vec<usize> {
    let lines = shipped_lines(source);
    let code: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
    code.match_indices("std::")
        .filter(|(at, prefix)| names_fs(&code[at + prefix.len()..]))
        .map(|(at, _)| code[..at].matches('\n').count() + 1)
        .collect()
}

/// Whether the path behind `std::` begins with, or is a group that holds, `fs`.
fn names_fs(path: &str) -> bool {
    let path = path.trim_start();
    let Some(group) = path.strip_prefix('{') else {
        return begins_with_fs(path);
    };
    let mut depth = 0;
    let mut item_begins = true;
    for (at, character) in group.char_indices() {
        if item_begins && depth == 0 && begins_with_fs(&group[at..]) {
            return true;
        }
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => return false,
            '}' => depth -= 1,
            _ => {}
        }
        item_begins = character == ',' || (item_begins && character.is_whitespace());
    }
    false
}

fn begins_with_fs(path: &str) -> bool {
    let mut rest = match path.strip_prefix("fs") {
        Some(rest) => rest.chars(),
        None => return false,
    };
    rest.next().is_none_or(|next| !next.is_alphanumeric() && next != '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_lines(source: &str, expected: &[usize]) {
        assert_eq!(lines_naming_it(source), expected, "{source}");
    }

    #[test]
    fn the_module_is_found_however_it_is_named() {
        check_lines("use std::fs;\nfn f() { std::fs::read(p); }", &[1, 2]);
        check_lines("use std::{\n    io,\n    fs::File,\n};", &[1]);
    }

    #[test]
    fn other_modules_are_fine() {
        check_lines("use std::fmt;\nuse std::{collections::{fs, x}, io};", &[]);
        check_lines("use std::fs_like;", &[]);
    }

    #[test]
    fn comments_and_tests_may_name_it() {
        check_lines("//! Not std::fs.\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}", &[]);
    }

    #[test]
    fn only_the_excepted_crates_may() {
        let source = "use std::fs;\n";
        let tree = Tree::of(&[
            ("crates/lsm-io/src/std_fs.rs", source),
            ("crates/lsm-cli/src/load.rs", source),
            ("crates/lsm-wal/examples/journal.rs", source),
            ("crates/lsm-wal/src/log.rs", source),
        ]);
        assert_eq!(
            violations(&tree),
            ["crates/lsm-wal/src/log.rs:1 names std::fs; use lsm_io::Fs"]
        );
    }
}
