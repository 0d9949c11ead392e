//! Finds whole frames behind bytes that are none, wherever they stand.
//!
//! A frame can begin at any byte, so every byte is looked at. What makes that fast: a frame's type
//! is followed by three zeros, which almost no place is, and blank stretches are passed over
//! whole. What makes it bounded: a place that only looks like a short frame costs the hashing of a
//! few hundred bytes, and all that look like long ones share one budget. Marks and closing frames
//! are short, so that they are found whatever else the file holds.

use lsm_io::{Result, SharedFile};

use crate::frame::{FRAME_HEADER_BYTES, FrameRef, Header, MARK_EXTRA_BYTES_MAX, NUMBER_BYTES};
use crate::frame_reader::FrameReader;

/// Bytes read at once.
const WINDOW_BYTES: usize = 1 << 20;
/// Frames up to this length cost nothing of the budget; all marks are.
const SHORT_FRAME_BYTES: usize = FRAME_HEADER_BYTES + NUMBER_BYTES + MARK_EXTRA_BYTES_MAX;
/// How often, on average, a byte of the file may be hashed as part of what looks like a long frame.
const BUDGET_PER_BYTE: u64 = 4;
/// Where the type stands in a header.
const KIND_AT: usize = 8;

/// A search through one file.
pub(crate) struct Scan {
    file: SharedFile,
    file_bytes: u64,
    number: u64,
    salt: u64,
    position: u64,
    /// Frames of lower sequence numbers are no frames of this place in the log: a payload may well
    /// hold a copy of an older part of its own segment.
    seq_start_min: u64,
    window: Vec<u8>,
    window_start: u64,
    /// A frame that is not whole in the window.
    long_frame: Vec<u8>,
    budget_bytes: u64,
}

impl Scan {
    /// Searches the reader's file from `from` on for frames that begin with `seq_start_min` at least.
    pub(crate) fn new(reader: &FrameReader, from: u64, seq_start_min: u64) -> Self {
        let identity = reader.identity();
        Self {
            file: SharedFile::clone(reader.file()),
            file_bytes: reader.file_bytes(),
            number: identity.file_number,
            salt: identity.salt(),
            position: from,
            seq_start_min,
            window: Vec::new(),
            window_start: 0,
            long_frame: Vec::new(),
            budget_bytes: reader.file_bytes().saturating_mul(BUDGET_PER_BYTE),
        }
    }

    /// The next frame. Sequence numbers ascend from one to the next.
    pub(crate) fn next(&mut self) -> Result<Option<FrameRef<'_>>> {
        while let Some(header) = self.next_candidate()? {
            let offset = self.position;
            let Some(is_long) = self.is_frame(&header)? else {
                self.position += 1;
                continue;
            };
            self.position += header.frame_bytes();
            self.seq_start_min = header.seq_start + u64::from(header.count);
            let frame_bytes = header.frame_bytes() as usize;
            let frame = if is_long { &self.long_frame } else { self.window_from(offset) };
            let payload = &frame[FRAME_HEADER_BYTES..frame_bytes];
            return Ok(Some(header.frame(payload, self.number, offset)));
        }
        Ok(None)
    }

    /// Moves on to the next place at which a header stands that could be one.
    fn next_candidate(&mut self) -> Result<Option<Header>> {
        while self.file_bytes.saturating_sub(self.position) >= FRAME_HEADER_BYTES as u64 {
            self.refill()?;
            let bytes = self.window_from(self.position);
            let Some(distance) = distance_to_candidate(bytes) else {
                // No header that is whole in the window: on to the first one that is not.
                self.position += (bytes.len() - FRAME_HEADER_BYTES + 1) as u64;
                continue;
            };
            let header = bytes[distance..].first_chunk().map(Header::decode);
            self.position += distance as u64;
            if let Some(Ok(header)) = header
                && header.seq_start >= self.seq_start_min
                && header.frame_bytes() <= self.file_bytes - self.position
            {
                return Ok(Some(header));
            }
            self.position += 1;
        }
        Ok(None)
    }

    /// Whether a frame with this header stands at the position: in the window (`Some(false)`) or, not
    /// whole there, in `long_frame` (`Some(true)`).
    fn is_frame(&mut self, header: &Header) -> Result<Option<bool>> {
        let frame_bytes = header.frame_bytes();
        if frame_bytes > SHORT_FRAME_BYTES as u64 {
            let Some(left) = self.budget_bytes.checked_sub(frame_bytes) else { return Ok(None) };
            self.budget_bytes = left;
        }
        let frame_bytes = frame_bytes as usize;
        if let Some(frame) = self.window_from(self.position).get(..frame_bytes) {
            let is_valid = header.validates(&frame[FRAME_HEADER_BYTES..], self.salt);
            return Ok(is_valid.then_some(false));
        }
        self.long_frame.resize(frame_bytes, 0);
        self.file.read_at(self.position, &mut self.long_frame)?;
        let is_valid = header.validates(&self.long_frame[FRAME_HEADER_BYTES..], self.salt);
        Ok(is_valid.then_some(true))
    }

    /// Sees to it that the header at the position is whole in the window.
    fn refill(&mut self) -> Result<()> {
        let window_end = self.window_start + self.window.len() as u64;
        if self.position < self.window_start
            || self.position + FRAME_HEADER_BYTES as u64 > window_end
        {
            let rest = self.file_bytes - self.position;
            self.window.resize(rest.min(WINDOW_BYTES as u64) as usize, 0);
            self.window_start = self.position;
            self.file.read_at(self.position, &mut self.window)?;
        }
        Ok(())
    }

    fn window_from(&self, offset: u64) -> &[u8] {
        &self.window[(offset - self.window_start) as usize..]
    }
}

/// How far it is to the next header with a type, and without flags and reserved bytes.
fn distance_to_candidate(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(FRAME_HEADER_BYTES)?;
    let mut at = 0;
    while at <= last {
        let kind_and_zeros =
            bytes[at + KIND_AT..].first_chunk().map(|word| u32::from_le_bytes(*word));
        match kind_and_zeros {
            None => return None,
            Some(0) => at += blank_bytes(&bytes[at + KIND_AT..]),
            Some(1..=0xFF) => return Some(at),
            // The highest of the four bytes that is no zero rules out all types before it.
            Some(word) => at += (u32::BITS - 1 - word.leading_zeros()) as usize / 8,
        }
    }
    None
}

/// How many zeros `bytes` begins with.
fn blank_bytes(bytes: &[u8]) -> usize {
    const BLANK: [u8; 64] = [0; 64];
    let blank = bytes.chunks_exact(BLANK.len()).take_while(|chunk| **chunk == BLANK).count();
    let blank = blank * BLANK.len();
    blank + bytes[blank..].iter().take_while(|byte| **byte == 0).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every place that the definition allows, one after the other.
    fn candidates(bytes: &[u8]) -> Vec<usize> {
        let is_candidate = |header: &[u8]| header[8] != 0 && header[9..12] == [0; 3];
        let headers = bytes.windows(FRAME_HEADER_BYTES).enumerate();
        headers.filter(|(_, header)| is_candidate(header)).map(|(at, _)| at).collect()
    }

    #[test]
    fn no_place_that_could_be_a_header_is_passed_over() {
        let mut state = 1_u64;
        for round in 0..2000 {
            let mut bytes = vec![0; 24 + round % 300];
            for byte in &mut bytes {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Zeros and small numbers, so that there is something to find.
                *byte = if state >> 61 < 5 { 0 } else { (state >> 40) as u8 & 3 };
            }
            bytes[..8].fill(0);
            let mut found = Vec::new();
            let mut from = 0;
            while let Some(distance) = distance_to_candidate(&bytes[from..]) {
                found.push(from + distance);
                from += distance + 1;
            }
            assert_eq!(found, candidates(&bytes), "round {round}: {bytes:?}");
        }
    }

    #[test]
    fn zeros_are_counted_to_the_last() {
        for length in 0..300 {
            let mut bytes = vec![0; length];
            assert_eq!(blank_bytes(&bytes), length);
            bytes.extend_from_slice(&[1, 0, 0]);
            assert_eq!(blank_bytes(&bytes), length);
        }
    }
}
