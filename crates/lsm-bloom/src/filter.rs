//! A filter read from its bytes.
//!
//! Format: docs/formats/filter.md

use std::fmt;

use crate::prefetch::prefetch;
use crate::probe::{LINE_BYTES, Line, PROBES_MAX, bits_of, line_of};

/// The version of the byte layout that this crate writes.
pub(crate) const FORMAT_VERSION: u8 = 1;
/// Probes at 10 bits a key.
const DEFAULT_PROBES: u8 = 6;
/// Version, probes, two zero bytes, number of lines.
pub(crate) const HEADER_BYTES: usize = 8;

/// Bytes that are no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where in the bytes that were given.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {} of the filter", self.reason, self.offset)
    }
}

impl std::error::Error for Malformed {}

/// A filter, borrowed from its bytes. Reading it allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    bytes: &'a [u8],
    shape: FilterShape,
}

impl<'a> Filter<'a> {
    /// Reads a filter's bytes, as [`FilterBuilder::finish`](crate::FilterBuilder::finish) made
    /// them. Cheap: only the header is looked at. Bits are not checked, which is for whoever stores
    /// the filter to do by a checksum.
    ///
    /// # Errors
    /// Says what is wrong if the bytes have another shape.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        Ok(Self { bytes, shape: FilterShape::parse(bytes)? })
    }

    /// What the header says: for whoever keeps the bytes and asks often.
    pub fn shape(&self) -> FilterShape {
        self.shape
    }

    /// Begins loading the line that decides about `hash`.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(line) = self.shape.line(self.bytes, hash) {
            line.prefetch();
        }
    }

    /// Whether `hash` may have been added: "no" is certain.
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        self.shape.line(self.bytes, hash).is_none_or(|line| line.may_contain(hash))
    }
}

/// What the header of a filter says, apart from its bytes: read once, it finds lines in them without
/// looking at the header again.
#[derive(Clone, Copy, Debug)]
pub struct FilterShape {
    line_count: u32,
    probes: u8,
}

impl FilterShape {
    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some((header, lines)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Malformed { offset: bytes.len(), reason: "the header is cut off" });
        };
        let [version, probes, zero, also_zero, l0, l1, l2, l3] = *header;
        if version != FORMAT_VERSION {
            return Err(Malformed { offset: 0, reason: "unknown filter version" });
        }
        if probes == 0 || usize::from(probes) > PROBES_MAX {
            return Err(Malformed { offset: 1, reason: "impossible number of probes" });
        }
        if zero != 0 || also_zero != 0 {
            return Err(Malformed { offset: 2, reason: "reserved bytes are not zero" });
        }
        let line_count = u32::from_le_bytes([l0, l1, l2, l3]);
        let is_filled = (line_count as usize).checked_mul(LINE_BYTES) == Some(lines.len());
        if line_count == 0 || !is_filled {
            return Err(Malformed { offset: 4, reason: "the lines do not fill the bytes" });
        }
        Ok(Self { line_count, probes })
    }

    /// The line that decides about `hash`, in the bytes from which the shape was read; `None` if it
    /// lies behind the end of those that are given.
    #[inline]
    pub fn line<'a>(&self, bytes: &'a [u8], hash: u64) -> Option<FilterLine<'a>> {
        let start = HEADER_BYTES + LINE_BYTES * line_of(hash, self.line_count);
        let (words, _) = bytes.get(start..)?.as_chunks();
        Some(FilterLine { line: words.first_chunk()?, probes: self.probes })
    }
}

/// The one line of a filter that decides about a hash.
#[derive(Clone, Copy, Debug)]
pub struct FilterLine<'a> {
    line: &'a Line,
    probes: u8,
}

impl FilterLine<'_> {
    /// Begins loading it.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(self.line);
    }

    /// Whether `hash`, for which the line was found, may have been added: "no" is certain.
    #[inline(never)] // In a loop over filters the masks would be kept in memory, which takes longer.
    pub fn may_contain(&self, hash: u64) -> bool {
        // The usual number of probes is named, so that the compiler unrolls its loop.
        match self.probes {
            DEFAULT_PROBES => are_all_set(self.line, hash, DEFAULT_PROBES),
            probes => are_all_set(self.line, hash, probes),
        }
    }
}

/// Looks at every bit, without a branch: where the first clear one is cannot be foreseen, and a
/// wrong guess costs more than the probes that it saves.
#[inline(always)]
fn are_all_set(line: &Line, hash: u64, probes: u8) -> bool {
    let mut missing = 0;
    for (word, mask) in bits_of(hash, probes) {
        missing |= mask & !u64::from_le_bytes(line[word]);
    }
    missing == 0
}

/// Reads arbitrary bytes as a filter and asks it.
#[doc(hidden)]
pub fn fuzz_filter(data: &[u8]) {
    if let Ok(filter) = Filter::parse(data) {
        for hash in [0, 1, u64::MAX, 0x9E37_79B9_7F4A_7C15] {
            filter.prefetch(hash);
            filter.may_contain(hash);
        }
    }
}
