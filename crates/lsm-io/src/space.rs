//! How much room a disk has left.
#![allow(unsafe_code)] // One of the few files that may: the standard library does not ask this.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
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
