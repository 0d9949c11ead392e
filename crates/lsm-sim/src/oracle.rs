//! What is asked of a database's directory: that every file in it is needed, that none is missing,
//! that all are whole, and that no keyspace's id is given out twice.

use std::collections::{BTreeMap, BTreeSet};

use lsm_engine::Step;
use lsm_manifest::{FileKind, Manifest, file_name, parse_file_name};

use crate::data::KEYSPACES;
use crate::keyspaces::number_of;
use crate::model::Model;
use crate::world::{Stop, World};

/// Which keyspace, in which life, each id belonged to.
#[derive(Debug, Default)]
pub(crate) struct KeyspaceIds(BTreeMap<u32, (u8, u32)>);

/// When the files of a directory are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Just opened, and begun, as by a first write: one log segment, but for those kept for followers,
    /// and one manifest.
    JustOpened,
    /// No background work is left: old segments may be kept for later use, and one may be ready.
    Settled,
}

impl World {
    /// Reads every byte and checks it.
    ///
    /// # Errors
    /// What is damaged.
    pub fn verify(&self) -> Result<(), Stop> {
        let report = self.told(self.db().verify())?;
        match report.damage.first() {
            None => Ok(()),
            Some(damage) => Err(Stop::Wrong(format!("verify finds {damage:?}"))),
        }
    }

    /// The last opening found everything in tables already: it replayed nothing and wrote none.
    ///
    /// # Errors
    /// What it did.
    pub fn check_nothing_rewritten(&self) -> Result<(), Stop> {
        let report = self.db().recovery_report();
        if report.tables_written == 0 && report.entries_replayed == 0 {
            return Ok(());
        }
        Err(Stop::Wrong(format!("recovery was done already, and was done again: {report:?}")))
    }

    /// Every file of the directory is needed, and none is missing; of logs, manifests, tables,
    /// unfinished ones and directories.
    ///
    /// # Errors
    /// Names the file.
    pub fn check_files(&self, when: Files) -> Result<(), Stop> {
        if when == Files::JustOpened {
            self.told(self.db().step(Step::Log))?;
        }
        let (fs, dir) = (self.place.fs(), self.place.dir());
        let state = self.told(Manifest::read(&fs, &dir).map_err(Into::into))?.state;
        let manifest = self.told(Manifest::current(&fs, &dir).map_err(Into::into))?.unwrap_or(0);
        let mut needed: BTreeSet<String> =
            [file_name(FileKind::Current, 0), file_name(FileKind::Lock, 0)].into();
        needed.insert(file_name(FileKind::Manifest, manifest));
        needed.insert(file_name(FileKind::Log, state.log_number));
        for keyspace in &state.keyspaces {
            let tables = keyspace.version.tables();
            needed.extend(tables.map(|(_, table)| file_name(FileKind::Table, table.number)));
            let blobs = keyspace.version.blobs();
            needed.extend(blobs.map(|blob| file_name(FileKind::Blob, blob.record.number)));
        }
        for entry in self.told(fs.list(&dir).map_err(Into::into))? {
            let is_needed = needed.remove(&entry.name);
            let may_stay = match parse_file_name(&entry.name).0 {
                // Followers may still want what no recovery needs.
                FileKind::Log => when == Files::Settled || self.setup.keeps_changes,
                FileKind::Reserve => true,
                _ => false,
            };
            if !is_needed && !may_stay {
                return Err(Stop::Wrong(format!("{} is left over: nothing names it", entry.name)));
            }
        }
        match needed.first() {
            None => Ok(()),
            Some(name) => Err(Stop::Wrong(format!("{name} is missing"))),
        }
    }

    /// No id of a keyspace was another's before.
    ///
    /// # Errors
    /// Names the id.
    pub(crate) fn check_ids(&mut self, model: &Model) -> Result<(), Stop> {
        let read = Manifest::read(&self.place.fs(), &self.place.dir()).map_err(Into::into);
        for keyspace in &self.told(read)?.state.keyspaces {
            let number = number_of(&keyspace.name)?;
            debug_assert!(number < KEYSPACES, "names lead to numbers that there are");
            let owner = (number, model.life(number));
            let known = *self.ids.0.entry(keyspace.id).or_insert(owner);
            if known != owner {
                return Err(Stop::Wrong(format!(
                    "id {} was that of keyspace {} in its life {}, and is that of {} in its life {}",
                    keyspace.id, known.0, known.1, owner.0, owner.1
                )));
            }
        }
        Ok(())
    }
}
