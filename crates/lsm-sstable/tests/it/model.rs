//! Random tables against a sorted vector: point reads at any sequence number, cursors both ways.

use lsm_entry::{
    Cursor, Direction, Entry, MAX_SEQ_NO, OwnedEntry, SeqNo, Tag, VecCursor, key_hash,
};
use lsm_io::{DirectReader, Fs, OpenMode};
use lsm_sstable::{Compression, Lent, TableCursor};

use crate::support::{Disk, PATH, Rng, compressions, mapped, modes, put, small_blocks};

/// Shapes of keys that have tripped one index or another.
#[derive(Clone, Copy, Debug)]
enum Keys {
    /// Eight bytes, random: digests tell all.
    Random,
    /// Long common starts that digests of the first bytes cannot see behind.
    Tenants,
    /// Few different bytes and all lengths from zero on: one key is often the start of another.
    Short,
    /// A handful of keys with hundreds of versions: they fill block after block.
    Few,
}

impl Keys {
    const ALL: [Self; 4] = [Self::Random, Self::Tenants, Self::Short, Self::Few];

    fn draw(self, rng: &mut Rng) -> Vec<u8> {
        match self {
            Self::Random => rng.next().to_be_bytes().to_vec(),
            Self::Tenants => {
                let tenant = rng.below(3);
                format!("tenant/{tenant:04}/user/{:08}/name", rng.below(500)).into()
            }
            Self::Short => (0..rng.below(12)).map(|_| [0, 1, 0xFF][rng.below(3)]).collect(),
            Self::Few => vec![b'k', rng.below(4) as u8],
        }
    }
}

fn entries_of(keys: Keys, count: usize, rng: &mut Rng) -> Vec<OwnedEntry> {
    let spread = [1, 2, 1 << 20, 1 << 40][rng.below(4)];
    let is_fixed = rng.below(3) == 0;
    let mut entries: Vec<OwnedEntry> = (0..count)
        .map(|n| {
            let length = if is_fixed { 9 } else { [0, 3, 20, 60, 400][rng.below(5)] };
            let mut value = vec![b'v'; length];
            value.iter_mut().take(length / 2).for_each(|byte| *byte = rng.next() as u8);
            let kinds = [Tag::PUT, Tag::PUT, Tag::DELETE, Tag::MERGE, Tag::PUT.with_expiry()];
            let tag = if is_fixed { Tag::PUT } else { kinds[rng.below(5)] };
            if tag.is_tombstone() {
                value.clear();
            }
            OwnedEntry { key: keys.draw(rng), seq_no: n as SeqNo * spread, tag, value }
        })
        .collect();
    entries.sort_by(|one, other| one.as_entry().compare(&other.as_entry()));
    entries.dedup_by(|one, other| (&one.key, one.seq_no) == (&other.key, other.seq_no));
    entries
}

/// A key that is there, or nearly.
fn target(entries: &[OwnedEntry], keys: Keys, rng: &mut Rng) -> (Vec<u8>, SeqNo) {
    let Some(entry) = entries.get(rng.below(entries.len())) else { return (Vec::new(), 0) };
    let mut key = entry.key.clone();
    match rng.below(6) {
        0 => key = keys.draw(rng),
        1 => key.push(rng.below(2) as u8),
        2 => drop(key.pop()),
        _ => {}
    }
    let seq_nos = [0, entry.seq_no, entry.seq_no + 1, entry.seq_no.saturating_sub(1), MAX_SEQ_NO];
    (key, seq_nos[rng.below(5)])
}

fn expected(entries: &[OwnedEntry], key: &[u8], seq_no: SeqNo) -> Option<OwnedEntry> {
    let of_key = entries.iter().filter(|entry| entry.key == key);
    of_key
        .max_by_key(|entry| (entry.seq_no <= seq_no, entry.seq_no.min(seq_no)))
        .filter(|entry| entry.seq_no <= seq_no)
        .cloned()
}

/// One random movement of both cursors, told in words.
fn step(
    cursor: &mut TableCursor,
    model: &mut VecCursor,
    entries: &[OwnedEntry],
    keys: Keys,
    rng: &mut Rng,
) -> String {
    let (key, seq_no) = target(entries, keys, rng);
    let run = |outcome: lsm_io::Result<()>| outcome.expect("an undamaged table");
    let choice = rng.below(12);
    match choice {
        2 => cursor.prepare_seek(&key, seq_no),
        // What was prepared may be left.
        0 | 1 | 4 => {
            let (elsewhere, seq_no) = target(entries, keys, rng);
            cursor.prepare_seek(&elsewhere, seq_no);
        }
        _ => {}
    }
    let Ok(()) = match choice {
        0 => {
            run(cursor.seek_first());
            model.seek_first()
        }
        1 => {
            run(cursor.seek_last());
            model.seek_last()
        }
        2 | 3 => {
            run(cursor.seek(&key, seq_no));
            model.seek(&key, seq_no)
        }
        4 | 5 => {
            run(cursor.seek_for_prev(&key, seq_no));
            model.seek_for_prev(&key, seq_no)
        }
        6..=8 => {
            run(cursor.next());
            model.next()
        }
        _ => {
            run(cursor.prev());
            model.prev()
        }
    };
    format!("near {key:?} at {seq_no}")
}

/// What a stretch promises, walked and checked.
fn check_stretch(cursor: &mut TableCursor, direction: Direction) {
    let Some(stretch) = cursor.stretch(direction) else { return };
    let (last_key, remaining) = (stretch.last_key.to_vec(), stretch.remaining);
    for _ in 0..remaining {
        match direction {
            Direction::Forward => cursor.next().expect("the rest of a block"),
            Direction::Backward => cursor.prev().expect("the rest of a block"),
        }
    }
    assert_eq!(cursor.entry().map(|entry| entry.key.to_vec()), Some(last_key));
}

/// Steps up to a key are those within the stretch that stay before it.
fn check_steps_before(cursor: &TableCursor, model: &VecCursor, key: &[u8], direction: Direction) {
    let remaining = cursor.stretch(direction).map_or(0, |stretch| stretch.remaining);
    let mut ahead = model.clone();
    let comes_before = |_: &usize| {
        let Ok(()) = match direction {
            Direction::Forward => ahead.next(),
            Direction::Backward => ahead.prev(),
        };
        ahead.key().is_some_and(|there| match direction {
            Direction::Forward => there < key,
            Direction::Backward => there > key,
        })
    };
    let expected = (0..remaining).take_while(comes_before).count();
    assert_eq!(cursor.steps_before(key, direction), expected, "to {key:?}, {direction:?}");
}

fn check_table(seed: u64, keys: Keys, count: usize) {
    let mut rng = Rng(seed);
    let entries = entries_of(keys, count, &mut rng);
    for compression in compressions() {
        let disk = Disk::write(&entries, small_blocks(compression));
        for mode in modes() {
            let name = format!("seed {seed}, {keys:?}, {compression}, {mode:?}");
            let table = disk.open(mode).expect("opens");
            let report = table.verify().expect("verifies");
            assert_eq!(report.entries, entries.len() as u64, "{name}");
            assert_eq!(report.checksum, disk.summary.checksum, "{name}");

            for _ in 0..200 {
                let (key, seq_no) = target(&entries, keys, &mut rng);
                let (hash, expected) = (key_hash(&key), expected(&entries, &key, seq_no));
                let expected = expected.as_ref().map(OwnedEntry::as_entry);
                let found = table.get(&key, hash, seq_no).expect("reads");
                assert_eq!(found.as_ref().map(|found| found.entry()), expected, "{name}");
                let lent = table.get_lent(&key, hash, seq_no).expect("reads");
                assert_eq!(lent.as_ref().map(Lent::entry), expected, "{name}");
                if let Some(Lent::InPlace(entry)) = lent {
                    let pinned = table.pin_lent(entry.value).expect("a part of the file");
                    assert_eq!(&*pinned, entry.value, "{name}");
                }
                let pinned = found.map(|found| found.pin_value());
                assert_eq!(pinned.as_deref(), expected.map(|entry| entry.value), "{name}");
                assert!(expected.is_none() || table.may_contain(hash), "{name}");
            }

            // Of two cursors one reads for itself, past the cache.
            let file = disk.fs.open_direct(PATH.as_ref(), OpenMode::Read).expect("opens");
            let reader = DirectReader::new(file).expect("made");
            let (cursor, mut model) = (table.cursor(), VecCursor::new(entries.clone()));
            let mut cursor = if rng.below(2) == 0 { cursor } else { cursor.reading_by(reader) };
            assert_eq!(cursor.entry(), None, "a cursor starts at an end");
            for number in 0..300 {
                let what = step(&mut cursor, &mut model, &entries, keys, &mut rng);
                assert_eq!(cursor.entry(), model.entry(), "{name}, step {number} {what}");
                let (key, _) = target(&entries, keys, &mut rng);
                for direction in [Direction::Forward, Direction::Backward] {
                    check_steps_before(&cursor, &model, &key, direction);
                }
            }
            for direction in [Direction::Forward, Direction::Backward] {
                let (key, seq_no) = target(&entries, keys, &mut rng);
                cursor.seek(&key, seq_no).expect("seeks");
                check_stretch(&mut cursor, direction);
            }
        }
    }
}

#[test]
fn entries_of_a_table_that_are_said_to_be_plain_are() {
    let mut plain = 0;
    for (keys, seed) in Keys::ALL.into_iter().zip(40..) {
        let mut rng = Rng(seed);
        let mut entries = entries_of(keys, 400, &mut rng);
        // Long stretches of puts without versions, as most tables hold.
        entries.extend((0..400).map(|n| put(format!("zz{n:04}"), 77, "value")));
        entries.sort_by(|one, other| one.as_entry().compare(&other.as_entry()));
        let disk = Disk::write(&entries, small_blocks(Compression::None));
        let table = disk.open(mapped()).expect("opens");
        let seq_no_max = table.properties().seq_no_max;
        let mut cursor = table.cursor();
        cursor.seek_first().expect("reads");
        for here in 0..entries.len() {
            let is_plain = |at: usize| entries[at].tag == Tag::PUT;
            let begins_key = |at: usize| at == 0 || entries[at - 1].key != entries[at].key;
            let forward = cursor.plain(Direction::Forward, seq_no_max);
            assert!((here + 1..=here + forward).all(|at| is_plain(at) && begins_key(at)));
            let backward = cursor.plain(Direction::Backward, seq_no_max);
            let all = here - backward..=if backward > 0 { here } else { 0 };
            assert!(backward == 0 || all.into_iter().all(|at| is_plain(at) && begins_key(at)));
            assert_eq!(cursor.plain(Direction::Forward, seq_no_max - 1), 0, "some are not seen");
            plain += forward + backward;
            let mut walks = |direction, at: &mut dyn Iterator<Item = usize>| {
                for at in at {
                    cursor.step_plain(direction);
                    let entry = entries[at].as_entry();
                    assert_eq!(cursor.entry(), Some(entry), "{direction:?} {at}");
                    assert_eq!(cursor.plain_entry(), Some((entry.key, entry.value)));
                }
                let here = entries[here].as_entry();
                cursor.seek(here.key, here.seq_no).expect("reads");
            };
            walks(Direction::Forward, &mut (here + 1..=here + forward));
            walks(Direction::Backward, &mut (here - backward..here).rev());
            cursor.next().expect("reads");
        }
    }
    assert!(plain > 1000, "{plain} entries were plain");
}

#[test]
fn a_table_agrees_with_a_sorted_vector() {
    for seed in 0..6 {
        for keys in Keys::ALL {
            check_table(seed, keys, 400);
        }
    }
    check_table(100, Keys::Random, 0);
    check_table(101, Keys::Random, 1);
    check_table(102, Keys::Short, 2);
    check_table(103, Keys::Random, 4000);
}

#[test]
fn a_scan_meets_every_entry_once_both_ways() {
    let mut rng = Rng(9);
    let entries = entries_of(Keys::Tenants, 2000, &mut rng);
    for compression in compressions() {
        let disk = Disk::write(&entries, small_blocks(compression));
        for mode in modes() {
            let mut cursor = disk.open(mode).expect("opens").cursor();
            let mut seen: Vec<OwnedEntry> = Vec::new();
            cursor.seek_first().expect("reads");
            while let Some(entry) = cursor.entry() {
                seen.push(entry.into());
                cursor.next().expect("reads");
            }
            assert_eq!(seen, entries);
            seen.clear();
            cursor.seek_last().expect("reads");
            while let Some(entry) = cursor.entry() {
                seen.push(entry.into());
                cursor.prev().expect("reads");
            }
            seen.reverse();
            assert_eq!(seen, entries);
        }
    }
}

#[test]
fn threads_share_a_table() {
    let mut rng = Rng(10);
    let entries = entries_of(Keys::Random, 1000, &mut rng);
    for compression in compressions() {
        let disk = Disk::write(&entries, small_blocks(compression));
        for mode in modes() {
            let table = disk.open(mode).expect("opens");
            std::thread::scope(|scope| {
                for start in 0..4 {
                    let (table, entries) = (&table, &entries);
                    scope.spawn(move || {
                        for entry in entries.iter().cycle().skip(start * 250).take(1000) {
                            let found = table.get(&entry.key, key_hash(&entry.key), entry.seq_no);
                            let found = found.expect("reads").expect("is there");
                            assert_eq!(found.entry(), entry.as_entry());
                        }
                    });
                }
            });
        }
    }
}

#[test]
fn a_mapped_get_reads_nothing_and_a_cached_block_is_read_once() {
    let entries: Vec<OwnedEntry> =
        (0..100_u32).map(|n| Entry::put(&n.to_be_bytes(), 1, &[7; 20]).into()).collect();
    let disk = Disk::write(&entries, small_blocks(lsm_sstable::Compression::None));
    let [mapped, cached, ..] = modes();
    for (mode, is_mapped) in [(mapped, true), (cached, false)] {
        let table = disk.open(mode).expect("opens");
        disk.fs.reset_counters();
        for _ in 0..3 {
            for entry in &entries {
                let hash = key_hash(&entry.key);
                assert!(table.get(&entry.key, hash, MAX_SEQ_NO).expect("reads").is_some());
            }
        }
        let stored: u64 = table.blocks().map(|block| block.stored_bytes + 8).sum();
        assert_eq!(disk.fs.bytes_read(), if is_mapped { 0 } else { stored });
    }
    assert_eq!(disk.fs.files().len(), 1);
    assert!(disk.fs.exists(crate::support::PATH.as_ref()).expect("asks"));
}
