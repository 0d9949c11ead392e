//! Following what is written: every durable batch once, whole, in order, and never one that a crash
//! takes back.
//!
//! The model keeps what was ordered and not told yet. What a follower was told survives everything
//! from then on; what is known to be durable has to be told; after a crash, and after a reopening, the
//! follower goes on where it stopped, unless the log may have let go of what it lacks.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use lsm_engine::{Change, ChangeKind, EntryChange, ErrorKind, SeqNo};

use crate::chain::{is_operand, operand_bytes};
use crate::data::{KEYS, UNKNOWN, Write, is_swept, key_at, rank, rank_of, value_bytes};
use crate::keyspaces::number_of;
use crate::model::Model;
use crate::world::{Stop, World};

/// Commits that are kept for a follower at most; beyond them it begins anew.
const UNTOLD_MAX: usize = 256;

/// What a follower was told, and what it has yet to be told.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// The number of the last change that was told; `None`: nobody follows.
    told: Option<SeqNo>,
    untold: VecDeque<Untold>,
    /// Whether the log was kept ever since for all that is untold.
    is_kept: bool,
}

#[derive(Clone, Debug)]
struct Untold {
    seq_no: SeqNo,
    /// Each with the life in which its keyspace was.
    writes: Vec<(Write, u32)>,
    is_ingest: bool,
}

/// What a batch does to a key: a value, none, or operands on top of either, as bytes.
type Effects = BTreeMap<(u8, usize), Vec<Option<Vec<u8>>>>;

impl Feed {
    /// Whether somebody follows.
    pub fn is_followed(&self) -> bool {
        self.told.is_some()
    }

    /// The log may let go of what is untold.
    pub fn note_let_go(&mut self) {
        self.is_kept = false;
    }

    /// A commit was ordered.
    pub fn note(&mut self, seq_no: SeqNo, writes: impl Iterator<Item = Write>, lives: &[u32]) {
        if self.told.is_none() || seq_no == UNKNOWN {
            return;
        }
        if self.untold.len() == UNTOLD_MAX {
            *self = Self::default();
            return;
        }
        let writes = writes.map(|write| (write, lives[usize::from(write.0)])).collect();
        self.untold.push_back(Untold { seq_no, writes, is_ingest: false });
    }

    /// The commit that was ordered last was an ingest.
    pub fn note_ingest(&mut self) {
        if let Some(last) = self.untold.back_mut() {
            last.is_ingest = true;
        }
    }
}

impl Untold {
    /// What it writes to keyspaces that are still there.
    fn writes_left(&self, model: &Model) -> Vec<Write> {
        let is_there =
            |(write, life): &&(Write, u32)| model.has(write.0) && model.life(write.0) == *life;
        self.writes.iter().filter(is_there).map(|(write, _)| *write).collect()
    }
}

impl World {
    /// Tells a follower what is new, from where it stopped.
    pub(crate) fn follow(&mut self, model: &mut Model) -> Result<(), Stop> {
        model.seen_through(self.db().visible_seq_no());
        let Some(told) = model.feed.told else { return self.follow_anew(model) };
        let Some(changes) = self.changes_after(told)? else {
            if model.feed.is_kept {
                return Err(Stop::Wrong(format!("the log was kept, and not from {told} on")));
            }
            return self.follow_anew(model);
        };
        for change in changes {
            self.check_told(&change, model)?;
            model.feed.told = Some(change.last_seq_no);
            model.durable_through(change.last_seq_no);
        }
        let due = model.feed.untold.iter().find(|it| !it.writes_left(model).is_empty());
        match due {
            Some(due) if model.is_known_durable(due.seq_no) => {
                Err(Stop::Wrong(format!("{} is durable and was not told", due.seq_no)))
            }
            _ => Ok(()),
        }
    }

    /// After a crash the follower goes on: what it was told is there. What it lacks it is told now,
    /// whatever that is.
    pub(crate) fn follow_after_crash(&self, model: &mut Model) -> Result<(), Stop> {
        let Some(told) = model.feed.told else { return Ok(()) };
        let mut last = told;
        for change in self.changes_after(told)?.into_iter().flatten() {
            if change.first_seq_no <= last || change.last_seq_no < change.first_seq_no {
                let Change { first_seq_no, last_seq_no, .. } = change;
                let wrong = format!("{first_seq_no} to {last_seq_no} are told after {last}");
                return Err(Stop::Wrong(wrong));
            }
            last = change.last_seq_no;
        }
        model.feed = Feed::default();
        Ok(())
    }

    fn follow_anew(&mut self, model: &mut Model) -> Result<(), Stop> {
        self.told(self.db().sync())?;
        self.all_is_durable(model)?;
        let told = Some(self.db().visible_seq_no());
        model.feed = Feed { told, untold: VecDeque::new(), is_kept: self.keeps_changes };
        Ok(())
    }

    /// What is on disk after `told`; `None`: the log does not go back so far.
    fn changes_after(&self, told: SeqNo) -> Result<Option<Vec<Change>>, Stop> {
        let mut changes = match self.db().changes(told) {
            Err(error) if error.kind() == ErrorKind::HistoryGone => return Ok(None),
            changes => self.told(changes)?,
        };
        let mut all = Vec::new();
        loop {
            match changes.next_within(Duration::ZERO) {
                Err(error) if error.kind() == ErrorKind::HistoryGone => return Ok(None),
                change => match self.told(change)? {
                    Some(change) => all.push(change),
                    None => return Ok(Some(all)),
                },
            }
        }
    }

    fn check_told(&self, change: &Change, model: &mut Model) -> Result<(), Stop> {
        let seq_no = change.last_seq_no;
        let wrong = |what: String| Err(Stop::Wrong(format!("change {seq_no}: {what}")));
        // Of what has gone with its keyspace nothing is told.
        let expected = loop {
            let Some(untold) = model.feed.untold.pop_front() else {
                return wrong("nobody wrote it, or it was told before".into());
            };
            if untold.seq_no == seq_no || !untold.writes_left(model).is_empty() {
                break untold;
            }
        };
        if expected.seq_no != seq_no {
            return wrong(format!("{} comes before it", expected.seq_no));
        }
        let writes = expected.writes_left(model);
        if expected.is_ingest {
            let is_whole = |entry: &EntryChange| {
                let count = writes.len() as u64;
                matches!(entry.kind, ChangeKind::Ingest { entries, .. } if entries == count)
            };
            return match change.entries.as_slice() {
                [entry] if is_whole(entry) => Ok(()),
                entries => wrong(format!("{} were brought in, told is {entries:?}", writes.len())),
            };
        }
        let (expected, told) = (effects_of(&writes), effects_told(&change.entries)?);
        if expected == told {
            Ok(())
        } else {
            wrong(format!("expected {expected:?}, told {told:?}"))
        }
    }
}

fn effects_of(writes: &[Write]) -> Effects {
    let mut effects = Effects::new();
    for &(keyspace, key, value) in writes {
        let effect = effects.entry((keyspace, rank(key))).or_default();
        match value {
            Some(operand) if is_operand(operand) => {
                effect.push(Some(operand_bytes(operand).to_vec()));
            }
            value => *effect = vec![value.map(value_bytes)],
        }
    }
    effects
}

fn effects_told(entries: &[EntryChange]) -> Result<Effects, Stop> {
    let unknown = || Stop::Wrong("a change of a key that nobody knows".to_owned());
    let mut effects = Effects::new();
    for EntryChange { keyspace, kind } in entries {
        let number = number_of(keyspace)?;
        let place = |key: &[u8]| Ok::<_, Stop>((number, rank_of(key).ok_or_else(unknown)?));
        match kind {
            ChangeKind::Put { key, value, .. } => {
                effects.insert(place(key)?, vec![Some(value.clone())]);
            }
            ChangeKind::Delete { key } if is_swept(key) => {}
            ChangeKind::Delete { key } => {
                effects.insert(place(key)?, vec![None]);
            }
            ChangeKind::Merge { key, operand } => {
                effects.entry(place(key)?).or_default().push(Some(operand.clone()));
            }
            ChangeKind::DeleteRange { lower, upper } => {
                let is_inside = |key: &&[u8]| {
                    *key >= lower.as_slice() && (upper.is_empty() || *key < upper.as_slice())
                };
                for key in (0..usize::from(KEYS)).map(key_at).filter(is_inside) {
                    effects.insert(place(key)?, vec![None]);
                }
            }
            kind => return Err(Stop::Wrong(format!("told is {kind:?}"))),
        }
    }
    Ok(effects)
}
