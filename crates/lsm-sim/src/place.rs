//! Where a world stands: on a simulated disk, or on the real one.

use std::path::{Path, PathBuf};

use lsm_engine::Env;
use lsm_io::{CrashPolicy, SharedFs, SimFs, StdFs};
use tempfile::TempDir;

/// A disk, and the database's directory on it.
#[derive(Debug)]
pub enum Place {
    /// In memory, to be crashed at any call.
    Simulated(SimFs),
    /// A temporary directory.
    Real(TempDir),
}

impl Place {
    /// An empty directory on the real disk.
    ///
    /// # Errors
    /// The system gives none.
    pub fn real() -> Result<Self, String> {
        tempfile::tempdir().map(Self::Real).map_err(|error| format!("no directory: {error}"))
    }

    /// The database's directory.
    pub fn dir(&self) -> PathBuf {
        self.beside("db")
    }

    /// A directory beside the database's.
    pub fn beside(&self, name: &str) -> PathBuf {
        match self {
            Self::Simulated(_) => PathBuf::from(name),
            Self::Real(root) => root.path().join(name),
        }
    }

    /// Its files.
    pub fn fs(&self) -> SharedFs {
        match self {
            Self::Simulated(fs) => fs.shared(),
            Self::Real(_) => StdFs::shared(),
        }
    }

    /// The engine's world here: a clock that stands still, fixed numbers, no threads.
    pub fn env(&self) -> Env {
        Env::simulated(self.fs())
    }

    /// Whether the simulated machine has crashed.
    pub fn has_crashed(&self) -> bool {
        match self {
            Self::Simulated(fs) => fs.has_crashed(),
            Self::Real(_) => false,
        }
    }

    /// What is there after the process is killed now: on the real disk a copy of what the system
    /// has, mapped stores included.
    ///
    /// # Errors
    /// The copy cannot be made.
    pub fn killed(&self) -> Result<Self, String> {
        match self {
            Self::Simulated(fs) => Ok(Self::Simulated(fs.kill_image())),
            Self::Real(root) => {
                let copy = tempfile::tempdir().and_then(|copy| {
                    copy_directory(root.path(), copy.path())?;
                    Ok(copy)
                });
                copy.map(Self::Real).map_err(|error| format!("could not copy the disk: {error}"))
            }
        }
    }

    /// What is there after the power is cut now. The real disk's power stays on: there it is a kill.
    ///
    /// # Errors
    /// Those of [`killed`](Self::killed).
    pub fn cut(&self, policy: CrashPolicy, seed: u64) -> Result<Self, String> {
        match self {
            Self::Simulated(fs) => Ok(Self::Simulated(fs.crash_image(policy, seed))),
            Self::Real(_) => self.killed(),
        }
    }

    /// Lets nothing be written any more, so that handles that are dropped leave no trace.
    pub fn freeze(&self) {
        if let Self::Simulated(fs) = self {
            fs.crash_at(0);
        }
    }

    /// Decides what a power cut here keeps.
    pub fn steps(&self) -> u64 {
        match self {
            Self::Simulated(fs) => fs.steps(),
            Self::Real(_) => 0,
        }
    }
}

fn copy_directory(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir(&target)?;
            copy_directory(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
