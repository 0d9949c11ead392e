//! An embedded, crash-safe, ordered key-value store on a log-structured merge tree.
//!
//! ```
//! use lsm_engine::{Db, Reads, WriteBatch};
//!
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("my.db");
//! let db = Db::open(path)?; // Creates; every write is on disk when it returns.
//! db.put("user:1", "Ada")?;
//! assert_eq!(db.get("user:1")?.as_deref(), Some(&b"Ada"[..]));
//!
//! let mut batch = WriteBatch::new();
//! batch.put("user:2", "Grace");
//! batch.delete("user:1");
//! db.write(&batch)?; // Together or not at all.
//!
//! for entry in db.prefix("user:") {
//!     let (key, value) = entry?;
//!     println!("{key:?} = {value:?}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//! The six paths, one file each; every one opens with its numbered steps and what must not be
//! swapped:
//!
//! | to see | open |
//! |---|---|
//! | how a write becomes durable, then visible, then acknowledged | `write.rs`, `commit.rs`, `commit/round.rs` |
//! | how a point read finds its entry | `read.rs` |
//! | where large values lie, and when they are moved | `blobs.rs`, `outputs/separate.rs` |
//! | what the versions of a key mean to a reader | `resolve.rs` |
//! | how a scan merges its sources and never pins old files | `scan.rs` |
//! | how a scan passes over where everything is dead | `gaps.rs`, `sweep.rs` |
//! | how a moment is kept readable | `snapshot.rs`, `view.rs` |
//! | how ranges are deleted, and what that hides from a scan | `delete_range.rs`, `covered.rs` |
//! | how a sealed memtable becomes a table | `flush.rs`, `write_memtable.rs`, `older.rs` |
//! | how tables are merged | `compact.rs` |
//! | what a program's own filter is asked meanwhile | `value_filter.rs` |
//! | when writing pauses, and what waits for that | `rest.rs` |
//! | whether anybody reads what is written | `readership.rs` |
//! | how tables are written, kept and removed | `outputs.rs`, `tables.rs` |
//! | who does the work in the background, and how fast | `background.rs`, `pressure.rs`, `limiter.rs` |
//! | how sorted entries become tables at once | `ingest.rs`, `commit/hold.rs`, `note.rs` |
//! | how a transaction finds out that others were first | `transaction.rs`, `conflict.rs` |
//! | how a write depends on what is there | `put_if.rs` |
//! | how others follow what is written | `changes.rs`, `history.rs` |
//! | how merge operators are named and checked | `operator.rs`, `operators.rs` |
//! | how keyspaces come and go | `keyspaces.rs` |
//! | how a directory becomes an open database | `directory.rs`, `recover.rs`, `replay.rs` |
//! | what becomes of an open that fails | `attempt.rs` |
//! | how a database is closed, and what an open leaves for later | `close.rs`, `begin.rs`, `orphans.rs` |
//! | how others read beside the writer | `read_only.rs` |
//! | how a copy is made that opens as a database | `checkpoint.rs`, `unfinished.rs` |
//! | how a copy takes a database's place | `restore.rs`, `swap.rs` |
//! | what a failed sync does to everybody | `poison.rs` |
//! | what happens when the disk is full | `reserve.rs` |
//! | when what was deleted leaves tables, blob files and the log | `age_limit.rs`, `residue.rs` |
//! | what is counted and measured | `metrics.rs`, `samples.rs`, `histogram.rs`, `prometheus.rs` |
//! | what is chosen, and how that is checked and saved | `options.rs` |
//! | how memory is divided and kept within its budget | `budget.rs` |
//! | how a range becomes tables, and tables a range | `export.rs` |
//! | what is told to listeners | `events.rs` |
//! | how a tree, a key and a read are looked into | `inspect.rs` |
//! | how every byte is checked | `verify.rs` |
//! | how a damaged directory becomes a database again (feature `repair`) | `repair.rs` |
//! | how a database is removed, and nothing else | `destroy.rs` |

mod age_limit;
mod attempt;
mod background;
mod batch;
mod begin;
mod blobs;
mod budget;
mod changes;
mod checkpoint;
mod close;
mod commit;
mod compact;
mod conflict;
mod covered;
mod db;
mod delete_range;
mod destroy;
mod directory;
mod env;
mod error;
mod events;
mod expiry;
mod export;
mod filter_use;
mod flush;
mod gaps;
mod handover;
mod histogram;
mod history;
mod ingest;
mod inspect;
mod iter;
mod keyspace;
mod keyspaces;
mod lease;
mod limiter;
mod merge_job;
mod metrics;
mod named;
mod note;
mod older;
mod operator;
mod operators;
mod options;
mod orphans;
mod outputs;
mod pace;
mod poison;
mod pressure;
mod prometheus;
mod put_if;
mod read;
mod read_only;
mod readership;
mod reads;
mod recover;
mod recovery_report;
#[cfg(feature = "repair")]
mod repair;
mod replay;
mod reserve;
mod residue;
mod resolve;
mod rest;
mod restore;
mod run_cursor;
mod samples;
mod scan;
mod segments;
mod shared;
mod snapshot;
mod source;
mod spans;
mod spread;
mod stats;
mod swap;
mod sweep;
mod sync;
mod tables;
mod ticket;
mod transaction;
mod unfinished;
mod value;
mod value_filter;
mod verify;
mod view;
mod waiter;
mod write;
mod write_memtable;

#[cfg(any(test, feature = "testing"))]
pub use background::Step;
pub use batch::{BatchWithin, MAX_VALUE_BYTES, WriteBatch};
pub use budget::MemoryMetrics;
pub use changes::{Change, ChangeKind, Changes, EntryChange, NextChange};
pub use checkpoint::{CheckpointOptions, CheckpointProgress, CheckpointReport};
pub use db::Db;
pub use destroy::{destroy, destroy_in};
pub use env::{Env, Spawn};
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, Listener, Work};
pub use expiry::{ExpiryDue, ExpiryShare};
pub use export::ExportReport;
pub use histogram::Times;
pub use ingest::{BulkLoad, IngestReport};
pub use inspect::{ExplainStep, Explanation, KeyVersion, Place, RunShape, Shape, TableShape};
pub use iter::Iter;
pub use keyspace::{Keyspace, MAX_KEYSPACE_NAME_BYTES};
pub use lsm_compaction::{
    CompactionFilter, FifoOptions, FilterDecision, LazyLeveledOptions, LeveledOptions,
    MergeOperator, Pressure, PressureCause, TieredOptions,
};
pub use lsm_entry::{MAX_KEY_BYTES, SeqNo};
pub use metrics::{BlobMetrics, CpuTimes, LevelMetrics, Metrics, StallMetrics};
pub use operator::Operator;
pub use operators::{Append, Counter, SetUnion};
#[doc(hidden)]
pub use options::fuzz_options;
pub use options::{
    CompactionPolicy, Compression, Durability, KeyspaceOptions, LintFinding, OptionRow, Options,
    ReadMode, RecoveryMode, WriteOptions,
};
pub use reads::{Reads, Scan};
pub use recovery_report::RecoveryReport;
#[cfg(feature = "repair")]
pub use repair::{Loss, NamedFile, RepairOptions, RepairReport, RepairedKeyspace, repair};
pub use restore::{RestoreOptions, RestoreProgress, RestoreReport, restore, restore_with};
pub use samples::{PathTimes, TouchMetrics};
pub use scan::EntryCursor;
pub use snapshot::{Snapshot, SnapshotWithin};
pub use ticket::Ticket;
pub use transaction::{Transaction, TransactionWithin};
pub use value::{Key, Slice, Value};
pub use value_filter::ValueFilter;
pub use verify::{Damage, VerifyOptions, VerifyProgress, VerifyReport, verify, verify_with};
