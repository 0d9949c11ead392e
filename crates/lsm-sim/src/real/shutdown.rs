//! Cuts a file system off from its disk, as a failing power supply does.
#![allow(unsafe_code)] // One of the few files that may: nothing safe makes this system call.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// "Shut down", as ext4 and others name it: `_IOR('X', 125, __u32)`.
const SHUTDOWN: u32 = 0x8004_587D;
/// What the journal has not written yet is not written any more.
const NO_LOG_FLUSH: u32 = 2;

/// From now on nothing reaches the disk under the file system that is mounted at `mount`: every
/// call fails, and what was not written is lost with the next unmount.
///
/// # Errors
/// What the operating system says, as of a file system that cannot do this.
pub fn cut_off(mount: &Path) -> io::Result<()> {
    let root = File::open(mount)?;
    let how: u32 = NO_LOG_FLUSH;
    // The request's type differs between C libraries.
    #[allow(clippy::cast_lossless, clippy::unnecessary_cast)]
    let request = SHUTDOWN as _;
    // SAFETY: the descriptor is open, and the request reads the 32 bits behind the pointer, which
    // outlive the call.
    let status = unsafe { libc::ioctl(root.as_raw_fd(), request, &raw const how) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
