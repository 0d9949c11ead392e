//! Nothing is marked as unfinished: what is in the tree is meant to be there.

use crate::tree::Tree;

/// The marks. Each is put together here, so that this file does not contain it.
const MARKS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

/// Every line of every text file that carries a mark.
pub(crate) fn violations(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(mark) = MARKS.iter().find(|mark| carries(line, mark)) {
                violations.push(format!("{}:{} says {mark}", file.path, index + 1));
            }
        }
    }
    violations
}

/// Whether `mark` stands in `line` as a word of its own.
fn carries(line: &str, mark: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(mark).any(|(at, _)| {
        let goes_on_before = line[..at].ends_with(part_of_word);
        let goes_on_after =
            mark.ends_with(part_of_word) && line[at + mark.len()..].starts_with(part_of_word);
        !goes_on_before && !goes_on_after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_with_its_line() {
        let text = format!("fn f() {{\n    {}later)\n}}\n", MARKS[3]);
        let tree = Tree::of(&[("crates/a/src/b.rs", &text)]);
        assert_eq!(violations(&tree), [format!("crates/a/src/b.rs:2 says {}", MARKS[3])]);
    }

    #[test]
    fn a_mark_inside_a_longer_word_is_none() {
        assert!(carries(&format!("// {}: more", MARKS[0]), MARKS[0]));
        assert!(!carries(&format!("MAS{}N", MARKS[0]), MARKS[0]));
    }
}
