//! A whole directory out of arbitrary bytes: a small database, and what is changed in a file of it.
//!
//! A database out of nothing but noise would be refused at its first byte; one that is nearly right
//! is read to the end.

use std::sync::LazyLock;

use lsm_engine::{Compression, Db, ReadMode, Reads, Step};
use lsm_io::SimFs;
use lsm_manifest::{FileKind, parse_file_name};

use crate::contents::{KEYS, key_bytes};
use crate::damage::{Change, Specimen, judge, options, specimens};

/// Longer files would make each run slow.
const FILE_BYTES_MAX: usize = 4096;

static SPECIMENS: LazyLock<Vec<Specimen>> = LazyLock::new(|| {
    let mut specimens = specimens();
    specimens.retain(|specimen| {
        specimen.bytes().len() <= FILE_BYTES_MAX && specimen.kind != "log_rotated"
    });
    specimens
});

/// Which file is changed, and how: the specimen, the way of reading, then a place (two bytes) and a
/// byte for it, again and again.
fn decode(data: &[u8]) -> Option<(&'static Specimen, ReadMode, Change)> {
    let ([which, mode], changes) = data.split_first_chunk()?;
    let specimen = &SPECIMENS[usize::from(*which) % SPECIMENS.len()];
    let mode = if mode % 2 == 0 { ReadMode::Mapped } else { ReadMode::Cached };
    let length = specimen.bytes().len();
    let bytes = changes.chunks_exact(3).map(|change| {
        (usize::from(u16::from_le_bytes([change[0], change[1]])) % length, change[2])
    });
    Some((specimen, mode, Change::Bytes(bytes.collect())))
}

/// Some bytes of a file are others: the answers are right, or an error names the file.
pub fn fuzz_damage(data: &[u8]) {
    let Some((specimen, mode, change)) = decode(data) else { return };
    if let Err(wrong) = judge(specimen, &change, mode) {
        panic!("{}: {change} ({mode:?}): {wrong}", specimen.kind);
    }
}

/// The same under right checksums, as a hostile author would have them: the answers may be anything,
/// but there are some, or errors, and the database works on with whatever it took for its contents.
pub fn fuzz_hostile(data: &[u8]) {
    let Some((specimen, mode, change)) = decode(data) else { return };
    let fs = specimen.disk();
    change.apply(&fs, specimen);
    let name = specimen.path().file_name().unwrap_or_default().to_string_lossy();
    fs.damage(specimen.path(), |bytes| match parse_file_name(&name).0 {
        FileKind::Table => drop(lsm_sstable::fuzz::seal_all(bytes)),
        FileKind::Blob => drop(lsm_blob::fuzz::seal_all(bytes)),
        FileKind::Log | FileKind::Manifest => lsm_wal::fuzz::seal_frames(bytes),
        _ => {}
    });
    use_database(&fs, mode);
}

fn use_database(fs: &SimFs, mode: ReadMode) {
    let options = options(fs, mode, Compression::None, 1);
    let Ok(db) = Db::open_with(crate::damage::DIR, options) else { return };
    for name in db.keyspaces() {
        let Ok(keyspace) = db.keyspace(&name) else { continue };
        for key in (0..KEYS).map(key_bytes) {
            let _ = (keyspace.get(&key), keyspace.history(&key), keyspace.explain(&key));
        }
        // A table may claim to hold more entries than anybody has time for.
        let _ = keyspace.iter().take(1000).take_while(Result::is_ok).count();
        let _ = keyspace.iter().rev().take(1000).take_while(Result::is_ok).count();
        let _ = (keyspace.put("key", "value"), keyspace.shape());
    }
    let _ = (db.verify(), db.flush());
    for step in [Step::Flush, Step::Compact, Step::Compact, Step::Log] {
        let _ = db.step(step);
    }
    // A close that fails is an answer too.
    let _ = db.close();
}
