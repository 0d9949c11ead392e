//! Counts the frames above the newest mark, in bounded memory.

use std::collections::VecDeque;

/// Beyond this many groups neighbours are joined.
const GROUPS_MAX: usize = 1 << 16;

/// Frames that no mark has covered yet, in order.
#[derive(Debug, Default)]
pub(super) struct Unmarked {
    groups: VecDeque<Group>,
}

/// Neighbouring frames; one, mostly.
#[derive(Clone, Copy, Debug)]
struct Group {
    last_seq_no: u64,
    frames: u64,
    bytes: u64,
}

impl Unmarked {
    /// A frame was read that ends with this sequence number.
    pub(super) fn push(&mut self, last_seq_no: u64, bytes: u64) {
        if self.groups.len() == GROUPS_MAX {
            // A log without marks: its length must not decide about memory. A mark that falls into
            // a joined group leaves all of it counted.
            self.groups = self.groups.make_contiguous().chunks(2).map(Group::join).collect();
        }
        self.groups.push_back(Group { last_seq_no, frames: 1, bytes });
    }

    /// A mark was read.
    pub(super) fn mark(&mut self, durable_through: u64) {
        while self.groups.front().is_some_and(|group| group.last_seq_no <= durable_through) {
            self.groups.pop_front();
        }
    }

    /// Everything so far is known durable.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
    }

    pub(super) fn frames(&self) -> u64 {
        self.groups.iter().map(|group| group.frames).sum()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.groups.iter().map(|group| group.bytes).sum()
    }
}

impl Group {
    fn join(neighbours: &[Self]) -> Self {
        Self {
            last_seq_no: neighbours.iter().map(|group| group.last_seq_no).max().unwrap_or(0),
            frames: neighbours.iter().map(|group| group.frames).sum(),
            bytes: neighbours.iter().map(|group| group.bytes).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_covers_the_frames_that_end_at_or_below_it() {
        let mut unmarked = Unmarked::default();
        for last_seq_no in [3, 5, 9] {
            unmarked.push(last_seq_no, 10);
        }
        unmarked.mark(5);
        assert_eq!((unmarked.frames(), unmarked.bytes()), (1, 10));
        unmarked.mark(8);
        assert_eq!(unmarked.frames(), 1);
        unmarked.mark(9);
        assert_eq!(unmarked.frames(), 0);
    }

    #[test]
    fn a_log_without_marks_is_counted_in_bounded_memory() {
        let mut unmarked = Unmarked::default();
        let frames = 5 * GROUPS_MAX as u64;
        for seq_no in 0..frames {
            unmarked.push(seq_no, 2);
        }
        assert_eq!((unmarked.frames(), unmarked.bytes()), (frames, 2 * frames));
        assert!(unmarked.groups.len() <= GROUPS_MAX);
        unmarked.mark(frames / 2);
        let above = frames - frames / 2 - 1;
        assert!((above..above + 16).contains(&unmarked.frames()));
    }
}
