//! What a merged scan costs on this machine, by how the entries lie in their sources.
//!
//! `cargo run --release -p lsm-entry --example merge_figures [entries]`
//!
//! Values of 100 bytes, in blocks of 32 entries that are told as stretches. Every key and value is
//! touched. "flat" is the same walk over one array without any cursor.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use lsm_entry::{Cursor, Direction, Entry, MergingCursor, SeqNo, Stretch, Tag, compare_internal};

const VALUE_BYTES: usize = 100;
const BLOCK_ENTRIES: usize = 32;

fn main() {
    let argument = std::env::args().nth(1);
    let entries = argument.and_then(|text| text.parse().ok()).unwrap_or(100_000usize);
    println!("{entries} entries; nanoseconds an entry forward, backward");
    let random = |n: u64| mixed(n).to_be_bytes().repeat(2);
    let tenants = |n: u64| format!("tenant/{:04}/user/{:08}", n / 1000, n % 1000).into_bytes();
    for (keys, key) in [
        ("16 random bytes", &random as &dyn Fn(u64) -> Vec<u8>),
        ("tenant/NNNN/user/NNNNNNNN", &tenants),
    ] {
        println!("\nkeys: {keys}");
        let mut keys: Vec<Vec<u8>> = (0..entries as u64).map(key).collect();
        keys.sort();
        let all = deal(&keys, 1, |_| 0);
        let flat = best_of(|| {
            black_box((0..entries).map(|index| touched(&all[0].at(index))).sum::<usize>());
            entries
        });
        println!("  {:<44}{flat:>8.1}", "flat");
        measure("1 source", all);
        measure("2 sources, every other entry", deal(&keys, 2, |n| n % 2));
        measure("2 sources, at random", deal(&keys, 2, |n| mixed(n as u64) as usize % 2));
        measure("8 sources, at random", deal(&keys, 8, |n| mixed(n as u64) as usize % 8));
        measure("8 sources, one with 99 of 100", deal(&keys, 8, |n| one_dominates(n, 100)));
        measure("8 sources, one with 9 of 10", deal(&keys, 8, |n| one_dominates(n, 10)));
        measure("8 sources, one after the other", deal(&keys, 8, |n| n * 8 / keys.len()));
    }
}

fn one_dominates(n: usize, one_in: u64) -> usize {
    let random = mixed(n as u64);
    if random.is_multiple_of(one_in) { 1 + (random >> 32) as usize % 7 } else { 0 }
}

/// Deals sorted keys to sources.
fn deal(keys: &[Vec<u8>], sources: usize, source_of: impl Fn(usize) -> usize) -> Vec<Flat> {
    let mut dealt = vec![Flat::default(); sources];
    for (number, key) in keys.iter().enumerate() {
        dealt[source_of(number)].push(key);
    }
    dealt
}

fn measure(name: &str, sources: Vec<Flat>) {
    let mut merged = MergingCursor::new(sources);
    let [forward, backward] = [Direction::Forward, Direction::Backward]
        .map(|direction| best_of(|| walk(&mut merged, direction)));
    println!("  {name:<44}{forward:>8.1}{backward:>8.1}");
}

/// Walks over everything; says how many entries there were.
fn walk(merged: &mut MergingCursor<Flat>, direction: Direction) -> usize {
    let mut entries = 0;
    let mut sum = 0;
    let Ok(()) = match direction {
        Direction::Forward => merged.seek_first(),
        Direction::Backward => merged.seek_last(),
    };
    while let Some(entry) = merged.entry() {
        sum += touched(&entry);
        entries += 1;
        let Ok(()) = match direction {
            Direction::Forward => merged.next(),
            Direction::Backward => merged.prev(),
        };
    }
    black_box(sum);
    entries
}

/// Nanoseconds an entry of the fastest of three walks: the first pays for cold memory.
fn best_of(mut walk: impl FnMut() -> usize) -> f64 {
    let time = |_| {
        let start = Instant::now();
        let entries = walk();
        start.elapsed().as_nanos() as f64 / entries as f64
    };
    (0..3).map(time).fold(f64::INFINITY, f64::min)
}

/// Reads the first byte of the key and of the value.
fn touched(entry: &Entry<'_>) -> usize {
    let first = |bytes: &[u8]| usize::from(bytes.first().copied().unwrap_or(0));
    first(entry.key) + first(entry.value)
}

/// The finisher of splitmix64.
fn mixed(n: u64) -> u64 {
    let mut x = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Entries one behind the other, as in a table.
#[derive(Clone, Default)]
struct Flat {
    bytes: Vec<u8>,
    /// Where each entry begins, and where the last one ends.
    ends: Vec<(usize, usize)>,
    position: usize,
}

impl Flat {
    fn push(&mut self, key: &[u8]) {
        let key_start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.ends.push((key_start, self.bytes.len()));
        self.bytes.extend_from_slice(&[b'v'; VALUE_BYTES]);
    }

    fn at(&self, index: usize) -> Entry<'_> {
        let (key_start, key_end) = self.ends[index];
        let value = &self.bytes[key_end..key_end + VALUE_BYTES];
        Entry { key: &self.bytes[key_start..key_end], seq_no: 1, tag: Tag::PUT, value }
    }

    fn lower_bound(&self, key: &[u8], seq_no: SeqNo) -> usize {
        let (mut lower, mut upper) = (0, self.ends.len());
        while lower < upper {
            let middle = lower.midpoint(upper);
            let entry = self.at(middle);
            if compare_internal(entry.key, entry.seq_no, key, seq_no).is_lt() {
                lower = middle + 1;
            } else {
                upper = middle;
            }
        }
        lower
    }
}

impl Cursor for Flat {
    type Error = Infallible;

    fn seek_first(&mut self) -> Result<(), Infallible> {
        self.position = 0;
        Ok(())
    }

    fn seek_last(&mut self) -> Result<(), Infallible> {
        self.position = self.ends.len().wrapping_sub(1);
        Ok(())
    }

    fn seek(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Infallible> {
        self.position = self.lower_bound(key, seq_no);
        Ok(())
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Infallible> {
        self.seek(key, seq_no)?;
        match self.entry() {
            Some(entry) if entry.key == key && entry.seq_no == seq_no => Ok(()),
            _ => self.prev(),
        }
    }

    #[inline]
    fn next(&mut self) -> Result<(), Infallible> {
        self.position = self.position.wrapping_add(1);
        Ok(())
    }

    #[inline]
    fn prev(&mut self) -> Result<(), Infallible> {
        self.position = self.position.wrapping_sub(1);
        Ok(())
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        (self.position < self.ends.len()).then(|| self.at(self.position))
    }

    #[inline]
    fn stretch(&self, direction: Direction) -> Option<Stretch<'_>> {
        let first = self.position / BLOCK_ENTRIES * BLOCK_ENTRIES;
        let last = (first + BLOCK_ENTRIES).min(self.ends.len()) - 1;
        let (end, remaining) = match direction {
            Direction::Forward => (last, last - self.position),
            Direction::Backward => (first, self.position - first),
        };
        Some(Stretch { last_key: self.at(end).key, remaining })
    }
}
