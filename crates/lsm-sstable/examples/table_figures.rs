//! What this machine makes of the crate's claims: writing, opening, point reads, scans.
//!
//! `cargo run --release -p lsm-sstable --example table_figures [entries]`
//!
//! 16-byte keys in random order, 100-byte values half of which is noise; each table is written to
//! the system's temporary directory and read back through the page cache.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lsm_entry::{Cursor, Entry, MAX_SEQ_NO, key_hash};
use lsm_io::{Identity, OpenMode, SharedFs, StdFs};
use lsm_sstable::{
    BlockCache, Compression, ReadMode, Table, TableInfo, TableOptions, TableSummary, TableWriter,
};

const KEY_BYTES: usize = 16;
const VALUE_BYTES: usize = 100;
const READS: usize = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let entries = std::env::args().nth(1).map_or(Ok(4_000_000), |count| count.parse())?;
    let fs = StdFs::shared();
    let dir = std::env::temp_dir().join(format!("lsm-sstable-figures-{}", std::process::id()));
    fs.create_dir_all(&dir)?;
    let outcome = measure_all(&fs, &dir, entries);
    fs.remove_dir_all(&dir)?;
    outcome
}

fn measure_all(fs: &SharedFs, dir: &Path, entries: usize) -> Result<(), Box<dyn Error>> {
    let mut words = Words(1);
    let mut keys: Vec<[u8; KEY_BYTES]> = (0..entries).map(|_| words.key()).collect();
    keys.sort_unstable();
    keys.dedup();

    // The first file of a size pays for memory that the machine has not touched before.
    let warm_up = dir.join("warm-up.sst");
    write(fs, &warm_up, &keys, TableOptions::default())?;
    fs.remove_file(&warm_up)?;
    let variants = [
        ("plain, mapped", TableOptions::default(), true),
        ("plain, cached", TableOptions::default(), false),
        (
            "lz4 in 16 KiB blocks, cached",
            TableOptions {
                block_bytes: 16 << 10,
                compression: Compression::Lz4,
                ..TableOptions::default()
            },
            false,
        ),
    ];
    for (name, options, is_mapped) in variants {
        println!("{name}: {} entries", keys.len());
        let path = dir.join("figures.sst");
        let start = Instant::now();
        let (summary, added) = write(fs, &path, &keys, options)?;
        let rate = |took: Duration| summary.raw_bytes as f64 / took.as_secs_f64() / 1e6;
        println!("  write              {:>8.0} MB/s of keys and values", rate(added));
        println!("  write and sync     {:>8.0} MB/s", rate(start.elapsed()));
        let stored = 100.0 * summary.bytes as f64 / summary.raw_bytes as f64;
        println!("  stored             {stored:>8.1} % of keys and values");
        let cache = BlockCache::new(2 * summary.raw_bytes);
        let mode = if is_mapped { ReadMode::Mapped(cache) } else { ReadMode::Cached(cache) };
        read(fs, &path, &keys, &summary, mode)?;
        fs.remove_file(&path)?;
    }
    Ok(())
}

fn write(
    fs: &SharedFs,
    path: &Path,
    keys: &[[u8; KEY_BYTES]],
    options: TableOptions,
) -> Result<(TableSummary, Duration), Box<dyn Error>> {
    let file = fs.open(path, OpenMode::CreateNew)?;
    let mut writer = TableWriter::new(file, Identity::default(), options, TableInfo::default());
    let mut words = Words(7);
    let mut value = [b'.'; VALUE_BYTES];
    let start = Instant::now();
    for (seq_no, key) in keys.iter().enumerate() {
        // Half of the value is noise.
        for chunk in value[..VALUE_BYTES / 2].chunks_exact_mut(10) {
            chunk[..8].copy_from_slice(&words.next().to_le_bytes());
        }
        writer.add(Entry::put(key, seq_no as u64 % 500_000, &value), key_hash(key))?;
    }
    let added = start.elapsed();
    Ok((writer.finish()?, added))
}

fn read(
    fs: &SharedFs,
    path: &Path,
    keys: &[[u8; KEY_BYTES]],
    summary: &TableSummary,
    mode: ReadMode,
) -> Result<(), Box<dyn Error>> {
    let file = fs.open(path, OpenMode::Read)?;
    let start = Instant::now();
    let table = Table::open(file, Identity::default(), summary.bytes, mode)?;
    println!("  open               {:>8.2} ms", start.elapsed().as_secs_f64() * 1e3);
    println!(
        "  held in memory     {:>8.2} % of the file",
        100.0 * table.memory_bytes() as f64 / summary.bytes as f64
    );

    scan("first touch", &table, true)?;
    scan("forward", &table, true)?;
    scan("backward", &table, false)?;
    gets("all keys", &table, keys, keys.len())?;
    gets("1,000 keys", &table, keys, 1_000)?;
    let mut words = Words(99);
    let (took, hits) = timed(READS, || table.may_contain(key_hash(&words.key())))?;
    println!(
        "  filter, absent key {:>8.1} ns, {:.2} % let through",
        nanos(took, READS),
        100.0 * hits as f64 / READS as f64
    );
    seeks(&table, keys)?;
    let start = Instant::now();
    table.verify()?;
    println!(
        "  verify             {:>8.0} MB/s",
        summary.bytes as f64 / start.elapsed().as_secs_f64() / 1e6
    );
    Ok(())
}

fn gets(
    name: &str,
    table: &Arc<Table>,
    keys: &[[u8; KEY_BYTES]],
    among: usize,
) -> Result<(), Box<dyn Error>> {
    let among = among.min(keys.len());
    let (mut words, stride) = (Words(3), keys.len() / among);
    let wanted: Vec<[u8; KEY_BYTES]> =
        (0..READS).map(|_| keys[(words.next() % among as u64) as usize * stride]).collect();
    for (how, is_filtered) in [("get", false), ("filter + get", true)] {
        let mut wanted = wanted.iter();
        let (took, hits) = timed(READS, || {
            let Some(key) = wanted.next() else { return false };
            let hash = key_hash(key);
            if is_filtered && !table.may_contain(hash) {
                return false;
            }
            let found = table.get_lent(key, hash, MAX_SEQ_NO);
            matches!(found, Ok(Some(lent)) if !lent.entry().value.is_empty())
        })?;
        assert_eq!(hits, READS, "every key is found");
        println!("  {:<18} {:>8.1} ns, {name}", how, nanos(took, READS));
    }
    Ok(())
}

fn scan(name: &str, table: &Arc<Table>, is_forward: bool) -> Result<(), Box<dyn Error>> {
    let mut cursor = table.cursor();
    let (mut count, mut bytes) = (0, 0_usize);
    let start = Instant::now();
    if is_forward {
        cursor.seek_first()?;
    } else {
        cursor.seek_last()?;
    }
    while let Some(entry) = cursor.entry() {
        count += 1;
        bytes += entry.key.len() + usize::from(entry.value[0]);
        if is_forward {
            cursor.next()?;
        } else {
            cursor.prev()?;
        }
    }
    let took = start.elapsed();
    assert!(bytes > 0);
    println!("  scan, {name:<12} {:>8.1} ns an entry", nanos(took, count));
    Ok(())
}

fn seeks(table: &Arc<Table>, keys: &[[u8; KEY_BYTES]]) -> Result<(), Box<dyn Error>> {
    let (mut words, mut cursor) = (Words(5), table.cursor());
    let count = READS / 10;
    let (took, _) = timed(count, || {
        let key = &keys[(words.next() % keys.len() as u64) as usize];
        let mut bytes = 0;
        let mut steps = cursor.seek(key, MAX_SEQ_NO).is_ok();
        for _ in 0..50 {
            bytes += cursor.entry().map_or(0, |entry| entry.value.len());
            steps &= cursor.next().is_ok();
        }
        steps && bytes > 0
    })?;
    println!("  seek + 50          {:>8.1} ns", nanos(took, count));
    Ok(())
}

fn timed(count: usize, mut run: impl FnMut() -> bool) -> Result<(Duration, usize), Box<dyn Error>> {
    let start = Instant::now();
    let hits = (0..count).filter(|_| run()).count();
    Ok((start.elapsed(), hits))
}

fn nanos(took: Duration, count: usize) -> f64 {
    took.as_nanos() as f64 / count as f64
}

/// A splitmix64 generator: the same keys and values in every run.
struct Words(u64);

impl Words {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    fn key(&mut self) -> [u8; KEY_BYTES] {
        let mut key = [0; KEY_BYTES];
        key[..8].copy_from_slice(&self.next().to_be_bytes());
        key[8..].copy_from_slice(&self.next().to_be_bytes());
        key
    }
}
