//! One thing done to one file behind everybody's back.

use std::fmt;
use std::ops::Range;

use lsm_io::{Fs, SimFs};

use super::specimen::Specimen;

/// Lengths by which a file is made longer.
const GROWTHS: [usize; 5] = [1, 8, 24, 512, 4096];
/// What a disk loses at once.
const PAGES: [usize; 2] = [512, 4096];

/// A change to a specimen's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One bit is the other way round.
    Bit(usize),
    /// Some bytes are others.
    Bytes(Vec<(usize, u8)>),
    /// The file ends here.
    Cut(usize),
    /// So many zeros follow its end.
    Zeros(usize),
    /// So many bytes that are no zeros follow its end.
    Garbage(usize),
    /// A page reads as zeros.
    Blank(Range<usize>),
    /// Two pieces (blocks, frames, lines) stand in each other's place.
    Exchange(Range<usize>, Range<usize>),
    /// A piece stands where another one should, which a disk does that misdirects a write.
    Misdirect(Range<usize>, Range<usize>),
    /// A piece is missing, and the rest has moved up.
    Leave(Range<usize>),
    /// A piece is there twice.
    Repeat(Range<usize>),
    /// The file is another one that was there once, or is elsewhere: one of the specimen's.
    Replace(usize),
    /// The file and another of its kind have each other's name.
    SwapFiles(usize),
    /// The file is gone.
    Remove,
}

/// What a change is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Single bits.
    Bits,
    /// Other lengths, 0 and none at all among them.
    Lengths,
    /// Several bytes at once: zeroed pages.
    Pages,
    /// Pieces of one file that are not where they belong.
    Pieces,
    /// Whole files that are not where, or when, they belong.
    Files,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Bits, Self::Lengths, Self::Pages, Self::Pieces, Self::Files];

    /// The name under which it is counted.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bits => "bits",
            Self::Lengths => "truncations",
            Self::Pages => "pages",
            Self::Pieces => "pieces",
            Self::Files => "files",
        }
    }
}

impl Change {
    /// Everything that can be done to a specimen: each bit, each length, each page, each pair of
    /// pieces, each other file.
    pub fn all(specimen: &Specimen) -> Vec<Self> {
        let bytes = specimen.bytes();
        let length = bytes.len();
        let mut changes: Vec<Self> = (0..length * 8).map(Self::Bit).collect();
        changes.extend((0..length).map(Self::Cut));
        changes.extend(GROWTHS.map(Self::Zeros));
        changes.extend(GROWTHS.map(Self::Garbage));
        for page in PAGES {
            let pages = (0..length).step_by(page).map(|at| at..length.min(at + page));
            changes.extend(pages.filter(|page| !is_blank(&bytes[page.clone()])).map(Self::Blank));
        }
        let pieces = specimen.pieces();
        for (number, piece) in pieces.iter().enumerate() {
            changes.push(Self::Leave(piece.clone()));
            changes.push(Self::Repeat(piece.clone()));
            for other in &pieces[number + 1..] {
                changes.push(Self::Exchange(piece.clone(), other.clone()));
                changes.push(Self::Misdirect(piece.clone(), other.clone()));
                changes.push(Self::Misdirect(other.clone(), piece.clone()));
            }
        }
        changes.extend((0..specimen.replacements().len()).map(Self::Replace));
        changes.extend((0..specimen.siblings().len()).map(Self::SwapFiles));
        changes.push(Self::Remove);
        changes
    }

    /// What it is counted as.
    pub fn family(&self) -> Family {
        match self {
            Self::Bit(_) => Family::Bits,
            Self::Cut(_) | Self::Zeros(_) | Self::Garbage(_) | Self::Remove => Family::Lengths,
            Self::Blank(_) | Self::Bytes(_) => Family::Pages,
            Self::Exchange(..) | Self::Misdirect(..) | Self::Leave(_) | Self::Repeat(_) => {
                Family::Pieces
            }
            Self::Replace(_) | Self::SwapFiles(_) => Family::Files,
        }
    }

    /// Whether the file itself holds what is wrong, so that an error has to name it. Where a file
    /// came from elsewhere, what does not fit may be noticed in another one.
    pub(super) fn is_within_the_file(&self) -> bool {
        self.family() != Family::Files && *self != Self::Remove
    }

    /// Does it to the specimen's file on a disk.
    ///
    /// # Panics
    /// If the disk is not the specimen's.
    pub fn apply(&self, fs: &SimFs, specimen: &Specimen) {
        let path = specimen.path();
        match self {
            Self::Remove => fs.remove_file(path).expect("the specimen's file is there"),
            Self::SwapFiles(number) => {
                let other = &specimen.siblings()[*number];
                let (ours, theirs) = (fs.read_file(path), fs.read_file(other));
                fs.damage(path, |bytes| *bytes = theirs);
                fs.damage(other, |bytes| *bytes = ours);
            }
            Self::Replace(number) => {
                let (_, replacement) = &specimen.replacements()[*number];
                fs.damage(path, |bytes| bytes.clone_from(replacement));
            }
            change => fs.damage(path, |bytes| change.apply_to(bytes)),
        }
    }

    fn apply_to(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Bit(bit) => bytes[bit / 8] ^= 1 << (bit % 8),
            Self::Bytes(others) => others.iter().for_each(|(at, byte)| bytes[*at] = *byte),
            Self::Cut(length) => bytes.truncate(*length),
            Self::Zeros(count) => bytes.resize(bytes.len() + count, 0),
            Self::Garbage(count) => bytes.extend((0..*count).map(|n| (n * 37 + 11) as u8 | 1)),
            Self::Blank(page) => bytes[page.clone()].fill(0),
            Self::Exchange(one, other) => {
                // Pieces differ in length: what stands between them moves, and nothing else does.
                let (first, second) = (bytes[one.clone()].to_vec(), bytes[other.clone()].to_vec());
                bytes.splice(other.clone(), first);
                bytes.splice(one.clone(), second);
            }
            Self::Misdirect(from, to) => {
                let length = from.len().min(to.len());
                bytes.copy_within(from.start..from.start + length, to.start);
            }
            Self::Leave(piece) => drop(bytes.drain(piece.clone())),
            Self::Repeat(piece) => {
                let again = bytes[piece.clone()].to_vec();
                bytes.splice(piece.end..piece.end, again);
            }
            Self::Replace(_) | Self::SwapFiles(_) | Self::Remove => {}
        }
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bit(bit) => write!(f, "bit {} of byte {} flipped", bit % 8, bit / 8),
            Self::Bytes(others) => write!(f, "bytes set: {others:?}"),
            Self::Cut(length) => write!(f, "cut to {length} bytes"),
            Self::Zeros(count) => write!(f, "{count} zeros appended"),
            Self::Garbage(count) => write!(f, "{count} bytes of garbage appended"),
            Self::Blank(page) => write!(f, "bytes {page:?} zeroed"),
            Self::Exchange(one, other) => write!(f, "bytes {one:?} and {other:?} exchanged"),
            Self::Misdirect(from, to) => write!(f, "bytes {from:?} written over {to:?}"),
            Self::Leave(piece) => write!(f, "bytes {piece:?} left out"),
            Self::Repeat(piece) => write!(f, "bytes {piece:?} there twice"),
            Self::Replace(number) => write!(f, "replaced by its replacement {number}"),
            Self::SwapFiles(number) => write!(f, "swapped with its sibling {number}"),
            Self::Remove => f.write_str("removed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_change(change: &Change, before: &str, after: &str) {
        let mut bytes = before.as_bytes().to_vec();
        change.apply_to(&mut bytes);
        assert_eq!(String::from_utf8_lossy(&bytes), after, "{change}");
    }

    #[test]
    fn pieces_of_different_lengths_take_each_others_place() {
        check_change(&Change::Exchange(1..3, 5..8), "abbcdeeef", "aeeecdbbf");
        check_change(&Change::Misdirect(5..8, 1..3), "abbcdeeef", "aeecdeeef");
        check_change(&Change::Leave(1..3), "abbc", "ac");
        check_change(&Change::Repeat(1..3), "abbc", "abbbbc");
    }
}
