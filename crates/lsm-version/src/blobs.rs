//! Which blob files are live, and how much of each: counted by what the live tables refer to.
//!
//! Invariant: a blob file is live exactly as long as a live table refers to it. So a table that
//! goes, however it goes, takes what it referred to with it, and nothing has to be told twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsm_entry::BlobShare;

use crate::{EditError, TableRecord};

/// The numbers by which the manifest knows a blob file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BlobRecord {
    /// The file number, which it keeps for ever: `NNNNNN.blob`.
    pub number: u64,
    /// The database in which it was written (differs after a checkpoint).
    pub birth_database_id: u128,
    /// Length of the file.
    pub bytes: u64,
    /// xxh3 of the whole file.
    pub checksum: u64,
    /// How many values were written into it.
    pub values: u64,
    /// How long those are together.
    pub value_bytes: u64,
    /// Database time when it was written, in milliseconds since 1970; 0: nobody knows.
    pub created_ms: u64,
}

/// A blob file, and what of it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobUse {
    /// The file.
    pub record: Arc<BlobRecord>,
    /// To how much of it the live tables refer.
    pub live: BlobShare,
    /// How many tables those are.
    pub tables: u64,
}

impl BlobUse {
    /// Bytes of values to which no table refers any more.
    pub fn garbage_bytes(&self) -> u64 {
        self.record.value_bytes.saturating_sub(self.live.value_bytes)
    }
}

/// The blob files of a version, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Blobs(BTreeMap<u64, BlobUse>);

impl Blobs {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &BlobUse> {
        self.0.values()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&BlobUse> {
        self.0.get(&number)
    }

    /// A file to which tables are about to refer.
    pub(crate) fn add(&mut self, record: &Arc<BlobRecord>) -> Result<(), EditError> {
        let number = record.number;
        let live = BlobShare { file: number, ..BlobShare::default() };
        let blob = BlobUse { record: Arc::clone(record), live, tables: 0 };
        match self.0.insert(number, blob) {
            None => Ok(()),
            Some(_) => Err(EditError::BlobAlreadyThere { number }),
        }
    }

    /// A table comes.
    pub(crate) fn refer(&mut self, table: &TableRecord) -> Result<(), EditError> {
        for share in &table.blobs {
            let number = share.file;
            let Some(blob) = self.0.get_mut(&number) else {
                return Err(EditError::NoSuchBlob { number, table: table.number });
            };
            blob.tables += 1;
            blob.live.values = blob.live.values.saturating_add(share.values);
            blob.live.value_bytes = blob.live.value_bytes.saturating_add(share.value_bytes);
            let (record, live) = (&blob.record, &blob.live);
            if live.values > record.values || live.value_bytes > record.value_bytes {
                return Err(EditError::MoreThanThereIs { number, table: table.number });
            }
        }
        Ok(())
    }

    /// A table goes.
    pub(crate) fn release(&mut self, table: &TableRecord) {
        for share in &table.blobs {
            // Invariant: the table was there, so its shares were counted.
            let blob = self.0.get_mut(&share.file).expect("a live table's blob files are live");
            blob.tables -= 1;
            blob.live.values -= share.values;
            blob.live.value_bytes -= share.value_bytes;
        }
    }

    /// Those to which nothing refers any more go.
    pub(crate) fn drop_dead(&mut self) {
        self.0.retain(|_, blob| blob.tables > 0);
    }
}
