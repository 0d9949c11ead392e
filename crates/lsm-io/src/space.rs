//! How much room a disk has left, and whether overwriting needs any.
#![allow(unsafe_code)] // One of the few files that may: the standard library does not ask this.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes that an unprivileged user may still write to the file system that holds `dir`.
pub(crate) fn available_bytes(dir: &Path) -> io::Result<u64> {
    let name = CString::new(dir.as_os_str().as_bytes())?;
    let mut answer = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `name` ends with a zero byte and outlives the call, and `answer` has the size and
    // alignment that the call writes to.
    let status = unsafe { libc::statvfs(name.as_ptr(), answer.as_mut_ptr()) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled the whole structure.
    let answer = unsafe { answer.assume_init() };
    // The fields' widths differ between systems; all of them fit into 64 bits.
    #[allow(clippy::unnecessary_cast)]
    Ok((answer.f_bavail as u64).saturating_mul(answer.f_frsize as u64))
}

/// Whether bytes of `file` that are allocated are overwritten where they are, so that storing into
/// a mapping of them never finds the disk full. Known of few file systems: others may copy on write.
#[cfg(target_os = "linux")]
pub(crate) fn overwrites_in_place(file: &File) -> io::Result<bool> {
    const EXT4: u64 = 0xEF53;
    const XFS: u64 = 0x5846_5342;
    const TMPFS: u64 = 0x0102_1994;
    let mut answer = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and `answer` has the size and alignment that the call writes to.
    let status = unsafe { libc::fstatfs(file.as_raw_fd(), answer.as_mut_ptr()) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled the whole structure.
    let answer = unsafe { answer.assume_init() };
    // The field's width differs between systems; magic numbers have 32 bits.
    #[allow(clippy::unnecessary_cast)]
    Ok(matches!(answer.f_type as u64 & 0xFFFF_FFFF, EXT4 | XFS | TMPFS))
}

/// Elsewhere nothing is known of the file system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn overwrites_in_place(_: &File) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_plausible() {
        let bytes = available_bytes(Path::new(".")).expect("the working directory is somewhere");
        assert!(bytes < 1 << 60, "{bytes} bytes free");
        assert!(available_bytes(Path::new("no/such/place")).is_err());
    }
}
