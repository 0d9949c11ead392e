//! The commands, one file each: its arguments, and `run`.

pub(crate) mod bench;
pub(crate) mod checkpoint;
pub(crate) mod compact;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod dump;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod ingest;
pub(crate) mod keyspaces;
pub(crate) mod load;
pub(crate) mod merge;
pub(crate) mod options;
pub(crate) mod put;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod scan;
pub(crate) mod shape;
pub(crate) mod stats;
pub(crate) mod tail;
pub(crate) mod verify;
