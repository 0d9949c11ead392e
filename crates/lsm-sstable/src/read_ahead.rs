//! What a cursor asks for before it gets there, where the system was told to read nothing ahead.
//!
//! A cursor that walks from block to block asks for a stretch of the file, and for the next one when
//! it is half through: the longer it has walked, the longer the stretch. One that only seeks asks for
//! nothing: memory is short, and what it would be given others lose.

use std::ops::Range;

/// The first stretch of a walk, and the longest.
const STRETCH_BYTES_MIN: u64 = 16 << 10;
const STRETCH_BYTES_MAX: u64 = 256 << 10;

/// How far a cursor has asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadAhead {
    /// From the block at which it asked last to the end of what it asked for, or the other way round.
    asked: Range<u64>,
    stretch_bytes: u64,
}

impl ReadAhead {
    /// The cursor walks forward into `block`: what to ask for, if it is time to.
    pub(crate) fn forward(&mut self, block: &Range<u64>, file_bytes: u64) -> Option<Range<u64>> {
        let asked_to = self.asked_so_far(block).map_or(block.start, |asked| asked.end);
        if asked_to >= file_bytes || asked_to > block.end + self.stretch_bytes / 2 {
            return None;
        }
        self.lengthen();
        let to = (asked_to + self.stretch_bytes).min(file_bytes);
        self.asked = block.start..to;
        Some(asked_to..to)
    }

    /// The same for one that walks backward.
    pub(crate) fn backward(&mut self, block: &Range<u64>) -> Option<Range<u64>> {
        let asked_from = self.asked_so_far(block).map_or(block.end, |asked| asked.start);
        if asked_from == 0 || asked_from + self.stretch_bytes / 2 < block.start {
            return None;
        }
        self.lengthen();
        let from = asked_from.saturating_sub(self.stretch_bytes);
        self.asked = from..block.end;
        Some(from..asked_from)
    }

    /// What was asked for, if the walk to `block` is the one for which it was; else a walk begins.
    fn asked_so_far(&mut self, block: &Range<u64>) -> Option<&Range<u64>> {
        let is_one_walk = self.asked.start <= block.start && block.end <= self.asked.end;
        if !is_one_walk {
            self.stretch_bytes = 0;
        }
        is_one_walk.then_some(&self.asked)
    }

    fn lengthen(&mut self) {
        self.stretch_bytes = (self.stretch_bytes * 2).clamp(STRETCH_BYTES_MIN, STRETCH_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK_BYTES: u64 = 4 << 10;
    const FILE_BYTES: u64 = 4 << 20;

    fn block(number: u64) -> Range<u64> {
        number * BLOCK_BYTES..(number + 1) * BLOCK_BYTES
    }

    /// Walks over `blocks`, each asked for before it is reached, and returns how often was asked.
    #[track_caller]
    fn check_walk(blocks: impl Iterator<Item = u64>, is_forward: bool) -> usize {
        let (mut ahead, mut asked, mut times) = (ReadAhead::default(), Vec::new(), 0);
        for number in blocks {
            let block = block(number);
            let is_asked = asked
                .iter()
                .any(|asked: &Range<u64>| asked.start <= block.start && block.end <= asked.end);
            let more = match is_forward {
                true => ahead.forward(&block, FILE_BYTES),
                false => ahead.backward(&block),
            };
            assert!(is_asked || times == 0, "block {number} was not asked for before");
            if let Some(more) = more {
                assert!(more.start < more.end && more.end <= FILE_BYTES, "{more:?}");
                assert!(more.end - more.start <= STRETCH_BYTES_MAX, "{more:?}");
                times += 1;
                asked.push(more);
            }
        }
        let bytes: u64 = asked.iter().map(|asked| asked.end - asked.start).sum();
        assert!(bytes <= FILE_BYTES, "{bytes} bytes asked for, some twice");
        times
    }

    #[test]
    fn a_walk_finds_each_block_asked_for_once_and_in_few_pieces() {
        assert_eq!(check_walk(1..FILE_BYTES / BLOCK_BYTES, true), 20);
        assert_eq!(check_walk((0..FILE_BYTES / BLOCK_BYTES - 1).rev(), false), 20);
    }

    #[test]
    fn a_walk_that_begins_elsewhere_asks_for_little_again() {
        let mut ahead = ReadAhead::default();
        for number in 0..500 {
            ahead.forward(&block(number), FILE_BYTES);
        }
        let asked = ahead.forward(&block(900), FILE_BYTES);
        assert_eq!(asked, Some(block(900).start..block(900).start + STRETCH_BYTES_MIN));
        assert_eq!(ahead.backward(&block(899)), Some(block(896).start..block(900).start));
    }
}
