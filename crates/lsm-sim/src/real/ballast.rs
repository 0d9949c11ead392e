//! What somebody else keeps on a disk, so that the database finds no room there.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

const NAME: &str = "ballast";

/// Takes all room of the file system of `dir` but `room` bytes.
///
/// # Errors
/// What the operating system says, a full disk apart.
pub(crate) fn fill(dir: &Path, room: u64) -> Result<(), String> {
    try_fill(dir, room).map_err(|error| format!("could not fill {}: {error}", dir.display()))
}

/// Gives the room back.
///
/// # Errors
/// What the operating system says.
pub(crate) fn empty(dir: &Path) -> Result<(), String> {
    let remove = || {
        std::fs::remove_file(dir.join(NAME))?;
        // ext4 gives room back when its journal has committed.
        File::open(dir)?.sync_all()
    };
    remove().map_err(|error| format!("could not make room in {}: {error}", dir.display()))
}

fn try_fill(dir: &Path, room: u64) -> io::Result<()> {
    let mut file = File::create(dir.join(NAME))?;
    let chunk = vec![0xBA; 64 << 10];
    let mut filled = 0;
    loop {
        match file.write(&chunk) {
            Ok(written) => filled += written as u64,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
            Err(error) => return Err(error),
        }
    }
    file.set_len(filled.saturating_sub(room))?;
    file.sync_all()
}
