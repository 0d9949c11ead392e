//! Counts the words of a text, and still knows every count of every earlier moment.
//!
//! `cargo run -p lsm-memtable --example word_count` counts those of the crate's README,
//! `... --example word_count - < file` those of a file.
//!
//! The nth word of the text is written with the sequence number n. So each count is a new version
//! of its word, and a read "as of" n answers as if the text ended there.

use std::error::Error;
use std::sync::Arc;

use lsm_entry::{Cursor, Entry, MAX_SEQ_NO, SeqNo, key_hash};
use lsm_memtable::{Memtable, MemtableOptions};

/// Words printed: those that occur most often.
const SHOWN: usize = 12;

fn main() -> Result<(), Box<dyn Error>> {
    let text = match std::env::args().nth(1).as_deref() {
        Some("-") => std::io::read_to_string(std::io::stdin())?,
        _ => include_str!("../README.md").to_owned(),
    };
    let words: Vec<String> = words(&text).collect();
    let counts = count(&words);
    let (end, half) = (words.len() as SeqNo, words.len() as SeqNo / 2);

    let mut common = in_order(&counts);
    println!("{end} words, {} different ones, in {} entries", common.len(), counts.entries());
    // Words of the same count stay in their order, as the sort is stable.
    common.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    common.truncate(SHOWN);
    common.sort();
    println!("{:>16} {:>9} {:>9}", "in order", "halfway", "at last");
    for (word, count) in &common {
        println!("{word:>16} {:>9} {count:>9}", count_of(&counts, word, half));
    }
    Ok(())
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|letter: char| !letter.is_alphabetic())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// Writes one version of a word's count for each time that the word occurs.
fn count(words: &[String]) -> Arc<Memtable> {
    // What the options say suffices: 64 bytes an entry, beside key and value.
    let bytes: usize = words.iter().map(|word| word.len() + size_of::<u64>()).sum();
    let capacity_bytes = bytes + 64 * words.len();
    let options = MemtableOptions { capacity_bytes, ..MemtableOptions::default() };
    let counts = Arc::new(Memtable::new(options));
    let mut writer = counts.writer();
    for (word, moment) in words.iter().zip(1..) {
        let count = (count_of(&counts, word, MAX_SEQ_NO) + 1).to_le_bytes();
        writer.insert(Entry::put(word.as_bytes(), moment, &count), key_hash(word.as_bytes()));
    }
    drop(writer);
    counts
}

/// How often a word had occurred at a moment: a point read.
fn count_of(counts: &Memtable, word: &str, moment: SeqNo) -> u64 {
    let key = word.as_bytes();
    counts.get(key, key_hash(key), moment).map_or(0, |entry| as_count(&entry))
}

/// Every word with its last count, in order: a walk that skips older versions.
fn in_order(counts: &Arc<Memtable>) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut cursor = counts.cursor();
    let Ok(()) = cursor.seek_first();
    while let Some(entry) = cursor.entry() {
        let word = String::from_utf8_lossy(entry.key).into_owned();
        found.push((word, as_count(&entry)));
        // Sequence number 0 comes after every version of the word.
        let key = entry.key.to_vec();
        let Ok(()) = cursor.seek(&key, 0);
    }
    found
}

fn as_count(entry: &Entry<'_>) -> u64 {
    entry.value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
