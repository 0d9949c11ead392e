//! A whole file as read-only memory.
#![allow(unsafe_code)] // One of the few files that may: memmap2's `map` is unsafe by nature.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Read-only bytes of a file: mapped by the operating system, or held by a simulated disk.
/// Cheap to clone; dereferences to `[u8]`.
#[derive(Clone)]
pub struct Mapping(Backing);

#[derive(Clone)]
enum Backing {
    Mapped(Arc<memmap2::Mmap>),
    Held(Arc<[u8]>),
}

impl Mapping {
    /// Bytes held in memory, posing as a mapped file.
    pub fn held(bytes: Arc<[u8]>) -> Self {
        Self(Backing::Held(bytes))
    }

    /// Maps the whole of `file`, which nobody changes while the mapping lives.
    pub(crate) fn of_file(file: &std::fs::File) -> std::io::Result<Self> {
        // SAFETY: callers map only files that are complete and never written again (tables), in a
        // directory locked against other writers; see docs/fault-model.md for a failing disk.
        let map = unsafe { memmap2::Mmap::map(file)? };
        Ok(Self(Backing::Mapped(Arc::new(map))))
    }
}

impl Deref for Mapping {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Backing::Mapped(map) => map,
            Backing::Held(bytes) => bytes,
        }
    }
}

/// The length alone: the bytes would be a whole table.
impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("bytes", &self.len()).finish()
    }
}
