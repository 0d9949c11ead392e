//! New directories among the system's temporary files.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::exit::Failure;

/// Makes a directory that nobody else has; its name begins with `prefix`.
pub(crate) fn create_dir(prefix: &str) -> Result<PathBuf, Failure> {
    let parent = std::env::temp_dir();
    let mut number = std::process::id();
    loop {
        let dir = parent.join(format!("{prefix}{number}"));
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                number = number.wrapping_add(1);
            }
            Err(error) => return Err(Failure::io("create", &dir, &error)),
        }
    }
}
