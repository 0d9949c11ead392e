//! Where the benchmark's records go: never where they could be taken for somebody's data.

use std::path::{Path, PathBuf};

use lsm_engine::{CompactionPolicy, Compression, Db, Keyspace, KeyspaceOptions, Options, destroy};
use lsm_io::{Fs, StdFs};

use super::{BenchArgs, Codec};
use crate::commands::compact::read_policy;
use crate::exit::Failure;
use crate::temporary;

/// The one keyspace that is written to.
pub(super) const KEYSPACE: &str = "lsm-bench";

/// The directory of the database, and whether it goes when the benchmark ends.
pub(super) struct Place {
    dir: PathBuf,
    is_temporary: bool,
}

impl Place {
    /// The directory asked for, empty or with a database in it if that was asked for too, or a new
    /// one among the temporary files.
    pub(super) fn find(args: &BenchArgs) -> Result<Self, Failure> {
        let Some(dir) = &args.db else {
            return Ok(Self { dir: temporary::create_dir("lsm-bench-")?, is_temporary: true });
        };
        if !args.existing {
            check_free(dir)?;
        }
        Ok(Self { dir: dir.clone(), is_temporary: false })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens the database, with a keyspace that holds nothing yet.
    pub(super) fn open(
        &self,
        args: &BenchArgs,
        keyspace_options: KeyspaceOptions,
    ) -> Result<(Db, Keyspace), Failure> {
        let mut options = Options {
            create_if_missing: !args.existing,
            durability: args.durability.into(),
            ..Options::default()
        };
        if let Some(mib) = args.memory_mib {
            options.memory_bytes = u64::from(mib) << 20;
        }
        let db = Db::open_with(&self.dir, options)?;
        if db.keyspaces().iter().any(|name| name == KEYSPACE) {
            let dir = self.dir.display();
            args.consent.ask(&format!("Replace the keyspace {KEYSPACE} in {dir}?"))?;
            db.drop_keyspace(db.keyspace(KEYSPACE)?)?;
        }
        let keyspace = db.keyspace_with(KEYSPACE, keyspace_options)?;
        Ok((db, keyspace))
    }

    /// Removes what was made for this benchmark alone; nobody has it open any more.
    pub(super) fn leave(self) -> Result<(), Failure> {
        if self.is_temporary {
            destroy(&self.dir)?;
        }
        Ok(())
    }

    /// Whether the database stays.
    pub(super) fn stays(&self) -> bool {
        !self.is_temporary
    }
}

/// A directory that holds anything is somebody's, whatever it is.
fn check_free(dir: &Path) -> Result<(), Failure> {
    let shown = dir.display();
    match StdFs.list(dir) {
        Ok(listing) => match listing.first() {
            None => Ok(()),
            Some(entry) => Err(Failure::usage(format!(
                "{shown} is not empty: it holds {}; a new or an empty directory is accepted, or, \
                 with --existing, a database, to which the keyspace {KEYSPACE} is added",
                entry.name
            ))),
        },
        Err(error) => match error.io_kind() {
            Some(std::io::ErrorKind::NotFound) => Ok(()),
            Some(std::io::ErrorKind::NotADirectory) => {
                Err(Failure::usage(format!("{shown} is a file; a database is a directory")))
            }
            _ => Err(error.into()),
        },
    }
}

/// What the arguments say about the keyspace.
pub(super) fn keyspace_options(args: &BenchArgs) -> Result<KeyspaceOptions, Failure> {
    let mut options = KeyspaceOptions {
        compression: match args.compression {
            Codec::None => Vec::new(),
            // What is merged soon is not worth compressing.
            Codec::Lz4 => vec![Compression::None, Compression::Lz4],
            Codec::Zstd => vec![Compression::None, Compression::Zstd(1)],
        },
        blob_threshold_bytes: args.blob_threshold,
        ..KeyspaceOptions::default()
    };
    if let Some(text) = &args.policy {
        options.compaction = read_policy("--policy", text)?;
        if matches!(options.compaction, CompactionPolicy::Fifo(_)) {
            return Err(Failure::usage(
                "--policy: fifo drops records that are read later; leveled, tiered and lazy-leveled \
                 are accepted",
            ));
        }
    }
    Ok(options)
}
