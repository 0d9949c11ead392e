//! What others wrote is compiled once: where another copy of the workspace is built, the directory for that
//! begins with what has been made of it here.
//!
//! Cargo knows what it has built by a hash over package, features and profile, whatever directory it
//! lies in, and compiles the rest.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use crate::Result;
use crate::workspace::Workspace;

/// Puts into `target`, if there is nothing yet, what was built of the packages of others.
pub(crate) fn seed(workspace: &Workspace, target: &Path) -> Result<()> {
    let (from, to) = (workspace.target_directory.join("debug"), target.join("debug"));
    if to.exists() || !from.join(".fingerprint").exists() {
        return Ok(());
    }
    let mut built = BTreeSet::new();
    for directory in [".fingerprint", "build"] {
        for entry in fs::read_dir(from.join(directory))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some((package, hash)) = name.rsplit_once('-')
                && workspace.package(package).is_none()
            {
                built.insert(hash.to_owned());
                copy(&entry.path(), &to.join(directory).join(&name))?;
            }
        }
    }
    fs::create_dir_all(to.join("deps"))?;
    for entry in fs::read_dir(from.join("deps"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if hash_of(&name).is_some_and(|hash| built.contains(hash)) {
            // Whoever builds one of them anew puts another file in its place.
            fs::hard_link(entry.path(), to.join("deps").join(&name))?;
        }
    }
    Ok(())
}

/// The hash in the name of something that was built: `libsyn-0123456789abcdef.rlib`.
fn hash_of(name: &str) -> Option<&str> {
    let stem = name.split('.').next().unwrap_or(name);
    stem.rsplit_once('-').map(|(_, hash)| hash)
}

/// Copies a directory with the times of its files, by which cargo tells what is newer than what.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
            File::open(&to)?.set_modified(entry.metadata()?.modified()?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_what_stands_before_the_ending() {
        assert_eq!(hash_of("libsyn-0123456789abcdef.rlib"), Some("0123456789abcdef"));
        assert_eq!(hash_of("zstd_sys-77.d"), Some("77"));
        assert_eq!(hash_of("plain"), None);
    }

    #[test]
    fn what_others_wrote_is_taken_over_and_what_is_ours_is_not() {
        let place = std::env::temp_dir().join(format!("xtask-seed-{}", std::process::id()));
        let debug = place.join("target/debug");
        for (path, text) in [
            (".fingerprint/syn-01/invoked.timestamp", ""),
            (".fingerprint/lsm-io-02/invoked.timestamp", ""),
            ("build/zstd-sys-03/output", "said"),
            ("deps/libsyn-01.rlib", "built"),
            ("deps/liblsm_io-02.rlib", "built"),
        ] {
            let path = debug.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let ours = Workspace::read().unwrap();
        let workspace = Workspace { target_directory: place.join("target"), ..ours };
        let seeded = place.join("seeded");
        seed(&workspace, &seeded).unwrap();
        let seeded = seeded.join("debug");
        let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        let stamp = ".fingerprint/syn-01/invoked.timestamp";
        assert_eq!(time(&seeded.join(stamp)), time(&debug.join(stamp)));
        assert_eq!(fs::read_to_string(seeded.join("build/zstd-sys-03/output")).unwrap(), "said");
        assert!(seeded.join("deps/libsyn-01.rlib").exists());
        assert!(!seeded.join(".fingerprint/lsm-io-02").exists());
        assert!(!seeded.join("deps/liblsm_io-02.rlib").exists());
        fs::remove_dir_all(place).unwrap();
    }
}
