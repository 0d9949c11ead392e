//! One moment of a database, over all its keyspaces, and hold of every file that it needs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lsm_entry::SeqNo;
use lsm_io::SharedFile;
use lsm_manifest::{FileKind, file_name};
use lsm_memtable::Memtable;

use crate::blobs::HeldBlobFile;
use crate::error::Result;
use crate::keyspace::KeyspaceCore;
use crate::shared::Shared;
use crate::tables::LiveTable;
use crate::view::Tree;

/// One moment of a database: everything that a copy of it holds.
pub(super) struct Cut {
    pub(super) seq_no: SeqNo,
    pub(super) database_time_ms: u64,
    /// Above the number of every file.
    pub(super) next_file_number: u64,
    /// By number.
    pub(super) keyspaces: Vec<CutKeyspace>,
    /// Every file that the copy shares with its source, or has a copy of.
    pub(super) files: Vec<CutFile>,
}

pub(super) struct CutKeyspace {
    pub(super) core: Arc<KeyspaceCore>,
    pub(super) options: String,
    pub(super) tree: Arc<Tree>,
    /// Those with something in them that the tree has not, oldest first. Nothing is written to them.
    pub(super) memtables: Vec<Arc<Memtable>>,
}

impl Shared {
    /// Step 2. Writers wait for as long as it takes to swap a few pointers.
    pub(super) fn cut(&self) -> Result<Cut> {
        let mut keyspaces = Vec::new();
        let seq_no = if self.is_read_only {
            // Held against a refresh in between.
            let _turn = self.manifest.lock().expect("no holder panicked");
            let moment = self.moment.load_full().expect("a read-only database shows a moment");
            for core in self.live_keyspaces() {
                let view = moment.view(core.id);
                let memtables = view.sealed.iter().rev().chain([&view.active]).cloned().collect();
                let tree = Arc::clone(&view.tree);
                let options = core.options().to_string();
                keyspaces.push(CutKeyspace { core, options, tree, memtables });
            }
            moment.seq_no
        } else {
            self.check_writable()?;
            // What the manifest names counts: a keyspace whose drop is not durable yet is there.
            let (manifest, mut order) = self.lock_settled()?;
            let known = self.keyspaces.load();
            for state in &manifest.state().keyspaces {
                let core = known.get(&state.id).cloned().expect("what the manifest names is open");
                self.seal(&core);
                let view = core.view.load();
                let memtables = view.sealed.iter().rev().cloned().collect();
                let tree = Arc::clone(&view.tree);
                let options = state.options.clone();
                drop(view);
                keyspaces.push(CutKeyspace { core, options, tree, memtables });
            }
            order.log().next_seq_no() - 1
        };
        for keyspace in &mut keyspaces {
            keyspace.memtables.retain(|memtable| !memtable.is_empty());
        }
        let files = files(&keyspaces);
        let highest = files.iter().map(CutFile::number).max().unwrap_or(0);
        let next_file_number = self.file_numbers.load(Ordering::Relaxed).max(highest + 1);
        let database_time_ms = self.database_time_ms();
        Ok(Cut { seq_no, database_time_ms, next_file_number, keyspaces, files })
    }
}

impl Cut {
    /// What the copy has as tables and its source has not, by keyspace.
    pub(super) fn memtables(&self) -> Vec<(Arc<KeyspaceCore>, Arc<Memtable>)> {
        let mut all = Vec::new();
        for CutKeyspace { core, memtables, .. } in &self.keyspaces {
            all.extend(memtables.iter().map(|it| (Arc::clone(core), Arc::clone(it))));
        }
        all
    }
}

/// A file of the cut, held so that it stays.
#[derive(Clone)]
pub(super) enum CutFile {
    Table(Arc<LiveTable>),
    Blob(Arc<HeldBlobFile>),
}

/// Of each keyspace the blob files before the tables that refer to them.
fn files(keyspaces: &[CutKeyspace]) -> Vec<CutFile> {
    let mut files = Vec::new();
    for CutKeyspace { tree, .. } in keyspaces {
        files.extend(tree.blobs.iter().map(|file| CutFile::Blob(Arc::clone(file))));
        files.extend(tree.tables().map(|table| CutFile::Table(Arc::clone(table))));
    }
    files
}

impl CutFile {
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Table(table) => table.record().number,
            Self::Blob(file) => file.record().number,
        }
    }

    pub(super) fn name(&self) -> String {
        let kind = match self {
            Self::Table(_) => FileKind::Table,
            Self::Blob(_) => FileKind::Blob,
        };
        file_name(kind, self.number())
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Table(table) => table.record().bytes,
            Self::Blob(file) => file.record().bytes,
        }
    }

    pub(super) fn checksum(&self) -> u64 {
        match self {
            Self::Table(table) => table.record().checksum,
            Self::Blob(file) => file.record().checksum,
        }
    }

    pub(super) fn file_if_open(&self) -> Option<SharedFile> {
        match self {
            Self::Table(table) => table.table_if_open().map(|table| table.file().clone()),
            Self::Blob(file) => file.file_if_open(),
        }
    }
}
