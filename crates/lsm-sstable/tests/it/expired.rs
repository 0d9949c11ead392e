//! Cursors of readers who are spared blocks in which everything has expired: they stand where they
//! were sent, and pass over nothing that counts.

use std::ops::Range;

use lsm_entry::{Cursor, MAX_SEQ_NO, OwnedEntry, SeqNo, Tag};
use lsm_sstable::{Compression, TableCursor};

use crate::support::{Disk, Rng, mapped, modes, put, small_blocks};

const TIME_MS: u64 = 1000;

fn put_until(key: impl AsRef<[u8]>, seq_no: SeqNo, expires_at_ms: u64) -> OwnedEntry {
    let mut value = expires_at_ms.to_le_bytes().to_vec();
    value.resize(100, b'v');
    OwnedEntry { tag: Tag::PUT.with_expiry(), ..put(key, seq_no, value) }
}

fn has_expired(entry: &OwnedEntry) -> bool {
    entry.as_entry().expires_at_ms().is_some_and(|at| at <= TIME_MS)
}

/// Versions of a few keys, in stretches of which all entries have expired or most have not.
fn entries_of(rng: &mut Rng) -> Vec<OwnedEntry> {
    let mut entries = Vec::new();
    for number in 0..40 {
        let key = format!("key{number:02}");
        let expires_at_ms = if rng.below(3) > 0 { TIME_MS } else { TIME_MS + 1 };
        for seq_no in (1..=1 + rng.below(6) as SeqNo).rev() {
            entries.push(match rng.below(12) {
                0 => put(&key, seq_no, "lives for ever"),
                _ => put_until(&key, seq_no, expires_at_ms),
            });
        }
    }
    entries
}

/// Where the cursor stands among the entries.
fn place_of(cursor: &TableCursor, entries: &[OwnedEntry]) -> Option<usize> {
    let here = cursor.entry()?;
    entries.iter().position(|entry| entry.as_entry() == here)
}

/// Nothing counts that a movement has passed over: all of it has expired, and hides nothing of what
/// the movement came from or to, which would be read then.
#[track_caller]
fn check_passed(entries: &[OwnedEntry], passed: Range<usize>, name: &str) {
    assert!(entries[passed.clone()].iter().all(has_expired), "{name}: {passed:?} were passed over");
    if let Some(older) = entries.get(passed.end)
        && !passed.is_empty()
    {
        let is_bare = !has_expired(older) && entries[passed.end - 1].key == older.key;
        assert!(!is_bare, "{name}: what hides entry {} was passed over", passed.end);
    }
}

fn check_walk(seed: u64) {
    let mut rng = Rng(seed);
    let entries = entries_of(&mut rng);
    let disk = Disk::write(&entries, small_blocks(Compression::Lz4));
    for mode in modes() {
        let name = format!("seed {seed}, {mode:?}");
        let table = disk.open(mode).expect("opens");
        let mut cursor = table.cursor().passing_over_expired(Some(TIME_MS));
        for _ in 0..200 {
            let from = place_of(&cursor, &entries);
            let key = format!("key{:02}", rng.below(41));
            let seq_no = [0, 1, 3, MAX_SEQ_NO][rng.below(4)];
            let target = put(&key, seq_no, "");
            let before = |entry: &OwnedEntry| entry.as_entry().compare(&target.as_entry()).is_lt();
            let lower_bound = entries.partition_point(before);
            match (rng.below(6), from) {
                (0, _) => {
                    cursor.seek(target.key.as_slice(), seq_no).expect("reads");
                    let to = place_of(&cursor, &entries).unwrap_or(entries.len());
                    assert!(to >= lower_bound, "{name}: {to} is before {key} at {seq_no}");
                    check_passed(&entries, lower_bound..to, &name);
                }
                (1 | 2, _) => {
                    cursor.seek_for_prev(target.key.as_slice(), seq_no).expect("reads");
                    let is_there = entries
                        .get(lower_bound)
                        .is_some_and(|entry| (&entry.key, entry.seq_no) == (&target.key, seq_no));
                    let end = lower_bound + usize::from(is_there);
                    let start = place_of(&cursor, &entries).map_or(0, |to| to + 1);
                    assert!(start <= end, "{name}: {start} is behind {key} at {seq_no}");
                    assert!(entries[start..end].iter().all(has_expired), "{name}: {start}..{end}");
                }
                (3, Some(from)) => {
                    cursor.next().expect("reads");
                    let to = place_of(&cursor, &entries).unwrap_or(entries.len());
                    assert!(to > from, "{name}: next went from {from} to {to}");
                    check_passed(&entries, from + 1..to, &name);
                }
                (_, Some(from)) => {
                    cursor.prev().expect("reads");
                    let start = place_of(&cursor, &entries).map_or(0, |to| to + 1);
                    assert!(start <= from, "{name}: prev went from {from} to before {start}");
                    check_passed(&entries, start..from, &name);
                }
                (_, None) => {}
            }
        }
    }
}

#[test]
fn whatever_has_expired_a_cursor_stands_where_it_was_sent_and_passes_over_nothing_that_counts() {
    for seed in 0..200 {
        check_walk(seed);
    }
}

#[test]
fn a_seek_for_the_entry_before_does_not_stop_behind_it_in_a_block_whose_last_key_goes_on() {
    // Two to a block. The third block is read for the version that it hides of `f`, which lives; going
    // back from there the second one is read, too, for its last key goes on in the third.
    let lives = |key: &str, seq_no| put(key, seq_no, [b'v'; 100]);
    let entries = [
        lives("a", 1),
        lives("b", 1),
        put_until("d", 9, TIME_MS),
        put_until("e", 9, TIME_MS),
        put_until("e", 8, TIME_MS),
        put_until("f", 9, TIME_MS),
        lives("f", 8),
        lives("g", 1),
    ];
    let disk = Disk::write(&entries, small_blocks(Compression::None));
    let table = disk.open(mapped()).expect("opens");
    assert!(table.blocks().all(|block| block.entries == 2));
    let mut cursor = table.cursor().passing_over_expired(Some(TIME_MS));
    cursor.seek_for_prev(b"c", 0).expect("reads");
    assert_eq!(cursor.entry(), Some(entries[1].as_entry()));
}
