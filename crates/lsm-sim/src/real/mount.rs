//! Mounting, by system call: a program for it would take longer than the mount.

use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// How long a file system may still be in use by a process that was killed.
const BUSY_MAX: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// Mounts `source` at the directory `target`.
///
/// # Errors
/// What the operating system says.
#[cfg(target_os = "linux")]
pub fn mount(source: &Path, target: &Path, kind: &str, options: &str) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    let flags = rustix::mount::MountFlags::empty();
    Ok(rustix::mount::mount(source, target, kind, flags, options.as_c_str())?)
}

#[cfg(target_os = "linux")]
fn try_unmount(target: &Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(target, rustix::mount::UnmountFlags::empty())?)
}

/// Mounts nothing: only Linux is known here.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn mount(_: &Path, _: &Path, _: &str, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn try_unmount(_: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Unmounts what is mounted at `target`, waiting for whoever is still leaving.
///
/// # Errors
/// What the operating system says.
pub fn unmount(target: &Path) -> io::Result<()> {
    unmount_freeing(target, || {})
}

/// The same, calling `free` before each attempt: it takes away what may keep the target busy.
pub(crate) fn unmount_freeing(target: &Path, mut free: impl FnMut()) -> io::Result<()> {
    let mut waited = Duration::ZERO;
    loop {
        free();
        match try_unmount(target) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && waited < BUSY_MAX => {
                sleep(PAUSE);
                waited += PAUSE;
            }
            result => return result,
        }
    }
}
