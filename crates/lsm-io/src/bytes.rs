//! Integers and slices as bytes: written onto a `Vec<u8>`, read back with every step checked.
//!
//! Integers are little-endian. A *varint* holds seven bits a byte, lowest first, the top bit saying
//! that more follow; each number has exactly one encoding, so equal values are equal bytes.

use std::fmt;
use std::path::Path;

use crate::Error;

/// The longest varint: ten bytes, for numbers of 64 bits.
pub const VARINT_BYTES_MAX: usize = 10;

/// Appends two bytes, little-endian.
#[inline]
pub fn put_u16(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends four bytes, little-endian.
#[inline]
pub fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends eight bytes, little-endian.
#[inline]
pub fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends sixteen bytes, little-endian.
#[inline]
pub fn put_u128(out: &mut Vec<u8>, number: u128) {
    out.extend_from_slice(&number.to_le_bytes());
}

/// Appends a varint: one byte below 128, ten at most.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number as u8) | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a slice behind its length as a varint.
#[inline]
pub fn put_slice(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes that cannot be what they should be, found by a decoder that knows no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where in the decoder's input the damage was noticed.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

impl Malformed {
    /// The same for whoever knows the file: the input began at `base_offset` of `path`.
    pub fn at(self, path: &Path, base_offset: u64) -> Error {
        Error::corrupt(path, base_offset.saturating_add(self.offset as u64), self.reason)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for Malformed {}

/// Reads numbers and slices from the front of a byte string, refusing to pass its end.
///
/// ```
/// use lsm_io::bytes::{ByteReader, put_slice, put_u32};
///
/// let mut out = Vec::new();
/// put_u32(&mut out, 7);
/// put_slice(&mut out, b"name");
///
/// let mut reader = ByteReader::new(&out);
/// assert_eq!(reader.u32()?, 7);
/// assert_eq!(reader.len_slice()?, b"name");
/// assert!(reader.u8().is_err());
/// # Ok::<(), lsm_io::Malformed>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ByteReader<'a> {
    rest: &'a [u8],
    offset: usize,
}

type Decoded<T> = std::result::Result<T, Malformed>;

impl<'a> ByteReader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, offset: 0 }
    }

    /// How many bytes were read.
    #[inline]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether all was read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left, without reading it.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The error "`reason`, here", for checks that a caller makes on what it read.
    #[inline]
    pub fn malformed(&self, reason: &'static str) -> Malformed {
        Malformed { offset: self.offset, reason }
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// `reason`, at the first byte too many.
    pub fn expect_end(&self, reason: &'static str) -> Decoded<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed(reason)) }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let Some((front, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.malformed("ends inside a number"));
        };
        self.rest = rest;
        self.offset += N;
        Ok(*front)
    }

    /// One byte.
    ///
    /// # Errors
    /// Nothing is left.
    #[inline]
    pub fn u8(&mut self) -> Decoded<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, little-endian.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn u16(&mut self) -> Decoded<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, little-endian.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn u32(&mut self) -> Decoded<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn u64(&mut self) -> Decoded<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Sixteen bytes, little-endian.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn u128(&mut self) -> Decoded<u128> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// A varint.
    ///
    /// # Errors
    /// It does not end, is above 64 bits, or is longer than it need be.
    #[inline]
    pub fn varint(&mut self) -> Decoded<u64> {
        let mut number = 0_u64;
        for (index, &byte) in self.rest.iter().take(VARINT_BYTES_MAX).enumerate() {
            number |= u64::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 != 0 {
                continue;
            }
            // The tenth byte has room for one bit only.
            if index == VARINT_BYTES_MAX - 1 && byte > 1 {
                return Err(self.malformed("variable-length number above 64 bits"));
            }
            if byte == 0 && index > 0 {
                return Err(self.malformed("variable-length number longer than it need be"));
            }
            self.rest = &self.rest[index + 1..];
            self.offset += index + 1;
            return Ok(number);
        }
        Err(self.malformed("variable-length number does not end"))
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// Fewer are left.
    #[inline]
    pub fn slice(&mut self, length: usize) -> Decoded<&'a [u8]> {
        let Some((front, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.malformed("ends inside a byte string"));
        };
        self.rest = rest;
        self.offset += length;
        Ok(front)
    }

    /// A slice behind its length, as [`put_slice`] wrote it.
    ///
    /// # Errors
    /// The length is no varint, or fewer bytes are left.
    #[inline]
    pub fn len_slice(&mut self) -> Decoded<&'a [u8]> {
        // The reader stays where it was if any part fails, so that the error names the start.
        let mut ahead = *self;
        let length = ahead.varint()?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let slice = ahead.slice(length)?;
        *self = ahead;
        Ok(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_varint(number: u64, encoded: &[u8]) {
        let mut out = Vec::new();
        put_varint(&mut out, number);
        assert_eq!(out, encoded, "encoding of {number}");
        assert_eq!(ByteReader::new(encoded).varint(), Ok(number), "decoding of {number}");
    }

    #[track_caller]
    fn check_refused(encoded: &[u8], reason: &str) {
        let mut reader = ByteReader::new(encoded);
        let refusal = reader.varint().expect_err("refused");
        assert!(refusal.reason.contains(reason), "{encoded:02x?}: {refusal}");
        assert_eq!(reader.offset(), 0, "a refused number is not consumed");
    }

    #[test]
    fn varints_have_one_encoding() {
        check_varint(0, &[0]);
        check_varint(127, &[0x7F]);
        check_varint(128, &[0x80, 0x01]);
        check_varint(300, &[0xAC, 0x02]);
        check_varint(u64::MAX, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]);
        check_refused(&[], "does not end");
        check_refused(&[0x80], "does not end");
        check_refused(&[0x80; 11], "does not end");
        check_refused(&[0x80, 0x00], "longer than it need be");
        check_refused(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02], "64 bits");
    }

    #[test]
    fn what_was_put_is_read_back() {
        let mut out = Vec::new();
        put_u16(&mut out, 0xABCD);
        put_u32(&mut out, 0xDEAD_BEEF);
        put_u64(&mut out, u64::MAX - 1);
        put_u128(&mut out, u128::MAX - 2);
        put_slice(&mut out, b"");
        put_slice(&mut out, &[9; 200]);
        let mut reader = ByteReader::new(&out);
        assert_eq!(reader.u16(), Ok(0xABCD));
        assert_eq!(reader.u32(), Ok(0xDEAD_BEEF));
        assert_eq!(reader.u64(), Ok(u64::MAX - 1));
        assert_eq!(reader.u128(), Ok(u128::MAX - 2));
        assert_eq!(reader.len_slice(), Ok(&b""[..]));
        assert_eq!(reader.len_slice(), Ok(&[9; 200][..]));
        assert_eq!(reader.offset(), out.len());
        assert_eq!(reader.expect_end("too long"), Ok(()));
    }

    #[test]
    fn every_truncation_is_refused_where_it_is() {
        let mut out = Vec::new();
        put_u32(&mut out, 1);
        put_slice(&mut out, b"twelve bytes");
        for cut in 0..out.len() {
            let mut reader = ByteReader::new(&out[..cut]);
            let outcome = reader.u32().and_then(|_| reader.len_slice());
            let refusal = outcome.expect_err("truncated input is refused");
            assert!(refusal.offset <= cut, "cut at {cut}: {refusal}");
        }
    }

    #[test]
    fn a_length_beyond_memory_is_refused() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        assert!(ByteReader::new(&out).len_slice().is_err());
    }

    #[test]
    fn a_malformed_input_becomes_corruption_of_a_file() {
        let malformed = Malformed { offset: 5, reason: "ends inside a number" };
        let error = malformed.at(Path::new("000007.sst"), 4096);
        assert_eq!(error.to_string(), "000007.sst at byte 4101: ends inside a number");
    }
}
