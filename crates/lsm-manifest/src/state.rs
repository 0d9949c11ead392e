//! What all edits so far add up to.

use std::fmt;
use std::sync::Arc;

use lsm_version::{EditError, Version};

use crate::edit::{KeyspaceId, ManifestEdit};

/// How many ingests are remembered.
const INGESTS_KEPT: usize = 1000;

/// A keyspace, by the manifest's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceState {
    /// Its number.
    pub id: KeyspaceId,
    /// Its name.
    pub name: String,
    /// Its options, as text.
    pub options: String,
    /// Whether its entries may be merge operands.
    pub takes_operands: bool,
    /// Its entries up to this sequence number are all in tables.
    pub flushed_through: u64,
    /// Its tables.
    pub version: Arc<Version>,
}

/// A database, by the manifest's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestState {
    /// Drawn at random when the database was created.
    pub database_id: u128,
    /// How often the database was opened for writing.
    pub writer_epoch: u64,
    /// Its keyspaces, in the order of their numbers.
    pub keyspaces: Vec<KeyspaceState>,
    /// The next keyspace's number.
    pub next_keyspace_id: KeyspaceId,
    /// Sequence numbers of the ingests that have happened, ascending, the newest thousand of them.
    pub ingested: Vec<u64>,
    /// The first log segment that a replay reads.
    pub log_number: u64,
    /// The sequence number with which that segment begins.
    pub log_first_seq_no: u64,
    /// The next number for a file.
    pub next_file_number: u64,
    /// The last sequence number known durable.
    pub last_seq_no: u64,
    /// Database time, in milliseconds since 1970.
    pub database_time_ms: u64,
    /// Up to when readers may have been told what has expired; 0: up to `database_time_ms`.
    pub leased_until_ms: u64,
    /// The number of the last edit.
    pub edit_number: u64,
    /// Options of the whole database, as text.
    pub options: String,
}

/// Why an edit does not fit a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateError {
    /// It names a keyspace that is not there.
    NoSuchKeyspace(KeyspaceId),
    /// It creates a keyspace whose number was used before.
    KeyspaceIdUsed(KeyspaceId),
    /// It creates a keyspace whose name is taken.
    KeyspaceNameUsed(String),
    /// A number that must never go back would.
    GoesBack {
        /// Which one.
        what: &'static str,
        /// Where it stands.
        from: u64,
        /// Where it would go.
        to: u64,
    },
    /// Its tables do not fit the keyspace's version.
    Tables(KeyspaceId, EditError),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchKeyspace(id) => write!(f, "there is no keyspace {id}"),
            Self::KeyspaceIdUsed(id) => write!(f, "keyspace number {id} was used before"),
            Self::KeyspaceNameUsed(name) => write!(f, "there is a keyspace \"{name}\" already"),
            Self::GoesBack { what, from, to } => {
                write!(f, "{what} would go back from {from} to {to}")
            }
            Self::Tables(id, error) => write!(f, "keyspace {id}: {error}"),
        }
    }
}

impl std::error::Error for StateError {}

impl ManifestState {
    /// The newest sequence number that the manifest knows of: durable in the log, or in tables, which may
    /// be ahead of it.
    pub fn newest_seq_no(&self) -> u64 {
        let flushed = self.keyspaces.iter().map(|keyspace| keyspace.flushed_through);
        flushed.fold(self.last_seq_no, u64::max)
    }

    /// A database without keyspaces.
    pub fn new(database_id: u128) -> Self {
        Self {
            database_id,
            writer_epoch: 0,
            keyspaces: Vec::new(),
            next_keyspace_id: 0,
            ingested: Vec::new(),
            log_number: 0,
            log_first_seq_no: 1,
            next_file_number: 1,
            last_seq_no: 0,
            database_time_ms: 0,
            leased_until_ms: 0,
            edit_number: 0,
            options: String::new(),
        }
    }

    /// Keyspace `id`, if it is there.
    pub fn keyspace(&self, id: KeyspaceId) -> Option<&KeyspaceState> {
        Some(&self.keyspaces[self.find(id)?])
    }

    /// Whether the ingest that the log notes at `seq_no` has happened. Of those before the newest
    /// thousand that is taken for granted.
    pub fn has_ingested(&self, seq_no: u64) -> bool {
        let is_forgotten = self.ingested.len() == INGESTS_KEPT
            && self.ingested.first().is_some_and(|first| seq_no < *first);
        is_forgotten || self.ingested.binary_search(&seq_no).is_ok()
    }

    /// Takes an edit over.
    ///
    /// # Errors
    /// Says how the edit does not fit. The state may then hold part of it and must be thrown away.
    pub fn apply(&mut self, edit: &ManifestEdit) -> Result<(), StateError> {
        for (id, name, options, created_at) in &edit.create_keyspaces {
            self.create(*id, name, options, *created_at)?;
        }
        for (id, options) in &edit.set_options {
            self.keyspace_mut(*id)?.options.clone_from(options);
        }
        for id in &edit.takes_operands {
            self.keyspace_mut(*id)?.takes_operands = true;
        }
        for (id, tables) in &edit.tables {
            let keyspace = self.keyspace_mut(*id)?;
            let version = keyspace.version.apply(tables);
            keyspace.version = Arc::new(version.map_err(|error| StateError::Tables(*id, error))?);
        }
        for (id, through) in &edit.flushed_through {
            let keyspace = self.keyspace_mut(*id)?;
            raise("flushed_through", &mut keyspace.flushed_through, Some(*through))?;
        }
        for id in &edit.drop_keyspaces {
            let index = self.find(*id).ok_or(StateError::NoSuchKeyspace(*id))?;
            self.keyspaces.remove(index);
        }
        raise("log_number", &mut self.log_number, edit.log_number)?;
        raise("log_first_seq_no", &mut self.log_first_seq_no, edit.log_first_seq_no)?;
        for &seq_no in &edit.ingested {
            if let Err(index) = self.ingested.binary_search(&seq_no) {
                self.ingested.insert(index, seq_no);
            }
        }
        let surplus = self.ingested.len().saturating_sub(INGESTS_KEPT);
        self.ingested.drain(..surplus);
        raise("next_file_number", &mut self.next_file_number, edit.next_file_number)?;
        raise("last_seq_no", &mut self.last_seq_no, edit.last_seq_no)?;
        raise("database_time_ms", &mut self.database_time_ms, edit.database_time_ms)?;
        if edit.database_time_ms.is_some() || edit.leased_until_ms.is_some() {
            self.leased_until_ms = edit.leased_until_ms.unwrap_or(0);
        }
        raise("writer_epoch", &mut self.writer_epoch, edit.writer_epoch)?;
        let mut next_id = u64::from(self.next_keyspace_id);
        raise("next_keyspace_id", &mut next_id, edit.next_keyspace_id.map(u64::from))?;
        self.next_keyspace_id = edit.next_keyspace_id.unwrap_or(self.next_keyspace_id);
        if let Some(options) = &edit.options {
            self.options.clone_from(options);
        }
        self.edit_number += 1;
        Ok(())
    }

    fn create(
        &mut self,
        id: KeyspaceId,
        name: &str,
        options: &str,
        created_at: u64,
    ) -> Result<(), StateError> {
        if id < self.next_keyspace_id {
            return Err(StateError::KeyspaceIdUsed(id));
        }
        if self.keyspaces.iter().any(|keyspace| keyspace.name == name) {
            return Err(StateError::KeyspaceNameUsed(name.to_owned()));
        }
        self.next_keyspace_id = id.checked_add(1).ok_or(StateError::KeyspaceIdUsed(id))?;
        // No number is lower than one that was given out before.
        self.keyspaces.push(KeyspaceState {
            id,
            name: name.to_owned(),
            options: options.to_owned(),
            takes_operands: false,
            flushed_through: created_at,
            version: Arc::new(Version::empty()),
        });
        Ok(())
    }

    fn find(&self, id: KeyspaceId) -> Option<usize> {
        self.keyspaces.binary_search_by_key(&id, |keyspace| keyspace.id).ok()
    }

    fn keyspace_mut(&mut self, id: KeyspaceId) -> Result<&mut KeyspaceState, StateError> {
        let index = self.find(id).ok_or(StateError::NoSuchKeyspace(id))?;
        Ok(&mut self.keyspaces[index])
    }

    /// The one edit that leads from an empty state to this one.
    pub(crate) fn snapshot(&self) -> ManifestEdit {
        let keyspaces = self.keyspaces.iter();
        ManifestEdit {
            create_keyspaces: keyspaces
                .clone()
                .map(|k| (k.id, k.name.clone(), k.options.clone(), k.flushed_through))
                .collect(),
            takes_operands: keyspaces
                .clone()
                .filter(|keyspace| keyspace.takes_operands)
                .map(|keyspace| keyspace.id)
                .collect(),
            tables: keyspaces
                .filter(|keyspace| !keyspace.version.is_empty())
                .map(|keyspace| (keyspace.id, keyspace.version.as_edit()))
                .collect(),
            ingested: self.ingested.clone(),
            log_number: Some(self.log_number),
            log_first_seq_no: Some(self.log_first_seq_no),
            next_file_number: Some(self.next_file_number),
            last_seq_no: Some(self.last_seq_no),
            database_time_ms: Some(self.database_time_ms),
            leased_until_ms: (self.leased_until_ms > 0).then_some(self.leased_until_ms),
            writer_epoch: Some(self.writer_epoch),
            next_keyspace_id: Some(self.next_keyspace_id),
            options: Some(self.options.clone()),
            ..ManifestEdit::default()
        }
    }
}

fn raise(what: &'static str, number: &mut u64, to: Option<u64>) -> Result<(), StateError> {
    let Some(to) = to else { return Ok(()) };
    if to < *number {
        return Err(StateError::GoesBack { what, from: *number, to });
    }
    *number = to;
    Ok(())
}
