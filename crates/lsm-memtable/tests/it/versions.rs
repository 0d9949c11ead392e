//! Keys with more versions than a point read walks over.

use lsm_entry::{Entry, MAX_SEQ_NO, SeqNo};
use lsm_memtable::fuzz::{Move, Twin};

use crate::support::options;

const HOT_KEY: &[u8] = b"counters/hot";
/// Every other write is to the hot key.
const WRITES: SeqNo = 10_000;

/// A hot key among others that are written once.
fn write_hot_key() -> Twin {
    let mut twin = Twin::new(options(4 << 20));
    for seq_no in 1..=WRITES {
        let neighbour = format!("counters/{seq_no}");
        let key = if seq_no % 2 == 0 { HOT_KEY } else { neighbour.as_bytes() };
        twin.insert(Entry::put(key, seq_no, &seq_no.to_le_bytes()));
    }
    twin
}

fn check_every_version(twin: &Twin) {
    for seq_no in 0..=WRITES + 1 {
        twin.check_get(HOT_KEY, seq_no);
    }
    twin.check_get(HOT_KEY, MAX_SEQ_NO);
    // Its neighbours in the order are not taken for it.
    twin.check_get(b"counters/ho", 5);
    twin.check_get(b"counters/hot ", 5);
}

#[test]
fn a_hot_key_reads_the_same_at_every_moment() {
    let twin = write_hot_key();
    check_every_version(&twin);
    twin.memtable.freeze();
    check_every_version(&twin);
    while twin.memtable.organize() {}
    check_every_version(&twin);
}

#[test]
fn a_seek_lands_among_the_versions_of_a_hot_key() {
    let twin = write_hot_key();
    let mut held = twin.cursor();
    for seq_no in (0..WRITES).step_by(97) {
        for seek in [Move::Seek, Move::SeekForPrev] {
            twin.check_move(&mut held, &seek(HOT_KEY.to_vec(), seq_no));
            twin.check_move(&mut held, &Move::Prev);
            twin.check_move(&mut held, &Move::Next);
            twin.check_move(&mut held, &Move::Next);
        }
    }
}
