//! What a repair tells: what was wrong, what was done, and above all what was lost.

use std::fmt;

use lsm_entry::SeqNo;

use crate::verify::Damage;

/// What a repair found and did; of a dry run, what it would do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RepairReport {
    /// Nothing is wrong, and nothing was changed. A torn end of the log, as a crash leaves it, is not
    /// wrong but a remark.
    pub is_healthy: bool,
    /// Nothing was written: this is what a repair would do.
    pub is_dry_run: bool,
    /// Everything that is wrong in files that are there.
    pub damage: Vec<Damage>,
    /// Files that should be there and are not.
    pub missing: Vec<NamedFile>,
    /// What was lost: keys beyond these read as before the damage.
    pub losses: Vec<Loss>,
    /// Files that were moved into `lost/`, and why. A dry run does not know of those that would have to
    /// be merged.
    pub set_aside: Vec<NamedFile>,
    /// The keyspaces that there are now.
    pub keyspaces: Vec<RepairedKeyspace>,
    /// Tables that stay as they are.
    pub tables_kept: usize,
    /// Tables written anew: from what is whole of damaged ones, from the log, and from tables whose
    /// order could not be told any more.
    pub tables_written: usize,
    /// Batches of the log that are in those.
    pub batches_replayed: u64,
    /// The newest sequence number.
    pub last_seq_no: SeqNo,
    /// What is worth knowing and no loss.
    pub remarks: Vec<String>,
}

impl RepairReport {
    /// Whether the value of a key may be another than before the damage: an older one, or none.
    pub fn may_have_lost(&self, keyspace: &str, key: &[u8]) -> bool {
        self.losses.iter().any(|loss| loss.covers(keyspace, key))
    }
}

/// A file by its name in the database's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The bare file name.
    pub name: String,
    /// Why it is here.
    pub reason: String,
}

/// A keyspace after a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairedKeyspace {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Name and options come from the manifest. Else the name is that in its tables, or one made of
    /// its number, and the options are the default ones.
    pub is_from_manifest: bool,
    /// Its tables.
    pub tables: usize,
    /// Entries in them.
    pub entries: u64,
}

/// Writes that are not there any more. A key that they touched may show an older value, or one that
/// was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The keyspace's name; `None`: any.
    pub keyspace: Option<String>,
    /// Smallest and largest key, both included; `None`: any key.
    pub keys: Option<(Vec<u8>, Vec<u8>)>,
    /// The first sequence number that may be lost.
    pub seq_no_first: SeqNo,
    /// The last one; `None`: nobody knows how far the order went.
    pub seq_no_last: Option<SeqNo>,
    /// The file that held it.
    pub file: String,
    /// What happened to it.
    pub reason: String,
}

impl Loss {
    /// Whether a key may be among what was lost.
    pub fn covers(&self, keyspace: &str, key: &[u8]) -> bool {
        self.keyspace.as_ref().is_none_or(|name| name == keyspace)
            && self
                .keys
                .as_ref()
                .is_none_or(|(lower, upper)| lower.as_slice() <= key && key <= upper.as_slice())
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.keyspace {
            Some(name) => write!(f, "keyspace \"{name}\", ")?,
            None => f.write_str("any keyspace, ")?,
        }
        match &self.keys {
            Some((lower, upper)) => {
                write!(f, "keys \"{}\" to \"{}\", ", lower.escape_ascii(), upper.escape_ascii())?;
            }
            None => f.write_str("any key, ")?,
        }
        match self.seq_no_last {
            Some(last) => write!(f, "sequence numbers {} to {last}: ", self.seq_no_first)?,
            None => write!(f, "sequence numbers from {} on: ", self.seq_no_first)?,
        }
        write!(f, "{}: {}", self.file, self.reason)
    }
}
