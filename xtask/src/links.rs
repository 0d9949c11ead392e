//! Every relative link in a page leads to a file, every anchor to a heading, and every page that a
//! source file names is there.

use std::path::{Component, Path, PathBuf};

use crate::tree::{SourceFile, Tree};
use crate::workspace;

/// Every link and every mention that leads nowhere.
pub(crate) fn violations(tree: &Tree) -> Vec<String> {
    let root = workspace::root();
    let exists = |path: &str| tree.file(path).is_some() || root.join(path).exists();
    let mut violations = Vec::new();
    for file in &tree.files {
        if file.is_markdown() {
            violations.extend(dead_links(file, tree, &exists));
        } else if file.is_rust() {
            violations.extend(dead_mentions(file, &exists));
        }
    }
    violations
}

/// The links of a page that lead nowhere.
fn dead_links(page: &SourceFile, tree: &Tree, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut violations = Vec::new();
    for (line, target) in link_targets(&page.text) {
        if is_absolute(&target) {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let Some(path) = resolve(&page.path, path) else {
            violations.push(format!("{}:{line} links out of the repository: {target}", page.path));
            continue;
        };
        let found = exists(&path);
        let has_anchor = || tree.file(&path).is_none_or(|file| has_heading(&file.text, anchor));
        if !found || (!anchor.is_empty() && path.ends_with(".md") && !has_anchor()) {
            violations.push(format!("{}:{line} has a dead link: {target}", page.path));
        }
    }
    violations
}

fn is_absolute(target: &str) -> bool {
    ["http://", "https://", "mailto:"].iter().any(|scheme| target.starts_with(scheme))
}

/// `link`, written in `page`, as a path from the root; `None` if it leads above the root.
fn resolve(page: &str, link: &str) -> Option<String> {
    if link.is_empty() {
        return Some(page.to_owned());
    }
    let mut path = PathBuf::new();
    let directory = Path::new(page).parent().unwrap_or(Path::new(""));
    for component in directory.join(link).components() {
        match component {
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path.to_string_lossy().replace('\\', "/"))
}

/// The targets of a page's links with their lines: `[text](target)`, `![text](target)` and
/// `[name]: target`, outside code.
fn link_targets(page: &str) -> Vec<(usize, String)> {
    let mut targets = Vec::new();
    for (line, text) in prose_lines(page) {
        for (at, _) in text.match_indices("](") {
            let rest = &text[at + 2..];
            let end = rest.find([')', ' ']).unwrap_or(rest.len());
            targets.push((line, rest[..end].trim_matches(['<', '>']).to_owned()));
        }
        let definition =
            text.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        if let Some((name, target)) = definition
            && !name.contains(']')
        {
            targets.push((line, target.trim().to_owned()));
        }
    }
    targets
}

/// A page's lines, numbered from one, without fenced blocks and with `code` blanked. A link whose
/// text is code keeps its brackets, and so stays a link.
fn prose_lines(page: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut fenced = false;
    for (index, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let mut in_code = false;
            let blanked = line.chars().map(|c| {
                in_code ^= c == '`';
                if in_code || c == '`' { ' ' } else { c }
            });
            lines.push((index + 1, blanked.collect()));
        }
    }
    lines
}

/// Whether the page has a heading with this anchor, formed as code hosts do: lower case, words
/// joined by hyphens, punctuation dropped.
fn has_heading(page: &str, anchor: &str) -> bool {
    let mut fenced = false;
    page.lines().any(|line| {
        fenced ^= line.trim_start().starts_with("```");
        !fenced && line.starts_with('#') && slug(line.trim_start_matches('#').trim()) == anchor
    })
}

fn slug(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .flat_map(char::to_lowercase)
        .collect()
}

/// The pages `docs/….md` that the comments of a source file name and that are not there.
fn dead_mentions(file: &SourceFile, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut violations = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (at, _) in line.match_indices("docs/") {
            let end = line[at..].find(|c: char| !(c.is_ascii_alphanumeric() || "/-_.".contains(c)));
            let path = &line[at..at + end.unwrap_or(line.len() - at)];
            let path = path.trim_end_matches('.');
            let before = &line[..at];
            let own = before.contains("//") && !before.ends_with(['/', '.']);
            if own && path.ends_with(".md") && !exists(path) {
                violations.push(format!("{}:{} names {path}, a dead page", file.path, index + 1));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_page(text: &str, expected: &[&str]) {
        let tree = Tree::of(&[("docs/page.md", text), ("docs/other.md", "# Two words, here\n")]);
        let exists = |path: &str| tree.file(path).is_some();
        assert_eq!(dead_links(&tree.files[0], &tree, &exists), expected, "{text}");
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        check_page("[a](other.md) [b](../docs/other.md#two-words-here) [c](#d)\n# D\n", &[]);
        check_page("[a](https://example.org/x) and [`b`](other.md)", &[]);
    }

    #[test]
    fn a_link_to_no_file_is_dead() {
        check_page("\n[a](none.md)", &["docs/page.md:2 has a dead link: none.md"]);
        check_page("[a]: none.md", &["docs/page.md:1 has a dead link: none.md"]);
    }

    #[test]
    fn a_link_to_no_heading_is_dead() {
        check_page("[a](other.md#three)", &["docs/page.md:1 has a dead link: other.md#three"]);
    }

    #[test]
    fn a_link_may_not_leave_the_repository() {
        let expected = "docs/page.md:1 links out of the repository: ../../x.md";
        check_page("[a](../../x.md)", &[expected]);
    }

    #[test]
    fn code_holds_no_links() {
        check_page("`[a](none.md)`\n```\n[b](none.md)\n```\n", &[]);
    }

    #[test]
    fn a_source_file_names_only_pages_that_are_there() {
        // Put together, so that this file's own comments name no dead page.
        let text = format!("{0}! Format: docs/formats/log.md.\n{0}! See docs/none.md, x\n", "//");
        let tree = Tree::of(&[("crates/a/src/lib.rs", &text), ("docs/formats/log.md", "")]);
        let exists = |path: &str| tree.file(path).is_some();
        let expected = "crates/a/src/lib.rs:2 names docs/none.md, a dead page";
        assert_eq!(dead_mentions(&tree.files[0], &exists), [expected]);
    }
}
