//! The load: a process that opens the database, writes and reads as fast as it can, and goes on
//! until it is ended from outside.
//!
//! Memtables and log segments are tiny, so that flushes, merges and new segments never pause; each
//! keyspace has a policy of its own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lsm_engine::{
    Db, Durability, Env, Keyspace, KeyspaceOptions, Options, SeqNo, Snapshot, WriteBatch,
    WriteOptions,
};
use lsm_workload::Rng;

use crate::real::acknowledgement::{Teller, Told};
use crate::real::effect::{Effect, Moment};
use crate::real::stream::{Commit, KEYSPACES, Stream, WRITERS, policy_of};
use crate::setup::Setup;

/// A database under load, opened.
#[derive(Debug)]
pub struct Opened {
    /// The database.
    pub db: Db,
    /// In the order of [`KEYSPACES`].
    pub keyspaces: Vec<Keyspace>,
}

/// Opens the database in `dir`, set up as `setup_seed` decides.
///
/// # Errors
/// What the engine says.
pub fn open(dir: &Path, setup_seed: u64) -> lsm_engine::Result<Opened> {
    open_as(dir, &Setup::random(&mut Rng::new(setup_seed)))
}

/// Opens the database in `dir`, set up so.
///
/// # Errors
/// What the engine says.
pub fn open_as(dir: &Path, setup: &Setup) -> lsm_engine::Result<Opened> {
    let options = Options { background_threads: 1, ..setup.options(Env::default()) };
    let of_keyspaces = options.keyspace.clone();
    let db = Db::open_with(dir, options)?;
    let open = |(index, name): (usize, &&str)| {
        let compaction = policy_of(index);
        db.keyspace_with(name, KeyspaceOptions { compaction, ..of_keyspaces.clone() })
    };
    let keyspaces = KEYSPACES.iter().enumerate().map(open).collect::<lsm_engine::Result<_>>()?;
    Ok(Opened { db, keyspaces })
}

/// Runs the load. Returns only when it fails: it is meant to be killed.
///
/// # Errors
/// What the engine says, or a snapshot that does not hold what it should.
pub fn run(dir: &Path, seed: u64, setup_seed: u64) -> Result<(), String> {
    let opened = Arc::new(open(dir, setup_seed).map_err(|error| format!("open: {error}"))?);
    let teller = Arc::new(Teller::on_stdout().map_err(|error| error.to_string())?);
    let snapshot = opened.db.snapshot();
    let streams = (0..WRITERS).map(|writer| Stream { seed, writer });
    let effects = streams
        .map(|stream| Effect::found_in(stream, &opened.at(&snapshot)))
        .collect::<Result<Vec<_>, _>>()?;
    drop(snapshot);
    // All of it before the first writer begins: so whoever hears of a commit knows all counts.
    for effect in &effects {
        tell(&teller, Told::Found, effect.stream.writer, effect.count(), 0)?;
    }
    let (failed, failure) = std::sync::mpsc::channel();
    for effect in &effects {
        let (opened, teller, failed) = (Arc::clone(&opened), Arc::clone(&teller), failed.clone());
        let (stream, count) = (effect.stream, effect.count());
        std::thread::spawn(move || failed.send(opened.write(&teller, stream, count)));
    }
    std::thread::spawn(move || failed.send(opened.read(&teller, effects, setup_seed)));
    failure.recv().unwrap_or_else(|_| Err("every thread of the load is gone".into()))
}

impl Opened {
    /// What a snapshot holds of all keyspaces.
    pub(crate) fn at<'a>(&'a self, snapshot: &'a Snapshot) -> Moment<'a> {
        Moment { snapshot, keyspaces: &self.keyspaces }
    }

    /// One writer: commit after commit, each told of once it is acknowledged.
    fn write(&self, teller: &Teller, stream: Stream, count: u64) -> Result<(), String> {
        let mut batch = WriteBatch::new();
        let mut n = count;
        loop {
            n += 1;
            let commit = stream.commit(n);
            let options = WriteOptions::durability(commit.durability);
            let seq_no = self.commit(&mut batch, &commit, options);
            let seq_no = seq_no.map_err(|error| format!("commit {n}: {error}"))?;
            tell(teller, Told::Acknowledged(commit.durability), stream.writer, n, seq_no)?;
            if commit.then_sync {
                self.db.wait_durable(seq_no).map_err(|error| format!("wait for {n}: {error}"))?;
                tell(teller, Told::Acknowledged(Durability::Disk), stream.writer, n, seq_no)?;
            }
        }
    }

    /// Makes one commit.
    pub(crate) fn commit(
        &self,
        batch: &mut WriteBatch,
        commit: &Commit,
        options: WriteOptions,
    ) -> lsm_engine::Result<SeqNo> {
        if let [(keyspace, key, Some(value))] = &commit.writes[..] {
            return self.keyspaces[*keyspace].put_with(key, value, options);
        }
        self.fill(batch, commit);
        self.db.write_with(batch, options)
    }

    fn fill(&self, batch: &mut WriteBatch, commit: &Commit) {
        batch.clear();
        for (keyspace, key, value) in &commit.writes {
            let mut batch = batch.within(&self.keyspaces[*keyspace]);
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
    }

    /// The reader: snapshots held while flushes and merges go on, read twice and held against what
    /// the writers' commits come to; in between a flush, a merge, or another policy.
    fn read(&self, teller: &Teller, mut effects: Vec<Effect>, seed: u64) -> Result<(), String> {
        let mut rng = Rng::new(seed ^ 0x0005_EED0_F4EA_DE45);
        loop {
            let snapshot = self.db.snapshot();
            let moment = self.at(&snapshot);
            let effect = &mut effects[rng.below(u64::from(WRITERS)) as usize];
            effect.compare(&moment).map_err(|wrong| format!("in a snapshot: {wrong}"))?;
            self.disturb(&mut rng)?;
            effect.compare(&moment).map_err(|wrong| format!("in the snapshot again: {wrong}"))?;
            tell(teller, Told::SnapshotsRead, 0, 1, 0)?;
        }
    }

    fn disturb(&self, rng: &mut Rng) -> Result<(), String> {
        let keyspace = rng.pick(&self.keyspaces);
        let result = match rng.below(8) {
            0 => self.db.flush(),
            1 => keyspace.compact_range::<&str>(..),
            2 => {
                let compaction = policy_of(rng.below(KEYSPACES.len() as u64) as usize);
                keyspace.set_options(KeyspaceOptions { compaction, ..keyspace.options() })
            }
            _ => {
                std::thread::sleep(Duration::from_micros(rng.below(2000)));
                Ok(())
            }
        };
        result.map_err(|error| format!("a flush, a merge or a change of options: {error}"))
    }
}

fn tell(teller: &Teller, told: Told, writer: u8, n: u64, seq_no: u64) -> Result<(), String> {
    teller.tell(told, writer, n, seq_no).map_err(|_| "nobody listens any more".to_owned())
}
