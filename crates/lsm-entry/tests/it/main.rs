//! Merging cursors against one flat, sorted list.

use lsm_entry::{Cursor, Entry, MAX_SEQ_NO, MergingCursor, OwnedEntry, Tag, VecCursor};

/// A small generator of random numbers, seeded.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }
}

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

fn random_sources(rng: &mut Rng) -> (Vec<VecCursor>, Vec<OwnedEntry>) {
    let count = rng.below(7) as usize;
    let mut sources: Vec<Vec<OwnedEntry>> = vec![Vec::new(); count];
    let mut all = Vec::new();
    for seq_no in 1..=rng.below(200) {
        if count == 0 {
            break;
        }
        let tag = if rng.below(4) == 0 { Tag::DELETE } else { Tag::PUT };
        let entry = OwnedEntry { key: random_key(rng), seq_no, tag, value: vec![seq_no as u8; 3] };
        // One source gets most, so that gallops happen.
        let source = if rng.below(3) > 0 { 0 } else { rng.below(count as u64) as usize };
        sources[source].push(entry.clone());
        all.push(entry);
    }
    all.sort_by(|one, other| one.as_entry().compare(&other.as_entry()));
    let stretch = rng.below(9) as usize;
    (sources.into_iter().map(|s| VecCursor::new(s).with_stretches(stretch)).collect(), all)
}

#[test]
fn a_merge_is_one_sorted_list_in_every_direction() {
    for seed in 0..600 {
        let mut rng = Rng(seed);
        let (sources, all) = random_sources(&mut rng);
        let mut flat = VecCursor::new(all);
        let mut merged = MergingCursor::new(sources);
        for step in 0..400 {
            let seq_no = [0, rng.below(200), MAX_SEQ_NO][rng.below(3) as usize];
            let key = random_key(&mut rng);
            let run = 1 + rng.below(20);
            for cursor in [&mut flat as &mut dyn Cursor<Error = _>, &mut merged] {
                let mut choice = Rng(seed * 1000 + step);
                let moved = match choice.below(10) {
                    0 => cursor.seek_first(),
                    1 => cursor.seek_last(),
                    2 => cursor.seek(&key, seq_no),
                    3 => cursor.seek_for_prev(&key, seq_no),
                    4..7 => (0..run).try_for_each(|_| cursor.next()),
                    _ => (0..run).try_for_each(|_| cursor.prev()),
                };
                let Ok(()) = moved;
            }
            assert_eq!(merged.entry(), flat.entry(), "seed {seed}, step {step}");
        }
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
