//! The one op language: what a history is made of. How it is written as lines of text is in
//! `op/text.rs`, how it is drawn at random in `draw.rs`.

mod text;

use lsm_engine::{Durability, Step};
use lsm_io::CrashPolicy;

use crate::chain::is_operand;
use crate::data::{KEYS, Write, key_bytes, keys_between};
use crate::setup::Choice;

pub(crate) use text::parse_policy;

/// What a transaction writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A put, a delete or an operand.
    Write(Write),
    /// Every key of a range goes.
    DeleteRange {
        /// The keyspace.
        keyspace: u8,
        /// The first key, inclusive.
        from: u16,
        /// The last key, exclusive; `None`: to the end.
        to: Option<u16>,
    },
    /// Every key goes that begins with this one.
    DeletePrefix {
        /// The keyspace.
        keyspace: u8,
        /// The key.
        key: u16,
    },
}

impl Change {
    /// The keyspace to which it writes.
    pub fn keyspace(&self) -> u8 {
        match *self {
            Self::Write((keyspace, ..))
            | Self::DeleteRange { keyspace, .. }
            | Self::DeletePrefix { keyspace, .. } => keyspace,
        }
    }

    /// The same, key by key.
    pub fn writes(&self) -> Vec<Write> {
        match *self {
            Self::Write(write) => vec![write],
            Self::DeleteRange { keyspace, from, to } => {
                keys_between(from, to).iter().map(|key| (keyspace, *key, None)).collect()
            }
            Self::DeletePrefix { keyspace, key } => {
                let is_in = |other: &u16| key_bytes(*other).starts_with(key_bytes(key));
                (0..KEYS).filter(is_in).map(|key| (keyspace, key, None)).collect()
            }
        }
    }
}

/// One step of a history. Keyspaces, keys and values are numbers; see `data.rs`. An operation on a
/// keyspace, snapshot, ticket or scan that is not there does nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Writes that are applied together.
    Write {
        /// What is written.
        writes: Vec<Write>,
        /// When it is acknowledged.
        durability: Durability,
    },
    /// The same, where some of the values are kept for a while only.
    WriteTtl {
        /// How long, in milliseconds.
        ttl_ms: u32,
        /// What is written.
        writes: Vec<Write>,
        /// When it is acknowledged.
        durability: Durability,
    },
    /// The clock goes on by so many milliseconds.
    Tick(u32),
    /// The clock is set back by so many milliseconds.
    SetBack(u32),
    /// Writes that are ordered now and acknowledged later, by a ticket.
    WriteAsync {
        /// What is written.
        writes: Vec<Write>,
    },
    /// Writes to the keyspace of the first of them are brought in as tables.
    Ingest {
        /// What is written; of two writes to one key, the last counts.
        writes: Vec<Write>,
    },
    /// Many keys that were never there are deleted, each by itself: their tombstones lie densely.
    Sweep {
        /// The keyspace.
        keyspace: u8,
        /// When it is acknowledged.
        durability: Durability,
    },
    /// What a reader sees of a range is written as tables beside the database.
    Export {
        /// The keyspace.
        keyspace: u8,
        /// The first key, inclusive.
        from: u16,
        /// The last key, exclusive; `None`: to the end.
        to: Option<u16>,
    },
    /// The tables of an export are brought in.
    IngestTables {
        /// Which export.
        export: u8,
        /// The keyspace into which they come.
        keyspace: u8,
    },
    /// Every key of a range goes at once, and then something is written, all together.
    DeleteRange {
        /// The keyspace.
        keyspace: u8,
        /// The first key, inclusive.
        from: u16,
        /// The last key, exclusive; `None`: to the end.
        to: Option<u16>,
        /// What is written behind it.
        writes: Vec<Write>,
        /// When it is acknowledged.
        durability: Durability,
    },
    /// A transaction reads keys, writes, reads them again and a range too; others write; and it is
    /// committed or not.
    Transact {
        /// When it is acknowledged.
        durability: Durability,
        /// Whether it is given up.
        rollback: bool,
        /// How long [some](crate::data::has_ttl) of the values that it puts are kept, in milliseconds.
        ttl_ms: Option<u32>,
        /// Whether the range is read by a cursor, which counts as reading all of the keyspace.
        by_cursor: bool,
        /// The keyspace of the range.
        keyspace: u8,
        /// One end of the range.
        from: u16,
        /// The other end.
        to: u16,
        /// The keys, with their keyspaces.
        reads: Vec<(u8, u16)>,
        /// What it writes.
        writes: Vec<Change>,
        /// What others write before it is committed.
        meanwhile: Vec<Write>,
    },
    /// A key is written if its value is what is expected.
    PutIf {
        /// The keyspace.
        keyspace: u8,
        /// The key.
        key: u16,
        /// Whether what is expected is what readers see.
        matches: bool,
        /// What is written; `None`: it is removed.
        value: Option<u32>,
    },
    /// From now on the log is kept for followers up to so many bytes, and for so many milliseconds.
    KeepChanges {
        /// How many bytes.
        bytes: u32,
        /// How long; `None`: for ever.
        ms: Option<u32>,
    },
    /// A follower is told what was written since it was told last, or begins to follow.
    Follow,
    /// A ticket is waited for.
    Wait(u8),
    /// All tickets are dropped, which cancels nothing.
    ForgetTickets,
    /// The commit that so many others came after is waited for until it is on disk.
    WaitDurable(u8),
    /// One key is read in every way there is.
    Get {
        /// The keyspace.
        keyspace: u8,
        /// The key.
        key: u16,
    },
    /// Several keys are read at one moment.
    MultiGet {
        /// The keyspace.
        keyspace: u8,
        /// The keys.
        keys: Vec<u16>,
    },
    /// A range is scanned, alternating between its ends where `both` is set.
    Scan {
        /// The keyspace.
        keyspace: u8,
        /// The first key, inclusive.
        from: u16,
        /// The last key, exclusive.
        to: u16,
        /// From the upper end downwards.
        reverse: bool,
        /// From both ends in turn.
        both: bool,
    },
    /// A cursor is sought and moved at random.
    Walk {
        /// The keyspace.
        keyspace: u8,
        /// Decides the moves.
        seed: u32,
    },
    /// A scan begins that later operations move on.
    OpenScan {
        /// The keyspace.
        keyspace: u8,
    },
    /// A scan under way moves on by so many entries at each end.
    Advance {
        /// Which scan.
        scan: u8,
        /// How far.
        count: u8,
    },
    /// The present is kept readable.
    Snapshot,
    /// A kept moment is read whole.
    ReadSnapshot(u8),
    /// A kept moment is let go.
    Release(u8),
    /// The database is opened read-only beside the writer, or the one opened so moves on.
    ReadBeside,
    /// The database opened read-only still shows the moment that it showed.
    ReadReader,
    /// All memtables become tables.
    Flush,
    /// A range is merged to the bottom.
    Compact {
        /// The keyspace.
        keyspace: u8,
        /// The first key.
        from: u16,
        /// The last key.
        to: u16,
    },
    /// One piece of background work.
    Background(Step),
    /// Everything so far becomes durable.
    Sync,
    /// Every byte is read and checked.
    Verify,
    /// A keyspace is created.
    Create {
        /// The keyspace.
        keyspace: u8,
        /// Its options.
        choice: Choice,
    },
    /// A keyspace is dropped with all that is in it.
    Drop(u8),
    /// A keyspace gets other options.
    SetOptions {
        /// The keyspace.
        keyspace: u8,
        /// The options.
        choice: Choice,
    },
    /// A checkpoint is made beside the database.
    Checkpoint,
    /// The database is closed and opened again.
    Reopen,
    /// The process is killed and the database opened again.
    Kill,
    /// The power is cut and the database opened again.
    PowerCut(CrashPolicy),
}

/// The names under which operations are counted.
pub const OP_NAMES: &[&str] = &[
    "put",
    "delete",
    "merge",
    "batch",
    "write_ttl",
    "tick",
    "set_back",
    "write_async",
    "ingest",
    "sweep",
    "export",
    "ingest_tables",
    "delete_range",
    "transact",
    "put_if",
    "keep_changes",
    "follow",
    "wait",
    "forget_tickets",
    "wait_durable",
    "get",
    "multi_get",
    "scan",
    "walk",
    "open_scan",
    "advance",
    "snapshot",
    "read_snapshot",
    "release",
    "read_beside",
    "read_reader",
    "flush",
    "compact",
    "background",
    "sync",
    "verify",
    "create",
    "drop",
    "set_options",
    "checkpoint",
    "reopen",
    "kill",
    "power_cut",
];

impl Op {
    /// The name under which it is counted.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Write { writes, .. } if writes.len() > 1 => "batch",
            Self::Write { writes, .. } if writes.first().is_some_and(|w| w.2.is_none()) => "delete",
            Self::Write { writes, .. } if writes.iter().any(|w| w.2.is_some_and(is_operand)) => {
                "merge"
            }
            Self::Write { .. } => "put",
            Self::WriteTtl { .. } => "write_ttl",
            Self::Tick(_) => "tick",
            Self::SetBack(_) => "set_back",
            Self::WriteAsync { .. } => "write_async",
            Self::Ingest { .. } => "ingest",
            Self::Sweep { .. } => "sweep",
            Self::Export { .. } => "export",
            Self::IngestTables { .. } => "ingest_tables",
            Self::DeleteRange { .. } => "delete_range",
            Self::Transact { .. } => "transact",
            Self::PutIf { .. } => "put_if",
            Self::KeepChanges { .. } => "keep_changes",
            Self::Follow => "follow",
            Self::Wait(_) => "wait",
            Self::ForgetTickets => "forget_tickets",
            Self::WaitDurable(_) => "wait_durable",
            Self::Get { .. } => "get",
            Self::MultiGet { .. } => "multi_get",
            Self::Scan { .. } => "scan",
            Self::Walk { .. } => "walk",
            Self::OpenScan { .. } => "open_scan",
            Self::Advance { .. } => "advance",
            Self::Snapshot => "snapshot",
            Self::ReadSnapshot(_) => "read_snapshot",
            Self::Release(_) => "release",
            Self::ReadBeside => "read_beside",
            Self::ReadReader => "read_reader",
            Self::Flush => "flush",
            Self::Compact { .. } => "compact",
            Self::Background(_) => "background",
            Self::Sync => "sync",
            Self::Verify => "verify",
            Self::Create { .. } => "create",
            Self::Drop(_) => "drop",
            Self::SetOptions { .. } => "set_options",
            Self::Checkpoint => "checkpoint",
            Self::Reopen => "reopen",
            Self::Kill => "kill",
            Self::PowerCut(_) => "power_cut",
        }
    }

    /// Whether it ends the process without a close: only a simulated disk tells what that leaves.
    pub fn is_crash(&self) -> bool {
        matches!(self, Self::Kill | Self::PowerCut(_))
    }
}
