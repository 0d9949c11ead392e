//! One durable step from a state to the next.

use lsm_version::VersionEdit;

/// A keyspace's number; never reused.
pub type KeyspaceId = u32;

/// What changes together. Fields that are `None` or empty stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestEdit {
    /// Keyspaces that come to be: number, name, options as text, and the last sequence number
    /// before them.
    pub create_keyspaces: Vec<(KeyspaceId, String, String, u64)>,
    /// Keyspaces that go, with all their tables.
    pub drop_keyspaces: Vec<KeyspaceId>,
    /// Options that replace a keyspace's.
    pub set_options: Vec<(KeyspaceId, String)>,
    /// Keyspaces that take merge operands from now on, for ever.
    pub takes_operands: Vec<KeyspaceId>,
    /// Tables that come and go, by keyspace.
    pub tables: Vec<(KeyspaceId, VersionEdit)>,
    /// Sequence numbers of ingests whose tables this edit adds.
    pub ingested: Vec<u64>,
    /// Up to which sequence number a keyspace's entries are all in tables.
    pub flushed_through: Vec<(KeyspaceId, u64)>,
    /// The first log segment that a replay reads.
    pub log_number: Option<u64>,
    /// The sequence number with which that segment begins.
    pub log_first_seq_no: Option<u64>,
    /// The next number for a file.
    pub next_file_number: Option<u64>,
    /// The last sequence number known durable.
    pub last_seq_no: Option<u64>,
    /// Database time, in milliseconds since 1970.
    pub database_time_ms: Option<u64>,
    /// Up to when readers may be told what has expired, if that is later than `database_time_ms`. An
    /// edit that tells the time and not this takes it back.
    pub leased_until_ms: Option<u64>,
    /// How often the database was opened for writing.
    pub writer_epoch: Option<u64>,
    /// The next keyspace's number.
    pub next_keyspace_id: Option<KeyspaceId>,
    /// Options of the whole database, as text.
    pub options: Option<String>,
}
