//! Which crate may import which: the table of `docs/architecture.md`, held against the workspace.
//!
//! Dependencies for building and testing count too. A test that reached for a higher layer would
//! make the lower one impossible to take out and use alone.

use std::collections::BTreeSet;

use crate::Result;
use crate::fuzz::FUZZ_MANIFEST;
use crate::tree::Tree;
use crate::workspace::{self, BENCHES_MANIFEST, Workspace};

/// Where the same table stands for people.
const PAGE: &str = "docs/architecture.md";

/// The crates of this repository, in the order of their layers, and what each may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("lsm-io", &[]),
    ("lsm-entry", &[]),
    ("lsm-bloom", &[]),
    ("lsm-workload", &[]),
    ("lsm-wal", &["lsm-io"]),
    ("lsm-memtable", &["lsm-entry"]),
    ("lsm-version", &["lsm-entry"]),
    ("lsm-sstable", &["lsm-io", "lsm-entry", "lsm-bloom"]),
    ("lsm-blob", &["lsm-io"]),
    ("lsm-manifest", &["lsm-io", "lsm-version", "lsm-wal"]),
    ("lsm-compaction", &["lsm-entry", "lsm-version"]),
    (
        "lsm-engine",
        &[
            "lsm-io",
            "lsm-entry",
            "lsm-bloom",
            "lsm-wal",
            "lsm-memtable",
            "lsm-version",
            "lsm-sstable",
            "lsm-blob",
            "lsm-manifest",
            "lsm-compaction",
        ],
    ),
    ("lsm-cli", USES_AND_DUMPS),
    (
        "lsm-sim",
        &[
            "lsm-engine",
            "lsm-workload",
            "lsm-io",
            "lsm-entry",
            "lsm-bloom",
            "lsm-wal",
            "lsm-memtable",
            "lsm-sstable",
            "lsm-blob",
            "lsm-manifest",
            "lsm-version",
        ],
    ),
    ("lsm-fuzz", &["lsm-sim"]),
    ("lsm-bench", &["lsm-engine", "lsm-workload"]),
    (
        "lsm-instructions",
        &["lsm-engine", "lsm-workload", "lsm-io", "lsm-entry", "lsm-bloom", "lsm-sstable"],
    ),
    ("xtask", &[]),
];

/// The command line dumps files, so it also reads formats.
const USES_AND_DUMPS: &[&str] = &[
    "lsm-engine",
    "lsm-workload",
    "lsm-io",
    "lsm-entry",
    "lsm-wal",
    "lsm-sstable",
    "lsm-blob",
    "lsm-manifest",
    "lsm-version",
];

/// Every dependency that the table does not allow, and every place where table, page and workspace
/// disagree about which crates there are.
pub(crate) fn violations(tree: &Tree) -> Result<Vec<String>> {
    let mut packages = Workspace::read()?.packages;
    for manifest in [BENCHES_MANIFEST, FUZZ_MANIFEST] {
        if workspace::root().join(manifest).exists() {
            packages.extend(Workspace::read_manifest(manifest)?.packages);
        }
    }
    let found: Vec<(String, Vec<String>)> =
        packages.into_iter().map(|package| (package.name, package.dependencies)).collect();
    let mut violations = forbidden_imports(&found);
    match tree.file(PAGE) {
        Some(page) => violations.extend(differences_from_page(&page.text)),
        None => violations.push(format!("{PAGE} is missing")),
    }
    Ok(violations)
}

fn may_import(name: &str) -> Option<&'static [&'static str]> {
    MAY_IMPORT.iter().find(|(from, _)| *from == name).map(|(_, to)| *to)
}

/// Compares packages, each with the names it depends on, with the table.
fn forbidden_imports(packages: &[(String, Vec<String>)]) -> Vec<String> {
    let is_ours = |name: &str| {
        may_import(name).is_some() || packages.iter().any(|(package, _)| package == name)
    };
    let mut violations = Vec::new();
    for (from, dependencies) in packages {
        let Some(allowed) = may_import(from) else {
            violations.push(format!("{from} has no layer in xtask/src/layers.rs"));
            continue;
        };
        for to in dependencies.iter().filter(|to| is_ours(to)) {
            if !allowed.contains(&to.as_str()) {
                violations.push(format!("{from} may not depend on {to}"));
            }
        }
    }
    violations
}

/// Compares the table with the rows `| crate | may import | sentence |` of the page.
fn differences_from_page(page: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let mut named = BTreeSet::new();
    for (name, printed) in page.lines().filter_map(row) {
        let Some(allowed) = may_import(&name) else {
            violations.push(format!("{PAGE} names {name}, which has no layer"));
            continue;
        };
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        if printed.iter().map(String::as_str).collect::<BTreeSet<_>>() != allowed {
            violations.push(format!("{PAGE} and xtask/src/layers.rs differ about {name}"));
        }
        named.insert(name);
    }
    for (name, _) in MAY_IMPORT.iter().filter(|(name, _)| !named.contains(*name)) {
        violations.push(format!("{PAGE} has no row for {name}"));
    }
    violations
}

/// A row of the page's table: a crate, and what it may import with the names' `lsm-` left out.
fn row(line: &str) -> Option<(String, Vec<String>)> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let name = cells.next()?.trim_matches('`');
    let imports = cells.next()?;
    if !(name.starts_with("lsm-") || name == "xtask") {
        return None;
    }
    let imports = imports.split(',').map(str::trim).filter(|import| !["–", ""].contains(import));
    Some((name.to_owned(), imports.map(|import| format!("lsm-{import}")).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_imports(from: &str, to: &[&str], expected: &[&str]) {
        let dependencies = to.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(forbidden_imports(&[(from.to_owned(), dependencies)]), expected);
    }

    #[test]
    fn what_the_table_allows_passes() {
        check_imports("lsm-wal", &["lsm-io", "crc32fast"], &[]);
        check_imports("xtask", &["clap"], &[]);
    }

    #[test]
    fn an_import_from_above_is_named() {
        check_imports("lsm-wal", &["lsm-engine"], &["lsm-wal may not depend on lsm-engine"]);
        check_imports("lsm-cli", &["lsm-sim"], &["lsm-cli may not depend on lsm-sim"]);
    }

    #[test]
    fn a_crate_without_a_layer_is_named() {
        check_imports("lsm-new", &[], &["lsm-new has no layer in xtask/src/layers.rs"]);
    }

    #[test]
    fn no_arrow_points_up() {
        for (index, (from, imports)) in MAY_IMPORT.iter().enumerate() {
            for to in *imports {
                let position = MAY_IMPORT.iter().position(|(name, _)| name == to);
                assert!(position.is_some_and(|below| below < index), "{from} imports {to}");
            }
        }
    }

    #[test]
    fn a_page_that_says_something_else_is_noticed() {
        let differences = differences_from_page("| `lsm-wal` | io, entry | frames |");
        assert_eq!(differences[0], format!("{PAGE} and xtask/src/layers.rs differ about lsm-wal"));
        assert!(differences.contains(&format!("{PAGE} has no row for lsm-io")));
    }
}
