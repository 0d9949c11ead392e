//! Writes that are durable when they return, and wait for nothing else.
//!
//! A sync of a file waits for all that was written to it. Where few bytes of a long file have to be
//! durable, and the others do not matter, the system can be told so with the write.
#![allow(unsafe_code)] // One of the few files that may: the standard library has no such write.

use std::fs::File;
use std::io;

/// Writes `bytes` at `offset` and waits until they are on the disk. What they are written over is there
/// already, or more would have to be durable than they.
///
/// # Errors
/// Kind `Unsupported` where the system, or the file's, has no such write: then nothing is written.
#[cfg(target_os = "linux")]
pub(crate) fn write_through(file: &File, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    while !bytes.is_empty() {
        let piece =
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let position = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        // SAFETY: the descriptor is open, and `piece` is memory of that length which outlives the
        // call, and is only read by it.
        let written = unsafe {
            libc::pwritev2(file.as_raw_fd(), &raw const piece, 1, position, libc::RWF_DSYNC)
        };
        match usize::try_from(written) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(_) => {
                let error = io::Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EOPNOTSUPP | libc::ENOSYS) => {
                        return Err(io::ErrorKind::Unsupported.into());
                    }
                    _ => return Err(error),
                }
            }
        }
    }
    Ok(())
}

/// Elsewhere there is no such write.
#[cfg(not(target_os = "linux"))]
pub(crate) fn write_through(_: &File, _: u64, _: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
