//! A memtable beside a plain sorted map, and arbitrary bytes that say what befalls the two.
//!
//! Whatever the memtable answers, the map has to answer as well.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use lsm_entry::{Cursor, Direction, Entry, MAX_SEQ_NO, SeqNo, Tag, key_hash};

use crate::{Memtable, MemtableCursor, MemtableOptions};

/// The bytes that keys of a history begin with, or the first few of them.
const STEM: &[u8] = b"tenant/0042/user/";
/// How much of the stem a key may begin with.
const STEM_BYTES: [usize; 8] = [0, 1, 6, 7, 8, 11, 12, 17];

/// A memtable and a map with the same entries. Its methods panic where they disagree.
#[derive(Debug)]
pub struct Twin {
    /// The memtable.
    pub memtable: Arc<Memtable>,
    map: BTreeMap<InternalKey, Version>,
    tombstones: usize,
    data_bytes: usize,
}

/// User key and sequence number, in internal order: the number is that of the newest minus its own.
type InternalKey = (Vec<u8>, SeqNo);

#[derive(Debug)]
struct Version {
    /// How many entries there were before it.
    born: usize,
    tag: Tag,
    value: Vec<u8>,
}

/// A cursor, and where it has to be.
#[derive(Debug)]
pub struct HeldCursor {
    cursor: MemtableCursor,
    /// How many entries there were when it was made, or renewed.
    born: usize,
    here: Option<InternalKey>,
}

/// A movement of a cursor.
#[derive(Clone, Debug)]
pub enum Move {
    /// To the first entry.
    First,
    /// To the last entry.
    Last,
    /// To the first entry at or after an internal key.
    Seek(Vec<u8>, SeqNo),
    /// The same, prepared.
    PreparedSeek(Vec<u8>, SeqNo),
    /// To the last entry at or before an internal key.
    SeekForPrev(Vec<u8>, SeqNo),
    /// To the next entry.
    Next,
    /// To the entry before.
    Prev,
}

impl Twin {
    /// Two empty maps.
    pub fn new(options: MemtableOptions) -> Self {
        let memtable = Arc::new(Memtable::new(options));
        Self { memtable, map: BTreeMap::new(), tombstones: 0, data_bytes: 0 }
    }

    /// Inserts into both, if the memtable says that it has room. Of one key, sequence numbers must
    /// ascend.
    pub fn insert(&mut self, entry: Entry<'_>) -> bool {
        let bytes = entry.key.len() + entry.value.len();
        if !self.memtable.has_room(1, bytes) {
            return false;
        }
        self.memtable.writer().insert(entry, key_hash(entry.key));
        let version = Version { born: self.len(), tag: entry.tag, value: entry.value.to_vec() };
        self.map.insert(internal_key(entry.key, entry.seq_no), version);
        self.tombstones += usize::from(entry.tag.is_tombstone());
        self.data_bytes += bytes;
        true
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Holds a point read against the map.
    #[track_caller]
    pub fn check_get(&self, key: &[u8], seq_no: SeqNo) {
        let first = internal_key(key, seq_no);
        let expected = self.map.range(first..).next().filter(|((found, _), _)| found == key);
        let found = self.memtable.get(key, key_hash(key), seq_no);
        assert_eq!(found, expected.map(as_entry), "get {key:?} at {seq_no}");
    }

    /// A cursor over what is there now.
    pub fn cursor(&self) -> HeldCursor {
        HeldCursor { cursor: self.memtable.cursor(), born: self.len(), here: None }
    }

    /// Has a cursor take in what is there now.
    pub fn renew(&self, held: &mut HeldCursor) {
        held.cursor.renew();
        (held.born, held.here) = (self.len(), None);
    }

    /// Moves a cursor, and holds where it is then against the map.
    #[track_caller]
    pub fn check_move(&self, held: &mut HeldCursor, movement: &Move) {
        let cursor = &mut held.cursor;
        match movement {
            Move::PreparedSeek(key, seq_no) => cursor.prepare_seek(key, *seq_no),
            // What was prepared may be left.
            Move::First | Move::Last | Move::SeekForPrev(..) => cursor.prepare_seek(STEM, 1),
            Move::Seek(..) | Move::Next | Move::Prev => {}
        }
        let Ok(()) = match movement {
            Move::First => cursor.seek_first(),
            Move::Last => cursor.seek_last(),
            Move::Seek(key, seq_no) | Move::PreparedSeek(key, seq_no) => cursor.seek(key, *seq_no),
            Move::SeekForPrev(key, seq_no) => cursor.seek_for_prev(key, *seq_no),
            Move::Next => cursor.next(),
            Move::Prev => cursor.prev(),
        };
        use Bound::{Excluded, Included, Unbounded};
        let (direction, from) = match movement {
            Move::First => (Direction::Forward, Unbounded),
            Move::Last => (Direction::Backward, Unbounded),
            Move::Seek(key, seq_no) | Move::PreparedSeek(key, seq_no) => {
                (Direction::Forward, Included(internal_key(key, *seq_no)))
            }
            Move::SeekForPrev(key, seq_no) => {
                (Direction::Backward, Included(internal_key(key, *seq_no)))
            }
            Move::Next | Move::Prev => {
                let Some(here) = held.here.clone() else {
                    assert_eq!(held.cursor.entry(), None, "a cursor at an end stays there");
                    return;
                };
                let forward = matches!(movement, Move::Next);
                let direction = if forward { Direction::Forward } else { Direction::Backward };
                (direction, Excluded(here))
            }
        };
        let expected = self.walk(direction, from, held.born).next();
        let found = held.cursor.entry();
        assert_eq!(found, expected.map(as_entry), "{movement:?} from {:?}", held.here);
        held.here = expected.map(|(key, _)| key.clone());
    }

    /// Holds what a cursor says of its way on against the map.
    #[track_caller]
    pub fn check_stretch(&self, held: &HeldCursor, direction: Direction) {
        let Some(stretch) = held.cursor.stretch(direction) else { return };
        let here = held.here.clone().expect("nothing stretches from an end");
        let mut way = self.walk(direction, Bound::Included(here), held.born);
        let last = way.nth(stretch.remaining).expect("a stretch has so many entries");
        assert_eq!(stretch.last_key, last.0.0, "the last key of a stretch");
    }

    /// Walks all entries in both directions, asks for each of them, and for the counts.
    #[track_caller]
    pub fn check_all(&self) {
        for (ends, step) in [(Move::First, Move::Next), (Move::Last, Move::Prev)] {
            let mut held = self.cursor();
            self.check_move(&mut held, &ends);
            while held.here.is_some() {
                self.check_move(&mut held, &step);
            }
        }
        for (key, reversed) in self.map.keys() {
            self.check_get(key, MAX_SEQ_NO - reversed);
            self.check_get(key, MAX_SEQ_NO);
        }
        let seq_nos = || self.map.keys().map(|(_, reversed)| MAX_SEQ_NO - reversed);
        assert_eq!(self.memtable.seq_no_range(), seq_nos().min().zip(seq_nos().max()));
        assert_eq!(self.memtable.entries(), self.len());
        assert_eq!(self.memtable.is_empty(), self.is_empty());
        assert_eq!(self.memtable.tombstones(), self.tombstones);
        assert_eq!(self.memtable.data_bytes(), self.data_bytes);
    }

    /// The entries from a place on in one direction, without those born later than a cursor.
    fn walk(
        &self,
        direction: Direction,
        from: Bound<InternalKey>,
        born: usize,
    ) -> impl Iterator<Item = (&InternalKey, &Version)> {
        let is_forward = direction == Direction::Forward;
        let bounds = if is_forward { (from, Bound::Unbounded) } else { (Bound::Unbounded, from) };
        let mut range = self.map.range(bounds);
        let step = move || if is_forward { range.next() } else { range.next_back() };
        std::iter::from_fn(step).filter(move |(_, version)| version.born < born)
    }
}

fn internal_key(key: &[u8], seq_no: SeqNo) -> InternalKey {
    (key.to_vec(), MAX_SEQ_NO - seq_no)
}

fn as_entry<'a>(((key, reversed), version): (&'a InternalKey, &'a Version)) -> Entry<'a> {
    Entry { key, seq_no: MAX_SEQ_NO - reversed, tag: version.tag, value: &version.value }
}

/// Plays the history that `data` describes, and holds every answer against the map.
pub fn fuzz_history(data: &[u8]) {
    let mut script = data.iter().copied();
    let capacity_bytes = usize::from(script.next().unwrap_or(0)) << 8;
    let mut twin = Twin::new(MemtableOptions { capacity_bytes, hash_seed: data.len() as u64 });
    let mut held = twin.cursor();
    let mut seq_no = 0;
    while let Some(choice) = script.next() {
        let mut draw = || script.next().unwrap_or(0);
        let argument = choice >> 4;
        match choice & 0x0F {
            0..=2 => {
                let key = draw_key(&mut draw);
                seq_no += 1 + SeqNo::from(argument);
                twin.insert(Entry::put(&key, seq_no, &key[..key.len().min(argument.into())]));
            }
            3 => {
                seq_no += 1;
                twin.insert(Entry::delete(&draw_key(&mut draw), seq_no));
            }
            // Many at once, so that few bytes fill many pieces: versions of few keys, or new keys.
            4 => {
                let (key, count) = (draw_key(&mut draw), draw());
                for number in 0..count {
                    seq_no += 1;
                    let end = [number.wrapping_mul(2 * argument + 1) & (0xFF >> (argument / 2))];
                    twin.insert(Entry::put(&[&key[..], &end].concat(), seq_no, &end));
                }
            }
            5 => while twin.memtable.organize() {},
            6 if argument == 0 => twin.memtable.freeze(),
            6 => twin.renew(&mut held),
            7 => held = twin.cursor(),
            8 => twin.check_get(&draw_key(&mut draw), MAX_SEQ_NO),
            9 => twin.check_get(&draw_key(&mut draw), draw_seq_no(&mut draw, seq_no)),
            choice => {
                let movement = match choice {
                    10 => Move::First,
                    11 => Move::Last,
                    12 if argument & 1 == 0 => {
                        Move::Seek(draw_key(&mut draw), draw_seq_no(&mut draw, seq_no))
                    }
                    12 => Move::PreparedSeek(draw_key(&mut draw), draw_seq_no(&mut draw, seq_no)),
                    13 => Move::SeekForPrev(draw_key(&mut draw), draw_seq_no(&mut draw, seq_no)),
                    14 => Move::Next,
                    _ => Move::Prev,
                };
                twin.check_move(&mut held, &movement);
                // The upper half of the byte repeats a step.
                for _ in 0..argument {
                    twin.check_move(
                        &mut held,
                        if choice & 1 == 0 { &Move::Next } else { &Move::Prev },
                    );
                }
                twin.check_stretch(&held, Direction::Forward);
                twin.check_stretch(&held, Direction::Backward);
            }
        }
    }
    twin.check_all();
    twin.memtable.freeze();
    while twin.memtable.organize() {}
    assert!(!twin.insert(Entry::put(b"", MAX_SEQ_NO, b"")), "a frozen memtable takes nothing");
    twin.check_all();
}

/// Some of the stem, and up to three bytes of the script.
fn draw_key(draw: &mut impl FnMut() -> u8) -> Vec<u8> {
    let shape = usize::from(draw());
    let mut key = STEM[..STEM_BYTES[shape % 8]].to_vec();
    key.extend((0..shape / 8 % 4).map(|_| draw()));
    key
}

/// A sequence number up to one after the newest, or beyond all.
fn draw_seq_no(draw: &mut impl FnMut() -> u8, newest: SeqNo) -> SeqNo {
    match draw() {
        0xFF => MAX_SEQ_NO,
        part => (newest + 1) * SeqNo::from(part) / 0xFE,
    }
}
