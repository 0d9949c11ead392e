//! A disk made of a file: a loop device with ext4 on it, that can be mounted, cut off, and mounted
//! again.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::real::mount::{mount, unmount};
use crate::real::shutdown::cut_off;

/// The disk. Its [`Place`](crate::real::place::Place) removes it, mounted or not.
#[derive(Debug)]
pub struct Disk {
    device: PathBuf,
    target: PathBuf,
}

impl Disk {
    /// Makes a disk of `bytes` in the directory `dir`, empty and not mounted yet. The file takes
    /// room as it is written to.
    ///
    /// # Errors
    /// What the operating system or the programs say.
    pub fn make(dir: &Path, bytes: u64) -> Result<Self, String> {
        let (image, target) = (dir.join("image"), dir.join("disk"));
        let make_files = || {
            File::create(&image)?.set_len(bytes)?;
            std::fs::create_dir(&target)
        };
        make_files().map_err(|error| format!("could not make {}: {error}", image.display()))?;
        // Nothing is kept back for root, and no room is taken before something is written to it.
        let format = ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1"];
        succeed("mkfs.ext4", Command::new("mkfs.ext4").args(format).arg(&image).output())?;
        let attach = Command::new("losetup").args(["--find", "--show"]).arg(&image).output();
        let device = succeed("losetup", attach)?;
        Ok(Self { device: PathBuf::from(device.trim()), target })
    }

    /// Mounts it with these options of ext4; the journal is replayed where it was cut off.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn mount(&self, options: &str) -> Result<(), String> {
        // What was left out when it was made is not made up for in a moment that no seed decides.
        let options = format!("noinit_itable,{options}");
        mount(&self.device, &self.target, "ext4", &options)
            .map_err(|error| self.told("mount", &error))
    }

    /// Unmounts it.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn unmount(&self) -> Result<(), String> {
        unmount(&self.target).map_err(|error| self.told("unmount", &error))
    }

    /// Cuts the power: nothing reaches it any more until it is mounted again.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn cut_off(&self) -> Result<(), String> {
        cut_off(&self.target).map_err(|error| self.told("cut off", &error))
    }

    /// Where its files are while it is mounted.
    pub fn path(&self) -> &Path {
        &self.target
    }

    fn told(&self, action: &str, error: &io::Error) -> String {
        format!("could not {action} {} ({}): {error}", self.target.display(), self.device.display())
    }
}

/// What a program printed, if it succeeded.
fn succeed(program: &str, output: io::Result<Output>) -> Result<String, String> {
    let output = output.map_err(|error| format!("could not start {program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} failed ({}): {}", output.status, said.trim()))
}
