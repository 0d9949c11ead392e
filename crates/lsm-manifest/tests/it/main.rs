//! The manifest against a model, through crashes at every step, and under damage.

mod crash;
mod damage;
mod failure;
mod format;
#[cfg(feature = "fuzz")]
mod fuzz;
mod model;

use std::path::Path;
use std::sync::Arc;

use lsm_io::{SharedFs, SimFs};
use lsm_manifest::{Manifest, ManifestEdit, ManifestState};
use lsm_version::{Expiring, Place, TableRecord, VersionEdit};

const DIR: &str = "db";

/// A disk with a directory whose name is durable.
fn disk(seed: u64) -> SimFs {
    let fs = SimFs::new(seed);
    let shared = fs.shared();
    shared.create_dir_all(Path::new(DIR)).expect("an empty disk");
    shared.sync_dir(Path::new("")).expect("an empty disk");
    fs
}

fn start(fs: &SharedFs) -> lsm_io::Result<Manifest> {
    Manifest::start(fs, Path::new(DIR), 1, ManifestState::new(0xDB))
}

fn read(fs: &SimFs) -> lsm_io::Result<lsm_manifest::ManifestRead> {
    Manifest::read(&fs.shared(), Path::new(DIR))
}

fn create(id: u32, name: &str) -> ManifestEdit {
    let keyspace = (id, name.to_owned(), "compaction: leveled()".to_owned(), 0);
    ManifestEdit { create_keyspaces: vec![keyspace], ..ManifestEdit::default() }
}

/// An edit that adds a table of its own run to level 0 of a keyspace.
fn add_table(keyspace: u32, number: u64) -> ManifestEdit {
    let record = TableRecord {
        number,
        birth_database_id: 0xDB,
        birth_number: number,
        bytes: 4096 + number,
        checksum: number * 0x9E37_79B9,
        lower: format!("key-{number:04}").into_bytes(),
        upper: format!("key-{number:04}-upper").into_bytes(),
        seq_no_min: number,
        seq_no_max: number + 9,
        entries: 10,
        tombstones: 3,
        expiry_max_ms: Some(number),
        expiring: number.is_multiple_of(2).then_some(Expiring {
            entries: 4,
            bytes: 70,
            last_ms: number,
        }),
        ..TableRecord::default()
    };
    let added = vec![(Place { level: 0, run: number }, Arc::new(record))];
    ManifestEdit {
        tables: vec![(keyspace, VersionEdit { added, ..VersionEdit::default() })],
        flushed_through: vec![(keyspace, number)],
        next_file_number: Some(number + 1),
        last_seq_no: Some(number),
        ..ManifestEdit::default()
    }
}
