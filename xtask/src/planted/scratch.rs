//! The scratch copy of the tree in which bugs are planted, with a build directory of its own that is
//! kept, so that cargo compiles again only what a bug touches.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::bug::Bug;
use crate::tree::SKIPPED_DIRECTORIES;
use crate::{Result, workspace};

/// A copy of the repository, the same as it but for the bug that is planted.
pub(crate) struct Scratch {
    /// Holds the copy (`tree`), what is built from it (`target`) and what checks print (`logs`).
    directory: PathBuf,
    /// What the files of the planted bug held before.
    original: Vec<(PathBuf, String)>,
}

impl Scratch {
    /// Makes the copy in `directory`, or brings the one that is there up to date.
    pub(crate) fn synced(directory: PathBuf) -> Result<Self> {
        let scratch = Self { directory, original: Vec::new() };
        let mut paths = BTreeSet::new();
        list(&workspace::root(), Path::new(""), &mut paths)?;
        let mut stale = BTreeSet::new();
        if scratch.tree().exists() {
            list(&scratch.tree(), Path::new(""), &mut stale)?;
        }
        for gone in stale.difference(&paths) {
            std::fs::remove_file(scratch.tree().join(gone))?;
        }
        for path in &paths {
            let wanted = std::fs::read(workspace::root().join(path))?;
            let copy = scratch.tree().join(path);
            // Untouched where it is the same: cargo goes by the time of the last change.
            if std::fs::read(&copy).ok().as_deref() != Some(&wanted) {
                std::fs::create_dir_all(copy.parent().expect("a file of the tree"))?;
                std::fs::write(&copy, wanted)?;
            }
        }
        std::fs::create_dir_all(scratch.directory.join("logs"))?;
        Ok(scratch)
    }

    /// The root of the copy.
    pub(crate) fn tree(&self) -> PathBuf {
        self.directory.join("tree")
    }

    /// Where cargo puts what it builds from the copy.
    pub(crate) fn target(&self) -> PathBuf {
        self.directory.join("target")
    }

    /// Where what the checks of a bug print goes.
    pub(crate) fn log(&self, bug: &Bug) -> PathBuf {
        self.directory.join("logs").join(format!("{}.txt", bug.name))
    }

    /// Puts a bug into the copy.
    pub(crate) fn plant(&mut self, bug: &Bug) -> Result<()> {
        let tree = self.tree();
        let changed = bug.changed(|path| std::fs::read_to_string(tree.join(path)).ok())?;
        for (path, text) in changed {
            let path = tree.join(path);
            self.original.push((path.clone(), std::fs::read_to_string(&path)?));
            std::fs::write(&path, text)?;
        }
        Ok(())
    }

    /// Takes it out again.
    pub(crate) fn weed(&mut self) -> Result<()> {
        for (path, text) in self.original.drain(..) {
            std::fs::write(path, text)?;
        }
        Ok(())
    }
}

/// Adds the files below `root`/`path` to `paths`, as paths from `root`.
fn list(root: &Path, path: &Path, paths: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(root.join(path))? {
        let entry = entry?;
        let name = entry.file_name();
        let path = path.join(&name);
        if !entry.file_type()?.is_dir() {
            paths.insert(path);
        } else if !SKIPPED_DIRECTORIES.iter().any(|skipped| name == *skipped) {
            list(root, &path, paths)?;
        }
    }
    Ok(())
}
