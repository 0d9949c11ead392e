//! The rules about the source tree, by name.

use crate::tree::Tree;
use crate::{Result, commands, dependencies, layers, links, planted, std_fs, unsafe_files, words};

/// A rule: what it claims, and how to find where the claim is false.
struct Rule {
    name: &'static str,
    claim: &'static str,
    /// Returns one sentence a violation.
    violations: fn(&Tree) -> Result<Vec<String>>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "layers",
        claim: "each crate depends only on the crates that the architecture allows it",
        violations: layers::violations,
    },
    Rule {
        name: "dependencies",
        claim: "the engine stays within its number of third-party crates",
        violations: dependencies::violations,
    },
    Rule {
        name: "unsafe",
        claim: "unsafe code is allowed in the listed files and nowhere else",
        violations: |tree| Ok(unsafe_files::violations(tree)),
    },
    Rule {
        name: "files",
        claim: "only lsm-io reaches for the file system",
        violations: |tree| Ok(std_fs::violations(tree)),
    },
    Rule {
        name: "words",
        claim: "nothing is marked as unfinished",
        violations: |tree| Ok(words::violations(tree)),
    },
    Rule {
        name: "links",
        claim: "every relative link and every named page leads somewhere",
        violations: |tree| Ok(links::violations(tree)),
    },
    Rule {
        name: "commands",
        claim: "every example that a page runs is there, under a name of its own",
        violations: |tree| Ok(commands::violations(tree)),
    },
    Rule {
        name: "planted",
        claim: "every planted bug fits the tree as it is",
        violations: planted::stale,
    },
    Rule {
        name: "orders",
        claim: "every order that must not change names its test and its planted bug",
        violations: planted::orders,
    },
];

/// Checks the rules that `names` lists, or all if it is empty; `false` when one is broken.
pub(crate) fn run(names: &[String]) -> Result<bool> {
    let unknown = names.iter().find(|name| RULES.iter().all(|rule| rule.name != **name));
    if let Some(unknown) = unknown {
        let known: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
        return Err(format!("no rule `{unknown}`; there are {}", known.join(", ")).into());
    }
    let tree = Tree::read()?;
    let mut holds = true;
    for rule in RULES.iter().filter(|rule| names.is_empty() || names.iter().any(|n| n == rule.name))
    {
        let violations = (rule.violations)(&tree)?;
        let verdict = if violations.is_empty() { "ok" } else { "BROKEN" };
        println!("  {:<14}{:<8}{}", rule.name, verdict, rule.claim);
        for violation in &violations {
            println!("      {violation}");
        }
        if !violations.is_empty() {
            println!("      rerun: cargo xtask check {}", rule.name);
        }
        holds &= violations.is_empty();
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_does_not_exist_is_refused_with_those_that_do() {
        let error = run(&["colour".to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("no rule `colour`; there are layers, "), "{error}");
    }

    #[test]
    fn the_repository_keeps_every_rule() {
        let tree = Tree::read().unwrap();
        let violations: Vec<String> =
            RULES.iter().flat_map(|rule| (rule.violations)(&tree).unwrap()).collect();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}
