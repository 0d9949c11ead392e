//! Parts of the store by themselves, without a database around them.

use lsm_bloom::{Filter, FilterBuilder};
use lsm_entry::{Cursor, Entry, MergingCursor, OwnedEntry, VecCursor, key_hash};
use lsm_io::{Fs, Identity, OpenMode, SimFs};
use lsm_sstable::{TableInfo, TableOptions, TableWriter};

use crate::{Outcome, Repetitions, count, keys};

const ENTRIES: u64 = 20_000;
const VALUE: [u8; 100] = [b'v'; 100];
const SOURCES: usize = 4;
const BITS_PER_KEY: f32 = 10.0;

/// The next entry of several sources, among which entries lie at random.
pub(crate) fn merge() -> Outcome<Repetitions> {
    let keys = keys(0, ENTRIES);
    // The keys are in random order, so each of these is spread over all of them.
    let sources = keys.chunks(keys.len() / SOURCES).map(|part| {
        let entries = part.iter().map(|key| OwnedEntry::from(Entry::put(key, 1, &VALUE)));
        VecCursor::new(entries.collect())
    });
    let mut merged = MergingCursor::new(sources.collect());
    let Ok(()) = merged.seek_first();
    count(ENTRIES, || {
        let mut found = 0;
        while let Some(entry) = merged.entry() {
            found += u64::from(entry.key.len() < entry.value.len());
            let Ok(()) = merged.next();
        }
        Ok(found)
    })
}

/// An entry written to a table, with its part of the blocks, the index and the filter.
pub(crate) fn block_build() -> Outcome<Repetitions> {
    let mut keys = keys(0, ENTRIES);
    keys.sort_unstable();
    let file = SimFs::new(0).open("built.sst".as_ref(), OpenMode::CreateNew)?;
    let (identity, info) = (Identity::default(), TableInfo::default());
    count(ENTRIES, || {
        let mut writer =
            TableWriter::new(file.clone(), identity, TableOptions::default(), info.clone());
        for key in &keys {
            writer.add(Entry::put(key, 1, &VALUE), key_hash(key))?;
        }
        let entries = writer.entries();
        writer.finish()?;
        Ok(entries)
    })
}

/// The question whether a filter has a key, for keys of which it has every other.
pub(crate) fn filter_probe() -> Outcome<Repetitions> {
    let hashes: Vec<u64> = keys(0, ENTRIES).iter().map(|key| key_hash(key)).collect();
    let mut builder = FilterBuilder::new(BITS_PER_KEY);
    hashes.iter().step_by(2).for_each(|&hash| builder.add(hash));
    let bytes = builder.finish();
    let filter = Filter::parse(&bytes)?;
    count(ENTRIES, || {
        let perhaps = hashes.iter().filter(|&&hash| filter.may_contain(hash)).count() as u64;
        // It never denies what it has, and denies nearly all of what it has not.
        let is_right = (ENTRIES / 2..ENTRIES / 2 + ENTRIES / 50).contains(&perhaps);
        Ok(if is_right { ENTRIES } else { perhaps })
    })
}
