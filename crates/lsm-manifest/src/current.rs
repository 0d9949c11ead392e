//! `CURRENT`: which manifest holds, and how long it was when the database was closed.
//!
//! ```text
//! lsm 1
//! manifest 000002.manifest
//! closed 4711
//! crc32 89abcdef
//! ```
//! The third line is there after a clean close only. The last one is the checksum of those before.

use std::path::Path;

use lsm_io::checksum::crc32;
use lsm_io::{Error, OpenMode, Result, SharedFs};

use crate::file_name::{FileKind, file_name, parse_file_name};

/// Longer than any `CURRENT`.
const BYTES_MAX: u64 = 1024;
const HEADING: &str = "lsm 1";
/// The name under which it is written, before it is put in place.
pub(crate) const CURRENT_TEMP: &str = "CURRENT.tmp";

/// What `CURRENT` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Current {
    /// The manifest's number.
    pub(crate) number: u64,
    /// Its length, after a clean close.
    pub(crate) closed_bytes: Option<u64>,
}

impl Current {
    pub(crate) fn to_text(self) -> String {
        let mut text =
            format!("{HEADING}\nmanifest {}\n", file_name(FileKind::Manifest, self.number));
        if let Some(bytes) = self.closed_bytes {
            text.push_str(&format!("closed {bytes}\n"));
        }
        let checksum = crc32(text.as_bytes());
        text.push_str(&format!("crc32 {checksum:08x}\n"));
        text
    }

    pub(crate) fn parse(text: &str) -> std::result::Result<Self, String> {
        let end = text.trim_end_matches('\n').rfind('\n').map_or(0, |end| end + 1);
        let (content, checksum) = text.split_at(end);
        if checksum != format!("crc32 {:08x}\n", crc32(content.as_bytes())) {
            return Err("the checksum does not match".into());
        }
        let mut lines = content.lines();
        let heading = lines.next().unwrap_or_default();
        if heading != HEADING {
            return Err(format!("format \"{heading}\"; this program reads \"{HEADING}\""));
        }
        let name = lines.next().and_then(|line| line.strip_prefix("manifest ")).unwrap_or_default();
        let (FileKind::Manifest, number) = parse_file_name(name) else {
            return Err(format!("\"{name}\" is no manifest"));
        };
        let closed_bytes = match lines.next() {
            None => None,
            Some(line) => {
                let bytes = line.strip_prefix("closed ").and_then(|bytes| bytes.parse().ok());
                Some(bytes.ok_or_else(|| format!("\"{line}\" is no length"))?)
            }
        };
        Ok(Self { number, closed_bytes })
    }

    /// Reads the file.
    ///
    /// # Errors
    /// `Io` of kind `NotFound` if there is none; `Corrupt`.
    pub(crate) fn read(fs: &SharedFs, dir: &Path) -> Result<Self> {
        let path = dir.join(file_name(FileKind::Current, 0));
        let file = fs.open(&path, OpenMode::Read)?;
        let bytes = file.len()?;
        if bytes > BYTES_MAX {
            return Err(Error::corrupt(&path, BYTES_MAX, "the file is too long"));
        }
        let mut text = vec![0; bytes as usize];
        file.read_at(0, &mut text)?;
        let text = std::str::from_utf8(&text)
            .map_err(|error| Error::corrupt(&path, error.valid_up_to() as u64, "not text"))?;
        Self::parse(text).map_err(|reason| Error::corrupt(&path, 0, reason))
    }

    /// Puts it in place of the one before, durably and at once.
    pub(crate) fn install(self, fs: &SharedFs, dir: &Path) -> Result<()> {
        let path = dir.join(file_name(FileKind::Current, 0));
        let temp = dir.join(CURRENT_TEMP);
        if fs.exists(&temp)? {
            fs.remove_file(&temp)?;
        }
        let file = fs.open(&temp, OpenMode::CreateNew)?;
        file.write_at(0, self.to_text().as_bytes())?;
        // Order: bytes, then the name, then the directory. A name that is durable before its bytes
        // would lead to an empty file.
        file.sync()?;
        fs.rename(&temp, &path)?;
        fs.sync_dir(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for closed_bytes in [None, Some(0), Some(u64::MAX)] {
            let current = Current { number: 42, closed_bytes };
            assert_eq!(Current::parse(&current.to_text()), Ok(current));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let text = Current { number: 42, closed_bytes: Some(4711) }.to_text();
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(text) = std::str::from_utf8(&bytes) {
                assert!(Current::parse(text).is_err(), "bit {bit}: {text}");
            }
        }
        for length in 0..text.len() {
            assert!(Current::parse(&text[..length]).is_err(), "{length} bytes");
        }
    }
}
