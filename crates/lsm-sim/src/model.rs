//! What the engine promises, as a map per keyspace and a queue of commits.
//!
//! ```text
//!   base ──────┬── commits, in the one order ──────────────────┐
//!   durable    │  written        visible               appended
//! ```
//!
//! Commits up to *written* survive a killed process, all of `base` survives a power cut, and what is
//! found after either is a prefix of the order. A commit stays unseen until it is *visible*.
//!
//! Keyspaces come, change and go durably and apart from the log: the *catalog* tells which there
//! are. A drop takes everything before it along; so one that was in doubt and is found to have
//! happened finds everything durable.

use std::collections::{BTreeSet, VecDeque};

use lsm_engine::{Durability, SeqNo, Value};

use crate::cell::Cell;
use crate::checkpoints::Copy;
use crate::data::{Held, KEYS, KEYSPACES, NEVER_MS, Write, has_ttl, rank};
use crate::exports::Exported;
use crate::feed::Feed;
use crate::gone::Gone;
use crate::setup::{Choice, START_MS};

/// What is found in one keyspace: values by the rank of their keys.
pub type Values = Vec<Option<u32>>;
/// What one keyspace holds, expired or not, by the rank of the keys.
pub type Cells = Vec<Cell>;
/// The contents of all keyspaces; those that are not there have none.
pub type Contents = Vec<Cells>;

/// What was read from one keyspace: bytes by the rank of their keys.
pub type FoundMap = Vec<Option<Value>>;

/// What was found in a database.
#[derive(Clone, Debug)]
pub struct Found {
    /// The contents of each keyspace.
    pub maps: Vec<FoundMap>,
    /// What each keyspace chose, of those that are there.
    pub catalog: Catalog,
    /// The database time at which it was looked at.
    pub time_ms: u64,
}

/// Which keyspaces there are, and what each of them chose.
pub type Catalog = Vec<Option<Choice>>;

/// A write with the time at which its value expires.
pub(crate) type Stamped = (u8, u16, Option<Held>);

#[derive(Clone, Debug)]
pub(crate) struct Commit {
    /// Its place in the order of all that the model was told of.
    pub(crate) place: u64,
    pub(crate) writes: Vec<Stamped>,
    seq_no: SeqNo,
    need: Durability,
}

/// A moment that stays readable.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The contents then.
    pub state: Contents,
    /// The database time then.
    pub time_ms: u64,
    /// How often each keyspace had been created then: the contents are those of that life.
    pub lives: Vec<u32>,
}

/// The database as a user may expect it.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) base: Contents,
    pub(crate) commits: VecDeque<Commit>,
    /// Commits so far.
    places: u64,
    /// What went unasked.
    pub(crate) gone: Gone,
    written: usize,
    pub(crate) visible: usize,
    /// What the clock shows.
    pub clock_ms: u64,
    /// Database time.
    pub time_ms: u64,
    /// The latest expiry of what a reader was told is gone.
    pub(crate) told_ms: u64,
    /// What readers see, but for what has expired.
    pub state: Contents,
    /// The keyspaces that there are.
    pub catalog: Catalog,
    pub(crate) in_doubt: Option<(u8, Option<Choice>)>,
    pub(crate) lives: Vec<u32>,
    /// Moments kept readable.
    pub snapshots: Vec<Moment>,
    /// What scans under way have yet to yield, first and last included.
    pub scans: Vec<VecDeque<(usize, u32)>>,
    /// What each checkpoint holds.
    pub checkpoints: Vec<Copy>,
    /// What each export holds.
    pub exports: Vec<Exported>,
    /// What the one holds that is being made.
    pub export_in_doubt: Option<Exported>,
    /// What a second, read-only opening shows until it is refreshed.
    pub reader: Option<Contents>,
    /// What a follower of changes was told.
    pub feed: Feed,
}

impl Model {
    /// An empty database whose default keyspace chose `choice`.
    pub fn new(choice: Choice) -> Self {
        let empty = vec![vec![Cell::default(); usize::from(KEYS)]; usize::from(KEYSPACES)];
        let mut catalog = vec![None; usize::from(KEYSPACES)];
        catalog[0] = Some(choice);
        let mut gone = Gone::default();
        gone.note_created(0, choice);
        Self {
            base: empty.clone(),
            commits: VecDeque::new(),
            places: 0,
            gone,
            written: 0,
            visible: 0,
            clock_ms: START_MS,
            time_ms: START_MS,
            told_ms: 0,
            state: empty,
            catalog,
            in_doubt: None,
            lives: vec![1; usize::from(KEYSPACES)],
            snapshots: Vec::new(),
            scans: Vec::new(),
            checkpoints: Vec::new(),
            exports: Vec::new(),
            export_in_doubt: None,
            reader: None,
            feed: Feed::default(),
        }
    }

    // --- commits ---

    /// The clock is set; the database takes note of it where it goes forward.
    pub fn set_clock(&mut self, clock_ms: u64) {
        self.clock_ms = clock_ms;
        self.time_ms = self.time_ms.max(clock_ms);
    }

    /// What a reader finds in a keyspace at present.
    pub fn values(&self, keyspace: u8) -> Values {
        values_at(&self.state[usize::from(keyspace)], self.time_ms)
    }

    /// Whether some keyspace holds a value whose time is over.
    pub fn has_expired(&self) -> bool {
        self.held().any(|held| held.at(self.time_ms).is_none())
    }

    /// Whether some value will expire, or has.
    fn has_expiring(&self) -> bool {
        self.held().any(|held| held.expires_at_ms < NEVER_MS)
    }

    fn held(&self) -> impl Iterator<Item = Held> {
        self.state.iter().flatten().filter_map(Cell::held)
    }

    /// A commit has its place in the order, unseen. Some of its writes have a time to live: `ttl_ms`,
    /// if it is given, or their keyspace's.
    pub fn append(
        &mut self,
        writes: Vec<Write>,
        ttl_ms: Option<u64>,
        seq_no: SeqNo,
        need: Durability,
    ) {
        let stamp = |(keyspace, key, value): Write| {
            let default_ms = self.catalog[usize::from(keyspace)].and_then(|choice| choice.ttl_ms);
            let held = value.map(|value| {
                let ttl_ms = ttl_ms.filter(|_| has_ttl(value)).or(default_ms);
                let expires_at_ms = ttl_ms.map_or(NEVER_MS, |ttl_ms| self.time_ms + ttl_ms);
                Held { value, expires_at_ms, later: None }
            });
            (keyspace, key, held)
        };
        let writes = writes.into_iter().map(stamp).collect();
        self.append_stamped(writes, seq_no, need);
    }

    /// The same for writes that have their expiry.
    pub(crate) fn append_stamped(&mut self, writes: Vec<Stamped>, seq_no: SeqNo, need: Durability) {
        let plain = |(keyspace, key, held): &Stamped| (*keyspace, *key, held.map(|it| it.value));
        self.feed.note(seq_no, writes.iter().map(plain), &self.lives);
        self.places += 1;
        self.commits.push_back(Commit { place: self.places, writes, seq_no, need });
    }

    /// Readers see everything up to `seq_no`, and what they see has the durability it asked for.
    pub fn seen_through(&mut self, seq_no: SeqNo) {
        let mut durable = 0;
        while let Some(commit) = self.commits.get(self.visible)
            && commit.seq_no <= seq_no
        {
            apply(&mut self.state, commit, &self.gone);
            self.visible += 1;
            match commit.need {
                Durability::Disk => durable = self.visible,
                Durability::Os => self.written = self.written.max(self.visible),
                Durability::Memory => {}
            }
        }
        self.settle(durable);
    }

    /// Everything up to `seq_no` survives a power cut.
    pub fn durable_through(&mut self, seq_no: SeqNo) {
        let count = self.commits.iter().take_while(|commit| commit.seq_no <= seq_no).count();
        self.settle(count.min(self.visible));
    }

    /// Everything that is visible survives a power cut.
    pub fn all_is_durable(&mut self) {
        self.settle(self.visible);
    }

    /// Whether a commit has to survive everything, as far as anybody was told.
    pub fn is_known_durable(&self, seq_no: SeqNo) -> bool {
        self.commits.front().is_none_or(|first| seq_no < first.seq_no)
    }

    fn settle(&mut self, count: usize) {
        for commit in self.commits.drain(..count) {
            apply(&mut self.base, &commit, &self.gone);
        }
        self.visible -= count;
        self.written = self.written.saturating_sub(count);
    }

    /// Commits that nobody sees yet.
    pub fn unseen(&self) -> usize {
        self.commits.len() - self.visible
    }

    /// The keys that such commits write, by keyspace and rank.
    pub fn unseen_keys(&self) -> BTreeSet<(u8, usize)> {
        let unseen = self.commits.iter().skip(self.visible);
        unseen.flat_map(|it| it.writes.iter().map(|write| (write.0, rank(write.1)))).collect()
    }

    /// The same database once all commits are seen.
    pub fn settled(&self) -> Self {
        Self { state: self.copy().state, ..self.clone() }
    }

    /// The place of the commit that `back` others came after, if it is not known to be durable.
    pub fn place_of(&self, back: usize) -> Option<SeqNo> {
        let index = self.commits.len().checked_sub(back + 1)?;
        self.commits.get(index).map(|commit| commit.seq_no)
    }

    // --- moments ---

    /// The present, to be kept.
    pub fn moment(&self) -> Moment {
        Moment { state: self.state.clone(), time_ms: self.time_ms, lives: self.lives.clone() }
    }

    /// What a scan of a keyspace begun now has to yield.
    pub fn begin_scan(&mut self, keyspace: u8) {
        let entries = self.values(keyspace).into_iter().enumerate();
        self.scans.push(entries.filter_map(|(rank, value)| Some((rank, value?))).collect());
    }

    // --- ends ---

    /// The database was closed: all of it is there, and the process's snapshots and scans are not.
    pub fn closed(&mut self) {
        self.visible = self.commits.len();
        self.settle(self.visible);
        self.state.clone_from(&self.base);
        self.snapshots.clear();
        self.scans.clear();
    }

    /// The database opens with this time after a close.
    ///
    /// # Errors
    /// It is less than it was, and there is something that goes by it.
    pub fn opened_at(&mut self, time_ms: u64) -> Result<(), String> {
        if time_ms < self.time_ms && self.has_expiring() || time_ms < self.clock_ms {
            return Err(format!("database time is {time_ms} and was {}", self.time_ms));
        }
        self.time_ms = time_ms;
        Ok(())
    }

    /// What a second process sees must be a prefix that holds all which is with the system. It is
    /// kept as what the reader shows.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn read_beside(&mut self, found: &Found) -> Result<(), String> {
        if found.catalog != self.catalog {
            return Err(format!("the keyspaces are {:?}", found.catalog));
        }
        let state = self.prefix(found, self.written)?;
        self.reader = Some(self.left_of(state, found)?);
        Ok(())
    }

    /// Takes over what was found after a crash, while the clock showed `clock_ms`, if it is what is left
    /// of some prefix of the commits that holds all which had to survive.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn crashed(
        &mut self,
        found: &Found,
        clock_ms: u64,
        was_power_cut: bool,
    ) -> Result<(), String> {
        let mut at_least = if was_power_cut { 0 } else { self.written };
        if found.catalog != self.catalog {
            self.check_doubt(found)?;
            match self.in_doubt {
                Some((number, None)) => {
                    at_least = self.commits.len();
                    self.forget_keyspace(number);
                }
                Some((number, Some(_))) if !self.has(number) => {
                    self.lives[usize::from(number)] += 1;
                }
                _ => {}
            }
        }
        self.check_time_after_crash(found.time_ms, clock_ms)?;
        let state = self.prefix(found, at_least)?;
        self.base = self.left_of(state, found)?;
        (self.time_ms, self.clock_ms) = (found.time_ms, clock_ms);
        self.commits.clear();
        self.written = 0;
        self.visible = 0;
        self.state.clone_from(&self.base);
        self.catalog.clone_from(&found.catalog);
        self.in_doubt = None;
        self.snapshots.clear();
        self.scans.clear();
        self.reader = None;
        Ok(())
    }

    /// The keyspaces that were found are those that there are once what is in doubt has happened.
    fn check_doubt(&self, found: &Found) -> Result<(), String> {
        let mut believed = self.catalog.clone();
        if let Some((number, choice)) = self.in_doubt {
            believed[usize::from(number)] = choice;
        }
        if found.catalog == believed {
            return Ok(());
        }
        Err(format!(
            "the keyspaces are {:?} instead of {:?}; in doubt is {:?}",
            found.catalog, self.catalog, self.in_doubt
        ))
    }

    /// What was written to a keyspace went with it.
    fn forget_keyspace(&mut self, number: u8) {
        self.base[usize::from(number)].fill(Cell::default());
        for commit in &mut self.commits {
            commit.writes.retain(|(keyspace, ..)| *keyspace != number);
        }
    }
}

/// What a reader at this time finds in a keyspace.
pub fn values_at(cells: &Cells, time_ms: u64) -> Values {
    cells.iter().map(|cell| cell.at(time_ms)).collect()
}

pub(crate) fn apply(state: &mut Contents, commit: &Commit, gone: &Gone) {
    for &(keyspace, key, value) in &commit.writes {
        let (keyspace, rank) = (usize::from(keyspace), rank(key));
        let cell = &mut state[keyspace][rank];
        cell.write(commit.place, value);
        cell.let_go(gone.through(keyspace, rank));
    }
}
