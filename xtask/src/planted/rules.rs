//! Two rules: every planted bug still fits the tree, and every line of docs/orders.md names the bug
//! that swaps it and a test that exists.

use super::bug::{self, Bug};
use crate::Result;
use crate::tree::Tree;

pub(super) const PAGE: &str = "docs/orders.md";

/// Every planted bug whose lines are not where they were, or whose check names a test that is gone.
pub(crate) fn stale(tree: &Tree) -> Result<Vec<String>> {
    Ok(bug::all()?.iter().flat_map(|bug| stale_parts(tree, bug)).collect())
}

fn stale_parts(tree: &Tree, bug: &Bug) -> Vec<String> {
    let changed = bug.changed(|path| tree.file(path).map(|file| file.text.clone()));
    let mut violations: Vec<String> = changed.err().into_iter().collect();
    for check in &bug.checks {
        // What follows `--` in a `cargo test` selects tests; another program has words of its own.
        let selected = check.words.strip_prefix("test ").and_then(|words| words.split_once(" -- "));
        let Some((_, names)) = selected else { continue };
        for name in names.split_whitespace().filter(|name| !name.starts_with("--")) {
            if !is_test(tree, name) {
                violations.push(format!("{}: no test is called {name}", bug.name));
            }
        }
    }
    violations
}

/// Every line of docs/orders.md without a planted bug or a test.
pub(crate) fn orders(tree: &Tree) -> Result<Vec<String>> {
    let page = tree.file(PAGE).ok_or_else(|| format!("there is no {PAGE}"))?;
    Ok(unproven_lines(tree, &page.text, &bug::all()?))
}

fn unproven_lines(tree: &Tree, page: &str, bugs: &[Bug]) -> Vec<String> {
    let mut violations = Vec::new();
    let mut numbers = Vec::new();
    for line in page.lines() {
        let columns: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let Some(number) = columns[0].strip_prefix("| ").and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let mut complain = |what: String| violations.push(format!("{PAGE}: line {number} {what}"));
        if numbers.contains(&number) {
            complain("is there twice".to_owned());
        }
        numbers.push(number);
        let [.., tests, planted] = columns[..] else {
            complain("has too few columns".to_owned());
            continue;
        };
        let tests: Vec<&str> = in_backticks(tests).collect();
        if tests.is_empty() {
            complain("names no test".to_owned());
        }
        for test in tests {
            let test = test.rsplit_once(": ").map_or(test, |(_, name)| name);
            if !is_test(tree, test) {
                complain(format!("names {test}, which is no test"));
            }
        }
        let planted: Vec<&str> = in_backticks(planted).collect();
        if planted.is_empty() {
            complain("names no planted bug".to_owned());
        }
        for name in planted {
            if bugs.iter().all(|bug| bug.name != name) {
                complain(format!("names {name}, which is no planted bug"));
            }
        }
    }
    violations
}

/// Whether the last part of `path`, as in `waiting::a_write_is_seen`, is a test or begins the name
/// of one: a filter may be shorter than the name.
fn is_test(tree: &Tree, path: &str) -> bool {
    let name = path.rsplit("::").next().unwrap_or(path);
    let declared = format!("fn {name}");
    let is_module = || {
        let ends = [format!("/{name}.rs"), format!("/{name}/main.rs")];
        tree.files.iter().any(|file| ends.iter().any(|end| file.path.ends_with(end.as_str())))
    };
    tree.files.iter().any(|file| file.is_rust() && file.text.contains(&declared)) || is_module()
}

/// The line of docs/orders.md that a planted bug swaps.
pub(super) fn line_of(page: &str, name: &str) -> Option<u32> {
    let quoted = format!("`{name}`");
    let line = page.lines().find(|line| line.contains(&quoted))?;
    line.strip_prefix("| ")?.split(' ').next()?.parse().ok()
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUG: &str = "A.\ntest: cargo test -p a -- b::it_holds\n\n@@ src/a.rs\n-one\n";

    fn check_page(line: &str, expected: &[&str]) {
        let tree = Tree::of(&[("src/a.rs", "one\nfn it_holds() {}\n")]);
        let bugs = [Bug::parse("swapped", BUG).unwrap()];
        let page = format!("| # | this | noticed by | planted |\n|---|---|---|---|\n{line}\n");
        assert_eq!(unproven_lines(&tree, &page, &bugs), expected, "{line}");
    }

    #[test]
    fn a_line_with_its_test_and_its_bug_passes() {
        check_page("| 1 | this | `a: b::it_holds` | `swapped` |", &[]);
    }

    #[test]
    fn a_line_without_test_or_bug_is_named() {
        check_page(
            "| 1 | this | `it_fails` | `other` |",
            &[
                "docs/orders.md: line 1 names it_fails, which is no test",
                "docs/orders.md: line 1 names other, which is no planted bug",
            ],
        );
        check_page("| 2 | this | nobody | `swapped` |", &["docs/orders.md: line 2 names no test"]);
    }

    #[test]
    fn the_line_that_a_bug_swaps_is_found() {
        let page = "| # | this |\n|---|---|\n| 7 | this | `test` | `one`, `other` |\n";
        assert_eq!([line_of(page, "other"), line_of(page, "none")], [Some(7), None]);
    }

    #[test]
    fn a_stale_bug_is_named() {
        let bug = Bug::parse("swapped", BUG).unwrap();
        let fresh = Tree::of(&[("src/a.rs", "one\nfn it_holds() {}\n")]);
        assert_eq!(stale_parts(&fresh, &bug), [""; 0]);
        let stale = Tree::of(&[("src/a.rs", "two\n")]);
        assert_eq!(stale_parts(&stale, &bug).len(), 2);
    }
}
