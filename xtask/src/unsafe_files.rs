//! Where `unsafe` is allowed: one named file a crate, or two, where it pays.
//!
//! The compiler denies `unsafe_code` in every crate that takes the workspace's lints. A file that
//! lifts the denial for itself must stand in the list here, and a file in the list must lift it, so
//! the list always says how much there is to audit.

use crate::code::code_only;
use crate::tree::{SourceFile, Tree};

/// The files that may contain unsafe code, and what they buy with it.
const UNSAFE_FILES: &[(&str, &str)] = &[
    ("crates/lsm-io/src/cpu_time.rs", "the time a thread has run, asked by system call"),
    ("crates/lsm-io/src/mapping.rs", "files mapped into memory"),
    ("crates/lsm-io/src/priority.rs", "a thread's priority, set by system call"),
    ("crates/lsm-io/src/space.rs", "the free space of a file system, asked by system call"),
    (
        "crates/lsm-io/src/write_back.rs",
        "long files sent to the disk ahead of a sync, by system call",
    ),
    ("crates/lsm-io/src/write_through.rs", "few bytes of a long file made durable, by system call"),
    ("crates/lsm-memtable/src/arena.rs", "entries that stay put while readers hold them"),
    ("crates/lsm-memtable/src/memory.rs", "memory of zero bits, in pages of the system"),
    (
        "crates/lsm-memtable/src/prefetch.rs",
        "lines of entries, slots and the index asked for ahead",
    ),
    ("crates/lsm-sstable/src/simd.rs", "32 hash tags compared at once"),
    ("crates/lsm-sim/src/real/shutdown.rs", "a file system cut off from its disk, by system call"),
    ("benches/peers/src/lmdb.rs", "a peer whose interface is unsafe"),
    ("crates/lsm-bloom/src/prefetch.rs", "a filter's line fetched before it is tested"),
];

/// Files that lift the denial without being listed, listed ones that do not, and crates that did
/// not take the denial in the first place.
pub(crate) fn violations(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_rust() && lifts_the_denial(&file.text)) {
        if !UNSAFE_FILES.iter().any(|(path, _)| *path == file.path) {
            violations.push(format!("{} allows unsafe code but is not listed", file.path));
        }
    }
    for (path, _) in UNSAFE_FILES {
        if !tree.file(path).is_some_and(|file| lifts_the_denial(&file.text)) {
            violations.push(format!("{path} is listed but allows no unsafe code"));
        }
    }
    for manifest in tree.files.iter().filter(|file| is_crate_manifest(file)) {
        if !manifest.text.contains("[lints]\nworkspace = true\n") {
            violations.push(format!("{} does not take the workspace's lints", manifest.path));
        }
    }
    violations
}

fn lifts_the_denial(text: &str) -> bool {
    let code: String = code_only(text).split_whitespace().collect();
    ["allow", "expect", "warn"].iter().any(|word| {
        // The lint may stand anywhere in the list between the brackets.
        code.match_indices(&format!("{word}(")).any(|(at, _)| {
            let list = &code[at + word.len() + 1..];
            let list = list.split(')').next().unwrap_or_default();
            list.split(',').any(|lint| lint == "unsafe_code")
        })
    })
}

fn is_crate_manifest(file: &SourceFile) -> bool {
    file.path.starts_with("crates/") && file.path.ends_with("/Cargo.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_lifts_the_denial_unlisted_is_named() {
        let tree = Tree::of(&[("crates/lsm-wal/src/log.rs", "#![allow(dead_code, unsafe_code)]")]);
        let expected = "crates/lsm-wal/src/log.rs allows unsafe code but is not listed";
        assert_eq!(violations(&tree)[0], expected);
    }

    #[test]
    fn a_sentence_about_unsafe_code_lifts_nothing() {
        assert!(!lifts_the_denial("// here is no #![allow(unsafe_code)]\n"));
        assert!(lifts_the_denial("#[expect(\n    unsafe_code,\n    reason = \"why\"\n)]\n"));
    }

    #[test]
    fn a_listed_file_without_unsafe_code_is_named() {
        let tree = Tree::of(&[("crates/lsm-sstable/src/simd.rs", "//! Safe.\n")]);
        let expected = "crates/lsm-sstable/src/simd.rs is listed but allows no unsafe code";
        assert!(violations(&tree).iter().any(|violation| violation == expected));
    }

    #[test]
    fn a_crate_without_the_shared_lints_is_named() {
        let tree = Tree::of(&[("crates/lsm-wal/Cargo.toml", "[package]\nname = \"lsm-wal\"\n")]);
        let expected = "crates/lsm-wal/Cargo.toml does not take the workspace's lints";
        assert!(violations(&tree).iter().any(|violation| violation == expected));
    }
}
