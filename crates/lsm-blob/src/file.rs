//! Reading a blob file: a place in, the value out, checked each time.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_io::{Error, Identity, Mapping, Result, Sealer, SharedFile};

use crate::footer::{FOOTER_BYTES, Footer};
use crate::writer::{FRAME_BYTES, LENGTH_BYTES};

/// How values are brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// The file is mapped, and values are lent from it. A disk that fails under a mapped file ends
    /// the process with a signal.
    Mapped,
    /// Each value is read into memory of its own. A disk that fails gives an error.
    Read,
}

/// A blob file, open for reading.
#[derive(Debug)]
pub struct BlobFile {
    file: SharedFile,
    identity: Identity,
    mapping: Option<Mapping>,
    bytes: u64,
    /// `None`: it is damaged, and what is behind the values is not known.
    footer: Option<Footer>,
    /// What values take that were read into memory of their own; `None`: nobody counts.
    held_bytes: Option<Arc<AtomicU64>>,
}

/// A value that was read. Cheap to clone; dereferences to `[u8]`; outlives its file.
#[derive(Clone)]
pub struct BlobValue {
    backing: Backing,
    range: Range<usize>,
}

#[derive(Clone)]
enum Backing {
    Mapped(Mapping),
    Held(Arc<Held>),
}

/// Memory of its own.
struct Held {
    bytes: Box<[u8]>,
    counted: Option<Arc<AtomicU64>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(counted) = &self.counted {
            counted.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
        }
    }
}

impl BlobFile {
    /// Opens a file of `bytes` bytes that was born as `identity`. Only the footer is read.
    ///
    /// # Errors
    /// `Corrupt` if it is not that file, or its footer is damaged; `Io`.
    pub fn open(file: SharedFile, identity: Identity, bytes: u64, mode: ReadMode) -> Result<Self> {
        let length = file.len()?;
        if length != bytes {
            let reason = format!("the file should have {bytes} bytes");
            return Err(Error::corrupt(file.path(), length, reason));
        }
        let (footer, offset) = read_footer(&file)?;
        if footer.head.identity != identity {
            return Err(Error::corrupt(file.path(), offset, "the file is another blob file"));
        }
        let mapping = if mode == ReadMode::Mapped { Some(file.map()?) } else { None };
        Ok(Self { file, identity, mapping, bytes, footer: Some(footer), held_bytes: None })
    }

    /// Opens a file whose footer may be lost, to read what is still whole of it.
    ///
    /// # Errors
    /// `Io`.
    pub fn open_damaged(file: SharedFile, identity: Identity) -> Result<Self> {
        let bytes = file.len()?;
        let footer = read_footer(&file).ok().map(|(footer, _)| footer);
        Ok(Self { file, identity, mapping: None, bytes, footer, held_bytes: None })
    }

    /// The same, adding to `held_bytes` what values take that are read into memory of their own, for as
    /// long as somebody holds them.
    #[must_use]
    pub fn counting(mut self, held_bytes: Arc<AtomicU64>) -> Self {
        self.held_bytes = Some(held_bytes);
        self
    }

    /// Who a file says it is.
    ///
    /// # Errors
    /// `Corrupt` if its footer is damaged; `Io`.
    pub fn read_identity(file: &SharedFile) -> Result<Identity> {
        read_footer(file).map(|(footer, _)| footer.head.identity)
    }

    /// The value of `bytes` bytes at `offset`.
    ///
    /// # Errors
    /// `Corrupt` if there is no such value, or it is not what was written; `Io`.
    pub fn get(&self, offset: u64, bytes: u32) -> Result<BlobValue> {
        let framed = u64::from(bytes) + FRAME_BYTES as u64;
        let Some(end) = offset.checked_add(framed).filter(|end| *end <= self.values_end()) else {
            return Err(self.corrupt(offset, "a value is said to be where there is none"));
        };
        let (backing, start) = match &self.mapping {
            // Invariant: the end lies within the mapping, so it fits in a usize.
            Some(mapping) => (Backing::Mapped(mapping.clone()), offset as usize),
            None => (Backing::Held(self.hold(offset, framed as usize)?), 0),
        };
        let framed = backing.bytes().get(start..start + framed as usize).unwrap_or_default();
        let Some(sealed) = Sealer::new(self.identity).open(offset, framed) else {
            return Err(self.corrupt(offset, "value checksum does not match"));
        };
        if sealed.first_chunk() != Some(&bytes.to_le_bytes()) {
            return Err(self.corrupt(offset, "the value there has another length"));
        }
        debug_assert!(end <= self.bytes);
        let start = start + LENGTH_BYTES;
        Ok(BlobValue { backing, range: start..start + bytes as usize })
    }

    /// The file.
    pub fn file(&self) -> &SharedFile {
        &self.file
    }

    /// Who it was born as.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Length of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn footer(&self) -> Option<&Footer> {
        self.footer.as_ref()
    }

    /// Where the last value ends.
    pub(crate) fn values_end(&self) -> u64 {
        match self.footer {
            Some(_) => self.bytes - FOOTER_BYTES as u64,
            None => self.bytes,
        }
    }

    pub(crate) fn read(&self, offset: u64, bytes: usize) -> Result<Box<[u8]>> {
        let mut buffer = vec![0; bytes].into_boxed_slice();
        self.file.read_at(offset, &mut buffer)?;
        Ok(buffer)
    }

    fn hold(&self, offset: u64, bytes: usize) -> Result<Arc<Held>> {
        let bytes = self.read(offset, bytes)?;
        let counted = self.held_bytes.clone();
        if let Some(counted) = &counted {
            counted.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        Ok(Arc::new(Held { bytes, counted }))
    }

    pub(crate) fn corrupt(&self, offset: u64, reason: &'static str) -> Error {
        Error::corrupt(self.file.path(), offset, reason)
    }
}

/// The footer and where it is.
pub(crate) fn read_footer(file: &SharedFile) -> Result<(Footer, u64)> {
    let length = file.len()?;
    let Some(offset) = length.checked_sub(FOOTER_BYTES as u64) else {
        return Err(Error::corrupt(file.path(), length, "the file is too short for a blob file"));
    };
    let mut bytes = [0; FOOTER_BYTES];
    file.read_at(offset, &mut bytes)?;
    Ok((Footer::decode(&bytes, file.path(), offset)?, offset))
}

impl Backing {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(mapping) => mapping,
            Self::Held(held) => &held.bytes,
        }
    }
}

impl Deref for BlobValue {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.backing.bytes().get(self.range.clone()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for BlobValue {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for BlobValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobValue({} bytes)", self.len())
    }
}
