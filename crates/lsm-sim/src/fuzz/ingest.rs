//! A file out of arbitrary bytes is brought into a database as a table, beside one that is sound.
//!
//! Checksums are made right first, as a hostile author would have them, as far as the bytes can be read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_engine::{Compression, Db, ErrorKind, Reads};
use lsm_entry::{Cursor, Entry, ValueKind, key_hash};
use lsm_io::{Fs, Identity, OpenMode, SharedFile, SimFs};
use lsm_sstable::{BlockCache, ReadMode, Table, TableInfo, TableOptions, TableWriter};

use crate::contents::Map;
use crate::damage::{DIR, options};

/// The file that arbitrary bytes stand in.
const HOSTILE: &str = "hostile.sst";
/// The sound table, behind whose keys few bytes come.
const SOUND: &str = "sound.sst";
/// Blocks of a table are read once or twice.
const CACHE_BYTES: u64 = 1 << 20;

/// All that the tables hold is there, and what was there beside it; or the file is refused, with an
/// error that says why, and nothing has changed.
pub fn fuzz_ingest(data: &[u8]) {
    let mut data = data.to_vec();
    let _ = lsm_sstable::fuzz::seal_all(&mut data);
    let fs = SimFs::new(0);
    let tables = [write_file(&fs, HOSTILE, &data), write_sound(&fs)];
    let db = open(&fs);
    db.put("k0/000", "old").expect("writes");
    db.flush().expect("flushes");
    db.put("k2/025", "old").expect("writes");
    let (before, files_before) = (contents(&db), files(&fs));
    match db.default_keyspace().ingest_tables(&tables) {
        Err(error) => {
            let kind = error.kind();
            assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::Invalid), "{kind:?}: {error}");
            assert_eq!(contents(&db), before, "refused: {error}");
            assert_eq!(files(&fs), files_before, "refused: {error}");
        }
        Ok(report) => {
            let (mut expected, mut entries) = (before, 0);
            for path in &tables {
                entries += lay_over(&mut expected, &fs, path, db.database_time_ms());
            }
            assert_eq!(report.entries, entries);
            assert_eq!(contents(&db), expected);
            assert!(db.verify().expect("is read").is_clean());
        }
    }
    let expected = contents(&db);
    db.compact_range::<&[u8]>(..).expect("merges");
    assert_eq!(contents(&db), expected, "after a merge");
    db.close().expect("closes");
    assert_eq!(contents(&open(&fs)), expected, "after another open");
}

fn open(fs: &SimFs) -> Db {
    Db::open_with(DIR, options(fs, lsm_engine::ReadMode::Mapped, Compression::None, 1))
        .expect("opens")
}

fn write_file(fs: &SimFs, name: &str, bytes: &[u8]) -> PathBuf {
    let file = Fs::open(fs, Path::new(name), OpenMode::CreateNew).expect("is created");
    file.write_at(0, bytes).expect("is written");
    name.into()
}

fn write_sound(fs: &SimFs) -> PathBuf {
    let file = Fs::open(fs, Path::new(SOUND), OpenMode::CreateNew).expect("is created");
    let (options, info) = (TableOptions::default(), TableInfo::default());
    let mut writer = TableWriter::new(file, Identity::default(), options, info);
    for entry in [Entry::put(b"\xFF", 1, b"sound"), Entry::delete(b"\xFF\xFF", 1)] {
        writer.add(entry, key_hash(entry.key)).expect("is written");
    }
    writer.finish().expect("is written");
    SOUND.into()
}

/// The files of the database but for its log, in which a note may stand that changes nothing.
fn files(fs: &SimFs) -> Vec<(PathBuf, u64)> {
    let is_kept = |path: &Path| path.starts_with(DIR) && path.extension() != Some("log".as_ref());
    fs.files().into_iter().filter(|(path, _)| is_kept(path)).collect()
}

fn contents(db: &Db) -> Map {
    let entries = db.iter().map(|entry| entry.expect("is read"));
    let contents: Map = entries.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    for (key, value) in &contents {
        let found = db.get(key).expect("is read");
        assert_eq!(found.as_deref(), Some(value.as_slice()), "\"{}\"", key.escape_ascii());
    }
    contents
}

/// Does to `contents` what the table's entries say, read without the engine; returns how many.
fn lay_over(contents: &mut Map, fs: &SimFs, path: &Path, now_ms: u64) -> u64 {
    let table = open_table(Fs::open(fs, path, OpenMode::Read).expect("is there")).expect("opens");
    let mut cursor = table.cursor();
    cursor.seek_first().expect("is read");
    let mut entries = 0;
    while let Some(entry) = cursor.entry() {
        let is_over = entry.expires_at_ms().is_some_and(|expires_at_ms| expires_at_ms <= now_ms);
        match entry.kind() {
            ValueKind::Put if !is_over => {
                contents.insert(entry.key.to_vec(), entry.user_value().to_vec());
            }
            _ => drop(contents.remove(entry.key)),
        }
        entries += 1;
        cursor.next().expect("is read");
    }
    entries
}

fn open_table(file: SharedFile) -> lsm_io::Result<Arc<Table>> {
    let (identity, bytes) = (Table::read_identity(&file)?, file.len()?);
    Table::open(file, identity, bytes, ReadMode::Cached(BlockCache::new(CACHE_BYTES)))
}
