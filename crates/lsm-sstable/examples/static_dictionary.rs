//! A dictionary in one file: built once, then looked up and browsed, with nothing of a database
//! around it.
//!
//! `cargo run -p lsm-sstable --example static_dictionary`

use std::error::Error;
use std::path::Path;

use lsm_entry::{Cursor, Entry, MAX_SEQ_NO, key_hash};
use lsm_io::{Fs, Identity, OpenMode, StdFs};
use lsm_sstable::{BlockCache, Compression, ReadMode, Table, TableInfo, TableOptions, TableWriter};

const WORDS: [(&str, &str); 8] = [
    ("bloom", "a set of hashes that may say perhaps and never wrongly no"),
    ("cursor", "a position among entries"),
    ("flush", "sealed memtable to table in level 0"),
    ("log", "what is appended before anything else is done"),
    ("run", "tables with disjoint ranges, in key order"),
    ("snapshot", "a sequence number that somebody asked to keep readable"),
    ("table", "one immutable sorted file"),
    ("tombstone", "an entry that says its key is gone"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("static-dictionary-{}", std::process::id()));
    StdFs.create_dir_all(&dir)?;
    let outcome = build_and_browse(&dir.join("words.sst"));
    StdFs.remove_dir_all(&dir)?;
    outcome
}

fn build_and_browse(path: &Path) -> Result<(), Box<dyn Error>> {
    let file = StdFs.open(path, OpenMode::CreateNew)?;
    let options = TableOptions { compression: Compression::Lz4, ..TableOptions::default() };
    let mut writer = TableWriter::new(file, Identity::default(), options, TableInfo::default());
    for (word, meaning) in WORDS {
        writer
            .add(Entry::put(word.as_bytes(), 0, meaning.as_bytes()), key_hash(word.as_bytes()))?;
    }
    let summary = writer.finish()?;
    println!("{} words in {} bytes", summary.entries, summary.bytes);

    let file = StdFs.open(path, OpenMode::Read)?;
    let mode = ReadMode::Mapped(BlockCache::new(1 << 20));
    let table = Table::open(file, Identity::default(), summary.bytes, mode)?;
    for word in ["cursor", "kangaroo"] {
        let hash = key_hash(word.as_bytes());
        // The filter answers for most words that are not there, before any block is touched.
        let found = if table.may_contain(hash) {
            table.get(word.as_bytes(), hash, MAX_SEQ_NO)?
        } else {
            None
        };
        match found {
            Some(found) => println!("{word}: {}", String::from_utf8_lossy(found.entry().value)),
            None => println!("{word}: not in this dictionary"),
        }
    }

    println!("from \"s\" on:");
    let mut cursor = table.cursor();
    cursor.seek(b"s", MAX_SEQ_NO)?;
    while let Some(entry) = cursor.entry() {
        println!("  {}", String::from_utf8_lossy(entry.key));
        cursor.next()?;
    }
    println!("every byte checked: {:?}", table.verify()?);
    Ok(())
}
