//! What the harnesses that mount need of the machine, and what of it is not there.

use std::path::Path;

/// The programs that make a disk of a file.
const PROGRAMS: &[&str] = &["mkfs.ext4", "losetup"];
/// Where administrators' programs lie, also where a user's path does not name them.
const PLACES: &[&str] = &["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// What is missing here, in words; `None` where everything is there.
pub fn missing() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("Linux: elsewhere nothing is known that cuts a file system off".into());
    }
    if !is_root() {
        return Some("root: nobody else may mount".into());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("loop devices: there is no /dev/loop-control".into());
    }
    let program = PROGRAMS.iter().find(|program| !is_installed(program))?;
    Some(format!("the program {program}"))
}

fn is_root() -> bool {
    // The owner of a process's directory is its effective user.
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::split_paths(&path).chain(PLACES.iter().map(Into::into));
    named.into_iter().any(|place| place.join(program).is_file())
}
