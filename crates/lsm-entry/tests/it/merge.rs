//! Merging cursors against one flat, sorted list.

use std::cell::RefCell;
use std::convert::Infallible;

use lsm_entry::{Cursor, Direction, Entry, MAX_SEQ_NO, MergingCursor, OwnedEntry, Tag, VecCursor};

use crate::rng::Rng;

/// Keys of every length, few enough that some come again.
fn random_key(rng: &mut Rng) -> Vec<u8> {
    let n = rng.below(60);
    match rng.below(8) {
        0 => vec![n as u8; rng.below(3) as usize],
        1 => vec![0xFF; 1 + n as usize % 4],
        2..5 => format!("tenant/0042/user/{n:08}").into_bytes(),
        5 => format!("tenant/0042/user/{n:08}/more").into_bytes(),
        _ => format!("t{n}").into_bytes(),
    }
}

/// Long keys that part late, now and then in the middle, and some that are nothing like them.
fn tenant_key(rng: &mut Rng) -> Vec<u8> {
    let (tenant, user) = (rng.below(5), rng.below(400));
    match rng.below(40) {
        0 => vec![rng.below(256) as u8; 20],
        1 => format!("tenant/{tenant:04}").into_bytes(),
        _ => format!("tenant/{tenant:04}/department/of/user/{user:08}").into_bytes(),
    }
}

/// Deals up to `entries_max` random entries to up to `sources_max` sources; gives them sorted, too.
fn random_sources(
    rng: &mut Rng,
    sources_max: u64,
    entries_max: u64,
    key: fn(&mut Rng) -> Vec<u8>,
) -> (Vec<VecCursor>, Vec<OwnedEntry>) {
    let count = rng.below(sources_max + 1) as usize;
    let mut sources: Vec<Vec<OwnedEntry>> = vec![Vec::new(); count];
    let mut all = Vec::new();
    // One source gets most of the entries now and then, so that gallops happen.
    let share_of_first = rng.pick(&[1, 2, 3, 50]);
    for seq_no in 1..=rng.below(entries_max) {
        if count == 0 {
            break;
        }
        let tag = if rng.below(4) == 0 { Tag::DELETE } else { Tag::PUT };
        let entry = OwnedEntry { key: key(rng), seq_no, tag, value: vec![seq_no as u8; 3] };
        let source =
            if rng.below(share_of_first) > 0 { 0 } else { rng.below(count as u64) as usize };
        sources[source].push(entry.clone());
        all.push(entry);
    }
    let stretch = rng.pick(&[0, 1, 2, 3, 5, 8, 32]);
    (sources.into_iter().map(|s| VecCursor::new(s).with_stretches(stretch)).collect(), all)
}

/// Moves both cursors alike, at random, and holds every position of one to the other's. Gives how
/// many entries were said to be plain.
fn check_alike(
    merged: &mut dyn Cursor<Error = Infallible>,
    flat: &mut VecCursor,
    steps: u64,
    seed: u64,
    key: fn(&mut Rng) -> Vec<u8>,
) -> usize {
    let mut rng = Rng(seed);
    let mut plain = 0;
    for step in 0..steps {
        let seq_no = rng.pick(&[0, 1, 50, 100, MAX_SEQ_NO]);
        let target = key(&mut rng);
        let choice = rng.below(10);
        let moves = if choice < 4 { 1 } else { 1 + rng.below(40) };
        for _ in 0..moves {
            for cursor in [&mut *flat as &mut dyn Cursor<Error = _>, merged] {
                let Ok(()) = match choice {
                    0 => cursor.seek_first(),
                    1 => cursor.seek_last(),
                    2 => cursor.seek(&target, seq_no),
                    3 => cursor.seek_for_prev(&target, seq_no),
                    4..7 => cursor.next(),
                    _ => cursor.prev(),
                };
            }
            assert_eq!(merged.entry(), flat.entry(), "seed {seed}, step {step}");
        }
        for direction in [Direction::Forward, Direction::Backward] {
            check_stretch(merged, flat, direction);
            let ahead = check_plain(merged, flat, direction, rng.pick(&[50, 150, MAX_SEQ_NO]));
            plain += ahead;
            if ahead > 0 {
                check_plain_entry(merged, flat);
            }
            for _ in 0..rng.below(ahead as u64 + 1) {
                merged.step_plain(direction);
                flat.step_plain(direction);
                assert_eq!(merged.entry(), flat.entry(), "seed {seed}, step {step}, plain");
                check_plain_entry(merged, flat);
            }
        }
    }
    plain
}

/// Where entries are plain, key and value can be had by themselves.
fn check_plain_entry(merged: &dyn Cursor<Error = Infallible>, flat: &VecCursor) {
    assert_eq!(merged.plain_entry(), flat.entry().map(|entry| (entry.key, entry.value)));
}

/// What a cursor tells as a stretch must be just the entries that follow.
fn check_stretch(merged: &dyn Cursor<Error = Infallible>, flat: &VecCursor, direction: Direction) {
    let Some(stretch) = merged.stretch(direction) else { return };
    let mut ahead = flat.clone();
    for _ in 0..stretch.remaining {
        let Ok(()) = match direction {
            Direction::Forward => ahead.next(),
            Direction::Backward => ahead.prev(),
        };
    }
    assert_eq!(ahead.entry().map(|entry| entry.key), Some(stretch.last_key), "{direction:?}");
}

/// What a cursor tells as plain must be so, whatever its sources hold.
fn check_plain(
    merged: &dyn Cursor<Error = Infallible>,
    flat: &VecCursor,
    direction: Direction,
    seq_no: u64,
) -> usize {
    let plain = merged.plain(direction, seq_no);
    let mut ahead = flat.clone();
    let mut step = |key: &mut Option<Vec<u8>>| {
        *key = ahead.entry().map(|entry| entry.key.to_vec());
        let Ok(()) = match direction {
            Direction::Forward => ahead.next(),
            Direction::Backward => ahead.prev(),
        };
        ahead.entry().map(OwnedEntry::from)
    };
    let mut key_before = None;
    for _ in 0..plain {
        let entry = step(&mut key_before).expect("is there");
        assert_eq!(entry.tag, Tag::PUT);
        assert!(entry.seq_no <= seq_no);
        assert_ne!(Some(entry.key), key_before);
    }
    if plain > 0 && direction == Direction::Backward {
        let newer = step(&mut key_before).map(|entry| entry.key);
        assert_ne!(newer, key_before, "a newer version follows");
    }
    plain
}

#[test]
fn a_merge_is_one_sorted_list_in_every_direction() {
    let mut plain = 0;
    for seed in 0..400 {
        let (sources, all) = random_sources(&mut Rng(seed), 6, 200, random_key);
        let mut merged = MergingCursor::new(sources);
        plain += check_alike(&mut merged, &mut VecCursor::new(all), 60, seed, random_key);
    }
    assert!(plain > 100, "{plain} entries were plain");
}

#[test]
fn a_merge_of_many_sources_with_long_prefixes_is_one_sorted_list() {
    for seed in 0..60 {
        let (sources, all) = random_sources(&mut Rng(seed), 33, 3000, tenant_key);
        let mut merged = MergingCursor::new(sources);
        check_alike(&mut merged, &mut VecCursor::new(all), 60, seed, tenant_key);
    }
}

#[test]
fn a_merge_of_merges_is_one_sorted_list() {
    for seed in 0..100 {
        let (sources, all) = random_sources(&mut Rng(seed), 9, 400, random_key);
        let mut groups: [Vec<VecCursor>; 3] = Default::default();
        for (index, source) in sources.into_iter().enumerate() {
            groups[index % 3].push(source);
        }
        let mut merged = MergingCursor::new(groups.map(MergingCursor::new).into());
        check_alike(&mut merged, &mut VecCursor::new(all), 60, seed, random_key);
    }
}

#[test]
fn of_one_key_the_newest_comes_first_whatever_the_source() {
    let entry = |seq_no| vec![OwnedEntry::from(Entry::put(b"key", seq_no, b""))];
    let sources = [2, 9, 4].map(|seq_no| VecCursor::new(entry(seq_no)));
    let mut merged = MergingCursor::new(sources.to_vec());
    let Ok(()) = merged.seek_first();
    let mut seen = Vec::new();
    while let Some(entry) = merged.entry() {
        seen.push(entry.seq_no);
        let Ok(()) = merged.next();
    }
    assert_eq!(seen, [9, 4, 2]);
}

/// A source that fails when it is moved for the n-th time.
struct Failing(VecCursor, usize);

impl Failing {
    fn step(&mut self) -> Result<(), &'static str> {
        self.1 = self.1.checked_sub(1).ok_or("broken")?;
        Ok(())
    }
}

impl Cursor for Failing {
    type Error = &'static str;

    fn seek_first(&mut self) -> Result<(), Self::Error> {
        self.step()?;
        self.0.seek_first().map_err(|never| match never {})
    }

    fn seek_last(&mut self) -> Result<(), Self::Error> {
        self.step()?;
        self.0.seek_last().map_err(|never| match never {})
    }

    fn seek(&mut self, key: &[u8], seq_no: u64) -> Result<(), Self::Error> {
        self.step()?;
        self.0.seek(key, seq_no).map_err(|never| match never {})
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: u64) -> Result<(), Self::Error> {
        self.step()?;
        self.0.seek_for_prev(key, seq_no).map_err(|never| match never {})
    }

    fn next(&mut self) -> Result<(), Self::Error> {
        self.step()?;
        self.0.next().map_err(|never| match never {})
    }

    fn prev(&mut self) -> Result<(), Self::Error> {
        self.step()?;
        self.0.prev().map_err(|never| match never {})
    }

    fn entry(&self) -> Option<Entry<'_>> {
        self.0.entry()
    }
}

/// A source that tells a log of what it is asked.
struct Logged<'a> {
    entries: VecCursor,
    log: &'a RefCell<String>,
}

impl Cursor for Logged<'_> {
    type Error = Infallible;

    fn seek_first(&mut self) -> Result<(), Infallible> {
        self.entries.seek_first()
    }

    fn seek_last(&mut self) -> Result<(), Infallible> {
        self.entries.seek_last()
    }

    fn prepare_seek(&mut self, key: &[u8], seq_no: u64) {
        self.log.borrow_mut().push_str(&format!("prepare {key:?} {seq_no}, "));
    }

    fn seek(&mut self, key: &[u8], seq_no: u64) -> Result<(), Infallible> {
        self.log.borrow_mut().push_str(&format!("seek {key:?} {seq_no}, "));
        self.entries.seek(key, seq_no)
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: u64) -> Result<(), Infallible> {
        self.entries.seek_for_prev(key, seq_no)
    }

    fn next(&mut self) -> Result<(), Infallible> {
        self.entries.next()
    }

    fn prev(&mut self) -> Result<(), Infallible> {
        self.entries.prev()
    }

    fn entry(&self) -> Option<Entry<'_>> {
        self.entries.entry()
    }
}

#[test]
fn every_source_is_prepared_before_one_is_sought() {
    let log = RefCell::new(String::new());
    let source = |_| Logged { entries: VecCursor::new(Vec::new()), log: &log };
    let mut merged = MergingCursor::new((0..2).map(source).collect());
    let Ok(()) = merged.seek(&[7], 9);
    assert_eq!(log.take(), "prepare [7] 9, prepare [7] 9, seek [7] 9, seek [7] 9, ");
    let mut alone = MergingCursor::new(vec![source(0)]);
    let Ok(()) = alone.seek(&[7], 9);
    assert_eq!(log.take(), "seek [7] 9, ", "there is nothing to load beside it");
}

#[test]
fn after_an_error_the_merge_is_at_an_end_until_it_is_sought() {
    for failing_step in 0..6 {
        let entries = (1..9).map(|n| OwnedEntry::from(Entry::put(&[n as u8], n, b"")));
        let (one, other) = entries.partition::<Vec<_>, _>(|entry| entry.seq_no % 2 == 0);
        let sources = vec![
            Failing(VecCursor::new(one), failing_step),
            Failing(VecCursor::new(other), usize::MAX),
        ];
        let mut merged = MergingCursor::new(sources);
        let mut failed = merged.seek_first().is_err();
        while !failed && merged.entry().is_some() {
            failed = merged.next().is_err();
        }
        assert!(failed || failing_step == 5, "{failing_step}");
        assert_eq!(merged.entry(), None);
        assert_eq!(merged.next(), Ok(()), "stays at the end");
    }
}
