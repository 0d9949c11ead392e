//! Random histories: whatever has happened, the memtable answers as a sorted map does.

use lsm_entry::{Direction, Entry, MAX_KEY_BYTES, MAX_SEQ_NO, SeqNo, Tag};
use lsm_memtable::MemtableOptions;
use lsm_memtable::fuzz::{HeldCursor, Move, Twin};

use crate::support::{Rng, options};

/// How keys of one history look.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys {
    /// Few, so that each has many versions.
    Few,
    /// With a long prefix in common, of which rarer keys keep less and less.
    Prefixed,
    /// Short, of bytes at the ends of the alphabet: digests are full of 0x00 and 0xFF.
    Extreme,
    /// Anything, up to the longest.
    Any,
}

impl Keys {
    pub(crate) const ALL: [Self; 4] = [Self::Few, Self::Prefixed, Self::Extreme, Self::Any];

    pub(crate) fn draw(self, rng: &mut Rng) -> Vec<u8> {
        const PREFIX: &[u8] = b"a long prefix that keys have in common/0042/";
        match self {
            Self::Few => format!("key {}", rng.below(20)).into_bytes(),
            Self::Prefixed => {
                let kept = match rng.below(100) {
                    0 => rng.below(PREFIX.len()),
                    1..10 => PREFIX.len() - 5,
                    _ => PREFIX.len(),
                };
                [&PREFIX[..kept], format!("{:03}", rng.below(400)).as_bytes()].concat()
            }
            Self::Extreme => {
                let length = rng.below(12);
                (0..length).map(|_| [0x00, 0x01, 0xFE, 0xFF, 0xFF][rng.below(5)]).collect()
            }
            Self::Any => {
                let length =
                    if rng.below(200) == 0 { rng.below(MAX_KEY_BYTES + 1) } else { rng.below(24) };
                let byte = rng.next() as u8;
                let mut key = vec![byte; length];
                key.iter_mut().rev().take(2).for_each(|byte| *byte = rng.next() as u8);
                key
            }
        }
    }
}

/// A history under way.
struct History {
    rng: Rng,
    keys: Keys,
    twin: Twin,
    seq_no: SeqNo,
    held: Vec<HeldCursor>,
}

impl History {
    fn new(seed: u64, keys: Keys) -> Self {
        let options = MemtableOptions { hash_seed: seed, ..options(8 << 20) };
        let twin = Twin::new(options);
        Self { rng: Rng(seed), keys, twin, seq_no: 0, held: Vec::new() }
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..50 => {
                for _ in 0..=self.rng.below(20) {
                    self.insert();
                }
            }
            50..70 => {
                let (key, seq_no) = self.internal_key();
                self.twin.check_get(&key, seq_no);
            }
            70..75 => {
                // A few at a time, so that old ones see much happen.
                self.held.truncate(3);
                match self.held.pop().filter(|_| self.seq_no.is_multiple_of(2)) {
                    Some(mut old) => {
                        self.twin.renew(&mut old);
                        self.held.insert(0, old);
                    }
                    None => self.held.insert(0, self.twin.cursor()),
                }
            }
            75..99 => self.walk(),
            _ => {
                self.twin.memtable.organize();
            }
        }
    }

    fn insert(&mut self) {
        let key = self.keys.draw(&mut self.rng);
        self.seq_no += 1 + self.rng.below(3) as SeqNo;
        let length = self.rng.below(30);
        let value = vec![self.seq_no as u8; length];
        let entry = match self.rng.below(10) {
            0 | 1 => Entry::delete(&key, self.seq_no),
            2 => Entry { tag: Tag::PUT.with_expiry(), ..Entry::put(&key, self.seq_no, &value) },
            _ => Entry::put(&key, self.seq_no, &value),
        };
        assert!(self.twin.insert(entry));
    }

    /// Seeks with one of the cursors, then goes to and fro.
    fn walk(&mut self) {
        let (key, seq_no) = self.internal_key();
        let choice = self.rng.below(self.held.len());
        let Some(held) = self.held.get_mut(choice) else { return };
        let start = match self.rng.below(10) {
            0 => Some(Move::First),
            1 => Some(Move::Last),
            2..4 => Some(Move::Seek(key, seq_no)),
            4 => Some(Move::PreparedSeek(key, seq_no)),
            5..8 => Some(Move::SeekForPrev(key, seq_no)),
            _ => None,
        };
        if let Some(start) = start {
            self.twin.check_move(held, &start);
        }
        for _ in 0..self.rng.below(4) {
            let step = if self.rng.below(2) == 0 { Move::Next } else { Move::Prev };
            for _ in 0..self.rng.below(30) {
                self.twin.check_move(held, &step);
            }
            self.twin.check_stretch(held, Direction::Forward);
            self.twin.check_stretch(held, Direction::Backward);
        }
    }

    fn internal_key(&mut self) -> (Vec<u8>, SeqNo) {
        let key = self.keys.draw(&mut self.rng);
        let seq_no = match self.rng.below(4) {
            0 => MAX_SEQ_NO,
            1 => 0,
            _ => self.rng.below(self.seq_no as usize + 2) as SeqNo,
        };
        (key, seq_no)
    }
}

fn check_history(seed: u64, keys: Keys) {
    let mut history = History::new(seed, keys);
    let steps = 200 + history.rng.below(400);
    let frozen_at = history.rng.below(steps);
    for step in 0..steps {
        if step == frozen_at && seed.is_multiple_of(2) {
            history.twin.memtable.freeze();
            break;
        }
        history.step();
    }
    history.twin.check_all();
    // What was frozen is still read by cursors of before, while it is merged and after.
    for _ in 0..3 {
        history.walk();
        history.twin.memtable.organize();
    }
    history.twin.check_all();
}

#[test]
fn the_memtable_agrees_with_a_map() {
    for seed in 0..48 {
        for keys in Keys::ALL {
            let outcome = std::panic::catch_unwind(|| check_history(seed, keys));
            assert!(outcome.is_ok(), "seed {seed}, {keys:?} keys");
        }
    }
}

#[test]
fn an_empty_memtable_answers_nothing() {
    let twin = Twin::new(options(0));
    let mut held = twin.cursor();
    twin.check_get(b"", MAX_SEQ_NO);
    for movement in [Move::First, Move::Next, Move::Last, Move::Prev, Move::Seek(vec![], 0)] {
        twin.check_move(&mut held, &movement);
    }
    assert!(!twin.memtable.organize());
    twin.memtable.freeze();
    assert!(!twin.memtable.organize());
    twin.check_all();
}

/// Sequence numbers ascend within a key, and that is all that is asked of them.
#[test]
fn keys_need_not_come_in_the_order_of_their_sequence_numbers() {
    let mut twin = Twin::new(options(1 << 20));
    for round in 0..50 {
        for key in (0..40_u64).rev() {
            let seq_no = 1 + round * 40 + (key * 7) % 40;
            twin.insert(Entry::put(&key.to_be_bytes(), seq_no, b"v"));
        }
    }
    twin.check_all();
    for seq_no in 0..2_002_u64 {
        twin.check_get(&(seq_no % 40).to_be_bytes(), seq_no);
    }
}

/// So many entries that pieces settle, and are merged in the background's stead while cursors made
/// before are still walking.
#[test]
fn a_long_history_is_organized_under_its_cursors() {
    let mut rng = Rng(7);
    let mut twin = Twin::new(options(64 << 20));
    let mut held = Vec::new();
    let mut organized = 0;
    for seq_no in 1..=350_000 {
        // Every other key is new, and the prefix gets shorter now and then.
        let lead = &b"prefix/prefix/"[..14 - (seq_no / 50_000) as usize];
        let key = [lead, &(rng.next() % (2 * seq_no)).to_be_bytes()].concat();
        twin.insert(Entry::put(&key, seq_no, &seq_no.to_le_bytes()));
        if seq_no % 40_000 == 0 {
            let mut cursor = twin.cursor();
            twin.check_move(&mut cursor, &Move::Seek(key, seq_no));
            held.push(cursor);
        }
        if seq_no % 90_000 == 0 {
            organized += usize::from(twin.memtable.organize());
        }
    }
    assert!(organized > 0, "there was something to merge");
    for held in &mut held {
        for step in 0..4_000 {
            let step = if step % 1_000 < 700 { Move::Next } else { Move::Prev };
            twin.check_move(held, &step);
        }
    }
    while twin.memtable.organize() {}
    twin.check_all();
    twin.memtable.freeze();
    assert!(twin.memtable.organize(), "the short pieces are merged as well");
    assert!(!twin.memtable.organize(), "at once");
    twin.check_all();
}
