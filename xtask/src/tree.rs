//! The text files of the repository, read once and handed to every rule.

use std::path::Path;

use crate::{Result, workspace};

/// Directories that hold nothing of ours: what is built, and git's own files.
pub(crate) const SKIPPED_DIRECTORIES: &[&str] = &["target", ".git"];

/// Endings of the files that people write here.
const TEXT_ENDINGS: &[&str] = &["rs", "md", "toml", "sh", "yml", "yaml"];

/// One text file.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// Its path from the root of the repository, with `/` everywhere.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }
}

/// All of them, in the order of their paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<SourceFile>,
}

impl Tree {
    /// Reads the repository.
    pub(crate) fn read() -> Result<Self> {
        let mut tree = Self::default();
        tree.add_directory(&workspace::root(), "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    /// The file at a path from the root of the repository.
    pub(crate) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }

    fn add_directory(&mut self, directory: &Path, prefix: &str) -> Result<()> {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                if !SKIPPED_DIRECTORIES.contains(&name.as_str()) && !name.ends_with(".db") {
                    self.add_directory(&entry.path(), &format!("{path}/"))?;
                }
            } else if is_text(&path) {
                let text = std::fs::read_to_string(entry.path())
                    .map_err(|error| format!("could not read {path}: {error}"))?;
                self.files.push(SourceFile { path, text });
            }
        }
        Ok(())
    }
}

fn is_text(path: &str) -> bool {
    path == ".ci/run"
        || path.rsplit_once('.').is_some_and(|(_, ending)| TEXT_ENDINGS.contains(&ending))
}

#[cfg(test)]
impl Tree {
    /// A tree of the given paths and texts, for tests of the rules.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |&(path, text): &(&str, &str)| SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        Self { files: files.iter().map(file).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_read_without_what_is_built() {
        let tree = Tree::read().unwrap();
        assert!(tree.file("xtask/src/tree.rs").is_some());
        assert!(tree.file("Cargo.toml").is_some());
        assert!(!tree.files.iter().any(|file| file.path.contains("target/")));
    }
}
