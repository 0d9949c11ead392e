//! Setting files aside in `lost/`, so that a crash at any step leaves each of them somewhere.
//!
//! Each gets a second name in `lost/`, durably, before the database changes; its first one is taken
//! away after that. Where files have one name only, they are moved after the change.

use std::path::{Path, PathBuf};

use lsm_io::{OpenMode, Result, SharedFs};
use lsm_manifest::{FileKind, parse_file_name};

use crate::directory::LOST;

/// Bytes compared at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Files on their way.
pub(super) struct SetAside<'a> {
    fs: &'a SharedFs,
    dir: &'a Path,
    /// First names, and whether the second ones are there.
    names: Vec<(String, bool)>,
}

impl<'a> SetAside<'a> {
    /// Gives every file its second name.
    pub(super) fn begin(fs: &'a SharedFs, dir: &'a Path, names: Vec<String>) -> Result<Self> {
        let mut aside = Self { fs, dir, names: Vec::new() };
        if names.is_empty() {
            return Ok(aside);
        }
        let lost = dir.join(LOST);
        fs.create_dir_all(&lost)?;
        fs.sync_dir(dir)?;
        for name in names {
            let from = dir.join(&name);
            let has_second = match aside.free_name(&name)? {
                None => true,
                Some(to) => fs.hard_link(&from, &to).is_ok() || aside.copy_small(&from, &to)?,
            };
            aside.names.push((name, has_second));
        }
        fs.sync_dir(&lost)?;
        Ok(aside)
    }

    /// Takes the first names away.
    pub(super) fn finish(self) -> Result<()> {
        for (name, has_second) in &self.names {
            let from = self.dir.join(name);
            // What is called `CURRENT` by now is the new one, and to make it took what was unfinished.
            let is_taken = parse_file_name(name).0 == FileKind::Current;
            if is_taken || !self.fs.exists(&from)? {
                continue;
            }
            match has_second {
                true => self.fs.remove_file(&from)?,
                false => match self.free_name(name)? {
                    Some(to) => self.fs.rename(&from, &to)?,
                    None => self.fs.remove_file(&from)?,
                },
            }
        }
        if self.names.iter().any(|(_, has_second)| !has_second) {
            self.fs.sync_dir(&self.dir.join(LOST))?;
        }
        self.fs.sync_dir(self.dir)
    }

    /// Where a file can have one name only, those that will be replaced under it are copied.
    fn copy_small(&self, from: &Path, to: &Path) -> Result<bool> {
        let name = from.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if !matches!(parse_file_name(name).0, FileKind::Current | FileKind::Temp) {
            return Ok(false);
        }
        let source = self.fs.open(from, OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(source.len()?).unwrap_or(0).min(CHUNK_BYTES)];
        source.read_at(0, &mut bytes)?;
        let copy = self.fs.open(to, OpenMode::CreateNew)?;
        copy.write_at(0, &bytes)?;
        copy.sync()?;
        Ok(true)
    }

    /// A name in `lost/` that nothing has; `None` if the same bytes are there already.
    fn free_name(&self, name: &str) -> Result<Option<PathBuf>> {
        let lost = self.dir.join(LOST);
        let mut path = lost.join(name);
        let mut copies = 0;
        while self.fs.exists(&path)? {
            if self.is_same(&self.dir.join(name), &path)? {
                return Ok(None);
            }
            copies += 1;
            path = lost.join(format!("{name}.{copies}"));
        }
        Ok(Some(path))
    }

    fn is_same(&self, one: &Path, other: &Path) -> Result<bool> {
        let (one, other) =
            (self.fs.open(one, OpenMode::Read)?, self.fs.open(other, OpenMode::Read)?);
        let bytes = one.len()?;
        if other.len()? != bytes {
            return Ok(false);
        }
        let (mut first, mut second) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
        let mut offset = 0;
        while offset < bytes {
            let length = usize::try_from(bytes - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            one.read_at(offset, &mut first[..length])?;
            other.read_at(offset, &mut second[..length])?;
            if first[..length] != second[..length] {
                return Ok(false);
            }
            offset += length as u64;
        }
        Ok(true)
    }
}
