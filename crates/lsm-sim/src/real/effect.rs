//! What the first `n` commits of a writer come to, held against what a database or a snapshot says.

use lsm_engine::{Keyspace, Reads, Snapshot};

use crate::contents::{Map, State, difference};
use crate::real::stream::{KEYSPACES, Stream};

/// The contents of a writer's keys after so many of its commits.
#[derive(Clone, Debug)]
pub struct Effect {
    /// The commits.
    pub stream: Stream,
    count: u64,
    state: State,
}

impl Effect {
    /// Of no commit at all.
    pub fn nothing(stream: Stream) -> Self {
        Self { stream, count: 0, state: vec![Map::new(); KEYSPACES.len()] }
    }

    /// Takes what a moment holds for right, whatever it is: what comes later is held against it.
    ///
    /// # Errors
    /// What the engine says.
    pub fn found_in(stream: Stream, moment: &Moment) -> Result<Self, String> {
        Ok(Self { stream, count: moment.count(&stream)?, state: moment.state(&stream)? })
    }

    /// How many commits.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Moves on to what a moment says of itself, and compares all of it. Returns whether it lies
    /// ahead; one that lies behind cannot be compared.
    ///
    /// # Errors
    /// The first difference, and what the engine says.
    pub fn compare(&mut self, moment: &Moment) -> Result<bool, String> {
        let count = moment.count(&self.stream)?;
        if count < self.count {
            return Ok(false);
        }
        for n in self.count + 1..=count {
            self.stream.apply(n, &mut self.state);
        }
        self.count = count;
        let found = moment.state(&self.stream)?;
        if found == self.state {
            return Ok(true);
        }
        Err(format!(
            "writer {}: what is there is not the effect of its first {count} commits: {}",
            self.stream.writer,
            difference(&self.state, &found)
        ))
    }
}

/// All keyspaces of the load at one moment.
#[derive(Debug)]
pub struct Moment<'a> {
    /// When.
    pub snapshot: &'a Snapshot,
    /// Of what, in the order of [`KEYSPACES`].
    pub keyspaces: &'a [Keyspace],
}

impl Moment<'_> {
    /// How many commits of a writer are there, by their own account.
    ///
    /// # Errors
    /// What the engine says, or a count that is no number.
    pub fn count(&self, stream: &Stream) -> Result<u64, String> {
        let counted = self.snapshot.within(&self.keyspaces[0]);
        let value = counted.get(stream.counter_key()).map_err(|error| error.to_string())?;
        let Some(value) = value else { return Ok(0) };
        let text = String::from_utf8_lossy(&value);
        text.parse().map_err(|_| format!("the count of writer {} is {text:?}", stream.writer))
    }

    fn state(&self, stream: &Stream) -> Result<State, String> {
        let read = |keyspace: &Keyspace| {
            let entries = self.snapshot.within(keyspace).prefix(stream.prefix());
            entries.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
        };
        let states = self.keyspaces.iter().map(read);
        states.collect::<lsm_engine::Result<_>>().map_err(|error| error.to_string())
    }
}
