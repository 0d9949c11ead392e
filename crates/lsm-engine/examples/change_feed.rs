//! Keeps another store in step: a follower that takes each change over together with its number, and
//! goes on from there after it was killed.
//!
//! ```sh
//! cargo run -p lsm-engine --example change_feed
//! ```

use std::path::Path;
use std::time::Duration;

use lsm_engine::{Change, ChangeKind, Db, ErrorKind, Options, Reads, Result, WriteBatch};

/// Where the copy keeps the number that it has reached: in the same batch as what it has taken over,
/// so that neither a change is lost nor one is applied twice.
const REACHED: &str = "reached";

/// The other store: here another database, but it may be anything that writes both together.
struct Copy {
    db: Db,
    meta: lsm_engine::Keyspace,
}

impl Copy {
    fn open(path: &Path) -> Result<Self> {
        let db = Db::open(path)?;
        let meta = db.keyspace("meta")?;
        Ok(Self { db, meta })
    }

    fn reached(&self) -> Result<u64> {
        let stored = self.meta.get(REACHED)?;
        Ok(stored.and_then(|bytes| Some(u64::from_le_bytes(*bytes.first_chunk()?))).unwrap_or(0))
    }

    fn take(&self, change: &Change) -> Result<()> {
        let mut batch = WriteBatch::new();
        for entry in &change.entries {
            match &entry.kind {
                ChangeKind::Put { key, value, .. } => batch.put(key, value),
                ChangeKind::Delete { key } => batch.delete(key),
                other => println!("nobody here writes {other:?}"),
            }
        }
        batch.within(&self.meta).put(REACHED, change.last_seq_no.to_le_bytes());
        self.db.write(&batch)
    }
}

/// Follows until nothing new comes, or, as if it was killed there, for `changes_max` changes.
fn follow(source: &Db, copy: &Path, changes_max: usize) -> Result<usize> {
    let copy = Copy::open(copy)?;
    let mut changes = source.changes(copy.reached()?)?;
    let mut taken = 0;
    while taken < changes_max
        && let Some(change) = changes.next_within(Duration::from_millis(50))?
    {
        copy.take(&change)?;
        taken += 1;
    }
    Ok(taken)
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory for the example");
    let options = Options { changes_retention_bytes: 64 << 20, ..Options::default() };
    let source = Db::open_with(dir.path().join("source"), options)?;
    for n in 0..100_u32 {
        source.put(format!("key {}", n % 30), format!("value {n}"))?;
    }
    source.delete("key 7")?;

    let path = dir.path().join("copy");
    println!("took {} changes over, and was killed", follow(&source, &path, 40)?);
    println!("took the other {} over after its restart", follow(&source, &path, usize::MAX)?);
    source.put("key 7", "back again")?;
    println!("and {} that came later", follow(&source, &path, usize::MAX)?);

    let copy = Copy::open(&path)?;
    let (theirs, ours): (Vec<_>, Vec<_>) = (copy.db.iter().collect(), source.iter().collect());
    assert_eq!(theirs.len(), ours.len());
    for (copied, original) in theirs.into_iter().zip(ours) {
        assert_eq!(copied?, original?);
    }
    assert_eq!(copy.reached()?, source.visible_seq_no());
    // A follower that comes too late copies what is there, and follows from then on.
    match source.changes(0) {
        Err(error) if error.kind() == ErrorKind::HistoryGone => println!("{error}"),
        _ => println!("all of it is there still"),
    }
    Ok(())
}
