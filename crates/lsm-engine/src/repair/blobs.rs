//! Blob files as they were found, and what becomes of values that cannot be read any more.
//!
//! A table that refers to a file that is missing or damaged is written anew: what can still be read
//! moves to a new file, and a value that is lost leaves a tombstone, so that no older value of its
//! key comes back in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lsm_blob::{BlobFile, BlobValue};
use lsm_entry::{BlobRef, BlobShare, Entry};
use lsm_io::{Error, Identity, OpenMode, Result};
use lsm_manifest::{FileKind, file_name};
use lsm_sstable::Table;
use lsm_version::BlobRecord;

use super::choose::{Choice, Source};
use super::report::{Loss, NamedFile, RepairReport};
use super::survey::{Survey, check_not_newer};
use super::tables::{open_damaged, visit_whole_blocks};
use crate::verify::{Damage, Files};

/// The blob files of a directory.
#[derive(Clone, Debug, Default)]
pub(super) struct FoundBlobs {
    /// Every byte is right.
    pub(super) whole: BTreeMap<u64, Arc<BlobRecord>>,
    /// Something is wrong; who each was born as, as far as anything tells.
    pub(super) damaged: BTreeMap<u64, Option<Identity>>,
}

impl FoundBlobs {
    /// Reads a blob file whole. Damage is noted and no error, a newer format is one.
    pub(super) fn survey(
        &mut self,
        files: &Files<'_>,
        number: u64,
        bytes: u64,
        damage: &mut Vec<Damage>,
    ) -> crate::error::Result<()> {
        let file = files.fs.open(&files.path(FileKind::Blob, number), OpenMode::Read)?;
        let identity = BlobFile::read_identity(&file);
        let verified = identity.and_then(|identity| {
            let found = files.open_blob(number, identity, bytes)?.verify()?;
            Ok(BlobRecord {
                number,
                birth_database_id: identity.database_id,
                bytes,
                checksum: found.checksum,
                values: found.values,
                value_bytes: found.value_bytes,
                created_ms: 0,
            })
        });
        if let Err(error) = &verified {
            check_not_newer(error)?;
        }
        match verified {
            Ok(record) => {
                self.whole.insert(number, Arc::new(record));
            }
            Err(Error::Corrupt { path, offset, reason }) => {
                damage.push(Damage { path, offset, reason: reason.into_owned() });
                self.damaged.insert(number, BlobFile::read_identity(&file).ok());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn is_whole(&self, share: &BlobShare) -> bool {
        self.whole.contains_key(&share.file)
    }
}

/// Reads values that lie in damaged files.
pub(super) struct Rescue<'a> {
    found: &'a FoundBlobs,
    damaged: BTreeMap<u64, BlobFile>,
}

impl<'a> Rescue<'a> {
    pub(super) fn new(files: &Files<'_>, survey: &'a Survey) -> Result<Self> {
        let found = &survey.blobs;
        let mut damaged = BTreeMap::new();
        for (&number, identity) in &found.damaged {
            let file = files.fs.open(&files.path(FileKind::Blob, number), OpenMode::Read)?;
            let identity = identity.unwrap_or_else(|| survey.blob_identity(number));
            damaged.insert(number, BlobFile::open_damaged(file, identity)?);
        }
        Ok(Self { found, damaged })
    }

    /// What is to be written for an entry, and whether its value is lost. `held` is for the value.
    pub(super) fn mend<'e>(
        &self,
        entry: Entry<'e>,
        held: &'e mut Vec<u8>,
    ) -> Result<(Entry<'e>, bool)> {
        let Some(place) = entry.blob() else { return Ok((entry, false)) };
        if place.is_some_and(|place| self.found.whole.contains_key(&place.file)) {
            return Ok((entry, false));
        }
        let Some(value) = place.map(|place| self.value(place)).transpose()?.flatten() else {
            return Ok((Entry::delete(entry.key, entry.seq_no), true));
        };
        let expiry_bytes = entry.value.len() - entry.user_value().len();
        held.clear();
        held.extend_from_slice(&entry.value[..expiry_bytes]);
        held.extend_from_slice(&value);
        Ok((Entry { tag: entry.tag.without_blob(), value: held, ..entry }, false))
    }

    fn value(&self, place: BlobRef) -> Result<Option<BlobValue>> {
        let Some(file) = self.damaged.get(&place.file) else { return Ok(None) };
        match file.get(place.offset, place.bytes) {
            Err(error) if error.is_corrupt() => Ok(None),
            value => value.map(Some),
        }
    }
}

/// Marks tables that refer to what is not whole as to be written anew, and tells what is lost.
pub(super) fn choose_tables_anew(
    files: &Files<'_>,
    survey: &Survey,
    choice: &mut Choice,
    report: &mut RepairReport,
) -> Result<()> {
    let rescue = Rescue::new(files, survey)?;
    let mut missing = BTreeSet::new();
    for keyspace in choice.keyspaces.values_mut() {
        for table in &mut keyspace.tables {
            if let Source::Whole(record) = &table.source
                && !record.blobs.iter().all(|share| survey.blobs.is_whole(share))
            {
                let (database_id, file_number) = (record.birth_database_id, record.birth_number);
                table.source = Source::Partial {
                    number: record.number,
                    identity: Identity { database_id, file_number },
                    seq_no_min: Some(record.seq_no_min),
                };
            }
            let Source::Partial { number, identity, .. } = &table.source else { continue };
            let damaged = open_damaged(files, *number, *identity)?;
            report.losses.extend(losses(&keyspace.name, &damaged, &rescue)?);
            let shares = &damaged.properties().blobs;
            missing.extend(shares.iter().map(|share| share.file).filter(|number| {
                !survey.blobs.whole.contains_key(number)
                    && !survey.blobs.damaged.contains_key(number)
            }));
        }
    }
    report.missing.extend(missing.into_iter().map(|number| {
        let (name, reason) = (file_name(FileKind::Blob, number), "tables refer to it".to_owned());
        NamedFile { name, reason }
    }));
    Ok(())
}

/// What is lost of a table's values, by blob file.
fn losses(keyspace: &str, table: &Table, rescue: &Rescue<'_>) -> Result<Vec<Loss>> {
    let mut losses: BTreeMap<u64, Loss> = BTreeMap::new();
    let mut held = Vec::new();
    visit_whole_blocks(table, &mut |entry| {
        if let (_, true) = rescue.mend(entry, &mut held)? {
            let number = entry.blob().flatten().map_or(0, |place| place.file);
            let loss = losses.entry(number).or_insert_with(|| Loss {
                keyspace: Some(keyspace.to_owned()),
                keys: Some((entry.key.to_vec(), entry.key.to_vec())),
                seq_no_first: entry.seq_no,
                seq_no_last: Some(entry.seq_no),
                file: file_name(FileKind::Blob, number),
                reason: "large values that cannot be read any more; their keys are gone".into(),
            });
            loss.keys.as_mut().expect("set above").1 = entry.key.to_vec();
            loss.seq_no_first = loss.seq_no_first.min(entry.seq_no);
            loss.seq_no_last = loss.seq_no_last.max(Some(entry.seq_no));
        }
        Ok(())
    })?;
    Ok(losses.into_values().collect())
}

impl Survey {
    /// Who a blob file was born as that does not tell any more.
    fn blob_identity(&self, number: u64) -> Identity {
        let keyspaces = self.manifest.iter().flat_map(|read| &read.state.keyspaces);
        let known = keyspaces.filter_map(|keyspace| keyspace.version.blob(number)).next();
        let database_id = known
            .map(|blob| blob.record.birth_database_id)
            .or(self.database_id)
            .unwrap_or_default();
        Identity { database_id, file_number: number }
    }
}
