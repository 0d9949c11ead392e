//! What reads answer, held against the model.

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use lsm_engine::{Db, Env, Iter, Key, Keyspace, Reads, Scan, Value};
use lsm_workload::Rng;

use crate::data::{KEYS, KEYSPACES, is_value, key_at, key_bytes, rank, rank_of, value_bytes};
use crate::difference::{first_difference, show};
use crate::keyspaces::{number_of, open_keyspace};
use crate::model::{Found, FoundMap, Model, Values, values_at};
use crate::op::Op;
use crate::setup::Choice;
use crate::sieve::unmarked;
use crate::world::{Stop, World};

/// What a read yields: a key and its value, if there is one.
type Entry<'a> = Option<(&'a [u8], &'a [u8])>;

/// Everything that reads answered, in short.
#[derive(Debug, Default)]
pub(crate) struct Transcript(RefCell<DefaultHasher>);

impl Transcript {
    fn note(&self, found: Entry<'_>) {
        found.hash(&mut *self.0.borrow_mut());
    }

    pub(crate) fn digest(&self) -> u64 {
        self.0.borrow().finish()
    }
}

impl World {
    /// Carries out a reading op.
    pub(crate) fn answer(&mut self, op: &Op, model: &mut Model) -> Result<(), Stop> {
        match *op {
            Op::Get { keyspace, key } => {
                let Some(handle) = self.keyspace(keyspace) else { return Ok(()) };
                let expected = model.values(keyspace)[rank(key)];
                let key = key_bytes(key);
                let found = self.told(handle.get(key))?;
                self.check_value(key, expected, found.as_deref())?;
                let contains = self.told(handle.contains_key(key))?;
                if contains != expected.is_some() {
                    return Err(Stop::Wrong(format!("contains_key says {contains}")));
                }
                Ok(())
            }
            Op::MultiGet { keyspace, ref keys } => {
                let Some(handle) = self.keyspace(keyspace) else { return Ok(()) };
                let map = model.values(keyspace);
                let bytes: Vec<_> = keys.iter().map(|key| key_bytes(*key)).collect();
                let found = self.told(handle.multi_get(&bytes))?;
                let mut pairs = keys.iter().zip(&found);
                pairs.try_for_each(|(key, found)| {
                    self.check_value(key_bytes(*key), map[rank(*key)], found.as_deref())
                })
            }
            Op::Scan { keyspace, from, to, reverse, both } => {
                let Some(handle) = self.keyspace(keyspace) else { return Ok(()) };
                let map = model.values(keyspace);
                self.scan(
                    handle,
                    &map,
                    rank(from).min(rank(to)),
                    rank(from).max(rank(to)),
                    reverse,
                    both,
                )
            }
            Op::Walk { keyspace, seed } => {
                let Some(handle) = self.keyspace(keyspace) else { return Ok(()) };
                self.walk(handle, &model.values(keyspace), seed)
            }
            Op::Advance { scan, count } => self.advance(usize::from(scan), count, model),
            Op::ReadSnapshot(index) => self.read_snapshot(usize::from(index), model),
            _ => Ok(()),
        }
    }

    pub(crate) fn check_value(
        &self,
        key: &[u8],
        expected: Option<u32>,
        found: Option<&[u8]>,
    ) -> Result<(), Stop> {
        if let Some(transcript) = &self.transcript {
            transcript.note(found.map(|value| (key, unmarked(value))));
        }
        let is_right = match (expected, found) {
            (None, None) => true,
            (Some(expected), Some(found)) => is_value(expected, found),
            _ => false,
        };
        if is_right {
            return Ok(());
        }
        Err(Stop::Wrong(format!(
            "key \"{}\": expected {}, found {}",
            key.escape_ascii(),
            show(expected.map(value_bytes).as_deref()),
            show(found)
        )))
    }

    pub(crate) fn check_entry(
        &self,
        expected: Option<(usize, u32)>,
        found: Entry<'_>,
    ) -> Result<(), Stop> {
        let keys = (expected.map(|(rank, _)| key_at(rank)), found.map(|(key, _)| key));
        match keys {
            (None, None) => {
                if let Some(transcript) = &self.transcript {
                    transcript.note(None);
                }
                Ok(())
            }
            (Some(expected_key), Some(found_key)) if expected_key == found_key => self.check_value(
                found_key,
                expected.map(|(_, value)| value),
                found.map(|(_, value)| value),
            ),
            (expected, found) => {
                Err(Stop::Wrong(format!("expected key {}, found {}", show(expected), show(found))))
            }
        }
    }

    fn scan(
        &self,
        keyspace: &Keyspace,
        map: &Values,
        from: usize,
        to: usize,
        reverse: bool,
        both: bool,
    ) -> Result<(), Stop> {
        let places = map[from..to].iter().enumerate();
        let mut expected = places.filter_map(|(place, value)| Some((from + place, (*value)?)));
        let mut found = keyspace.scan(Scan::range(key_at(from)..key_at(to)));
        let mut from_back = reverse;
        loop {
            let (expected, found) = if from_back {
                (expected.next_back(), found.next_back())
            } else {
                (expected.next(), found.next())
            };
            let found = self.told(found.transpose())?;
            let found = found.as_ref().map(|(key, value)| (&key[..], &value[..]));
            self.check_entry(expected, found)?;
            if expected.is_none() {
                return Ok(());
            }
            from_back ^= both;
        }
    }

    fn walk(&self, keyspace: &Keyspace, map: &Values, seed: u32) -> Result<(), Stop> {
        let mut rng = Rng::new(u64::from(seed));
        let mut cursor = keyspace.cursor();
        let mut at: Option<usize> = None;
        let up = |from: usize| (from..map.len()).find(|rank| map[*rank].is_some());
        let down = |below: usize| (0..below).rev().find(|rank| map[*rank].is_some());
        for _ in 0..24 {
            let key = rng.below(u64::from(KEYS)) as u16;
            match rng.below(8) {
                0 => {
                    self.told(cursor.seek(key_bytes(key)))?;
                    at = up(rank(key));
                }
                1 => {
                    self.told(cursor.seek_for_prev(key_bytes(key)))?;
                    at = down(rank(key) + 1);
                }
                2 if rng.chance(0.3) => {
                    self.told(cursor.seek_first())?;
                    at = up(0);
                }
                2 if rng.chance(0.5) => {
                    self.told(cursor.seek_last())?;
                    at = down(map.len());
                }
                2..=5 => {
                    self.told(cursor.next())?;
                    at = at.and_then(|rank| up(rank + 1));
                }
                _ => {
                    self.told(cursor.prev())?;
                    at = at.and_then(down);
                }
            }
            self.check_entry(at.and_then(|rank| Some((rank, map[rank]?))), cursor.entry())?;
        }
        Ok(())
    }

    /// Takes the first entry of a scan, which ends with its last one.
    pub(crate) fn advance_front(&mut self, scan: usize, model: &mut Model) -> Result<(), Stop> {
        let expected = model.scans[scan].pop_front();
        let found = self.scans[scan].next();
        self.advanced(scan, expected, found, model)
    }

    fn advance_back(&mut self, scan: usize, model: &mut Model) -> Result<(), Stop> {
        let expected = model.scans[scan].pop_back();
        let found = self.scans[scan].next_back();
        self.advanced(scan, expected, found, model)
    }

    fn advanced(
        &mut self,
        scan: usize,
        expected: Option<(usize, u32)>,
        found: Option<lsm_engine::Result<(Key, Value)>>,
        model: &mut Model,
    ) -> Result<(), Stop> {
        let found = self.told(found.transpose())?;
        let found = found.as_ref().map(|(key, value)| (&key[..], &value[..]));
        self.check_entry(expected, found)?;
        if expected.is_none() {
            self.scans.remove(scan);
            model.scans.remove(scan);
        }
        Ok(())
    }

    fn advance(&mut self, scan: usize, count: u8, model: &mut Model) -> Result<(), Stop> {
        let scans = self.scans.len();
        for _ in 0..count {
            if scan < self.scans.len() && self.scans.len() == scans {
                self.advance_front(scan, model)?;
            }
            if scan < self.scans.len() && self.scans.len() == scans {
                self.advance_back(scan, model)?;
            }
        }
        Ok(())
    }

    fn read_snapshot(&self, index: usize, model: &Model) -> Result<(), Stop> {
        let (Some(snapshot), Some(moment)) =
            (self.snapshots.get(index), model.snapshots.get(index))
        else {
            return Ok(());
        };
        let nothing = vec![None; usize::from(KEYS)];
        for number in 0..KEYSPACES {
            let Some(handle) = self.keyspace(number) else { continue };
            // A keyspace created since then has nothing to show.
            let is_same = moment.lives[usize::from(number)] == model.life(number);
            if is_same && model.gone.may_lack_oldest(number) {
                let found = self.map_from(snapshot.within(handle).iter())?;
                model.check_lacking_oldest(number, moment, &found).map_err(Stop::Wrong)?;
                continue;
            }
            let then = || values_at(&moment.state[usize::from(number)], moment.time_ms);
            let map = if is_same { then() } else { nothing.clone() };
            self.check_all(&map, snapshot.within(handle).iter())?;
        }
        Ok(())
    }

    fn check_all(&self, map: &Values, mut found: Iter) -> Result<(), Stop> {
        let mut expected = map.iter().enumerate().filter_map(|(rank, it)| Some((rank, (*it)?)));
        loop {
            let found = self.told(found.next().transpose())?;
            let expected = expected.next();
            let found = found.as_ref().map(|(key, value)| (&key[..], &value[..]));
            self.check_entry(expected, found)?;
            if expected.is_none() {
                return Ok(());
            }
        }
    }

    // --- whole databases ---

    /// Holds the whole contents against the model's.
    ///
    /// # Errors
    /// How they differ.
    pub fn check(&self, model: &Model) -> Result<(), Stop> {
        let found = self.contents()?;
        if found.catalog != model.catalog {
            let expected = &model.catalog;
            return Err(Stop::Wrong(format!("keyspaces {:?}, not {expected:?}", found.catalog)));
        }
        first_difference(&model.state, &found).map_or(Ok(()), |wrong| Err(Stop::Wrong(wrong)))
    }

    pub(crate) fn contents(&self) -> Result<Found, Stop> {
        self.contents_of(self.db())
    }

    /// All that a database holds.
    pub(crate) fn contents_of(&self, db: &Db) -> Result<Found, Stop> {
        let mut found = Found {
            maps: vec![vec![None; usize::from(KEYS)]; usize::from(KEYSPACES)],
            catalog: vec![None; usize::from(KEYSPACES)],
            time_ms: db.database_time_ms(),
        };
        for name in db.keyspaces() {
            let number = usize::from(number_of(&name)?);
            let keyspace = self.told(open_keyspace(db, &name))?;
            let options = keyspace.options();
            let choice = Choice::of(&options);
            let choice = choice.ok_or_else(|| Stop::Wrong(format!("{name} has {options:?}")))?;
            found.catalog[number] = Some(choice);
            found.maps[number] = self.map_of(&keyspace)?;
        }
        Ok(found)
    }

    /// All that a keyspace holds.
    pub(crate) fn map_of(&self, keyspace: &Keyspace) -> Result<FoundMap, Stop> {
        self.map_from(keyspace.iter())
    }

    fn map_from(&self, entries: Iter) -> Result<FoundMap, Stop> {
        let mut map = vec![None; usize::from(KEYS)];
        for entry in entries {
            let (key, value) = self.told(entry)?;
            let rank = rank_of(&key)
                .ok_or_else(|| Stop::Wrong(format!("there is a key \"{}\"", key.escape_ascii())))?;
            map[rank] = Some(value);
        }
        Ok(map)
    }

    /// Opens the database read-only beside the writer, or lets the one opened so move on; it shows a
    /// prefix that holds all which is with the system.
    pub(crate) fn read_beside(&mut self, model: &mut Model) -> Result<(), Stop> {
        match &self.reader {
            Some(reader) => self.told(reader.refresh())?,
            None => {
                // For it the clock stands still: whether it would wait depends on the setup.
                let env = Env { wait: Arc::new(|_| {}), ..self.env() };
                let options = self.setup.options(env);
                let reader = self.told(Db::open_read_only_with(self.place.dir(), options))?;
                self.reader = Some(reader);
            }
        }
        let Some(reader) = &self.reader else { return Ok(()) };
        let found = self.contents_of(reader)?;
        model.read_beside(&found).map_err(Stop::Wrong)
    }

    /// The database opened read-only shows what it showed, whatever the writer did since.
    pub(crate) fn read_reader(&self, model: &Model) -> Result<(), Stop> {
        let (Some(reader), Some(expected)) = (&self.reader, &model.reader) else { return Ok(()) };
        let found = self.contents_of(reader)?;
        first_difference(expected, &found).map_or(Ok(()), |wrong| Err(Stop::Wrong(wrong)))
    }
}
