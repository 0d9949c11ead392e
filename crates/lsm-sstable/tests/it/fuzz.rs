//! Arbitrary bytes: no panic, no memory beyond bounds, a typed error or some answer.

use lsm_entry::{Cursor, Entry, OwnedEntry, Tag};
use lsm_sstable::Compression;
use lsm_sstable::fuzz::{fuzz_block, fuzz_sealed_table, fuzz_table};

use crate::support::{Disk, PATH, Rng, compressions, modes, put, small_blocks};

/// Tables of an earlier day. They must stay readable for ever, and are what fuzzing starts from.
const CORPUS: [&[u8]; 3] = [
    include_bytes!("../corpus/none.sst"),
    include_bytes!("../corpus/lz4.sst"),
    include_bytes!("../corpus/zstd.sst"),
];

/// The first of them as it is written today: with a count of what expires.
const TODAY: &[u8] = include_bytes!("../corpus/counted.sst");

/// What the tables of the corpus hold: versions, tombstones, expiries, lengths of all kinds.
fn entries() -> Vec<OwnedEntry> {
    let mut entries: Vec<OwnedEntry> = Vec::new();
    for n in 0..40_u64 {
        let key = format!("k{}/{n:03}", n / 10);
        entries.push(put(&key, 1000 + n, vec![n as u8; (n as usize * 7) % 50]));
        if n % 7 == 1 {
            let (key, tag) = (key.clone().into(), Tag::PUT.with_expiry());
            entries.push(OwnedEntry { key, seq_no: 1, tag, value: vec![9; 12] });
        }
        if n % 5 == 0 {
            entries.push(Entry::delete(key.as_bytes(), 0).into());
        }
    }
    entries
}

fn write(compression: Compression) -> Disk {
    Disk::write_with(&entries(), &[(b"k1", b"k2", 5)], small_blocks(compression))
}

#[test]
fn tables_of_an_earlier_day_are_read() {
    assert_eq!(write(Compression::None).bytes(), TODAY, "the format has changed");
    for (compression, kept) in compressions().into_iter().zip(CORPUS) {
        // The same but for what a compressor of another day makes of it.
        let mut disk = write(compression);
        disk.fs.damage(PATH, |bytes| *bytes = kept.to_vec());
        disk.summary.bytes = kept.len() as u64;
        for mode in modes() {
            let table = disk.open(mode).expect("opens");
            table.verify().expect("verifies");
            let mut cursor = table.cursor();
            cursor.seek_first().expect("reads");
            for entry in &entries() {
                assert_eq!(cursor.entry(), Some(entry.as_entry()));
                cursor.next().expect("reads");
            }
            assert_eq!(cursor.entry(), None);
            assert_eq!(table.range_deletes().weight(), 1);
        }
    }
}

/// Changes a few bytes, favouring values that stand for something.
fn mutate(bytes: &mut [u8], rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        let at = rng.below(bytes.len());
        let Some(byte) = bytes.get_mut(at) else { return };
        *byte = match rng.below(5) {
            0 => 0,
            1 => 0xFF,
            2 => byte.wrapping_add(1),
            3 => *byte ^ (1 << rng.below(8)),
            _ => rng.next() as u8,
        };
    }
}

#[test]
fn tables_of_arbitrary_bytes_do_no_harm() {
    let mut rng = Rng(1);
    for table in CORPUS {
        fuzz_table(table);
        fuzz_sealed_table(table);
        for _ in 0..1500 {
            let mut mutated = table.to_vec();
            mutate(&mut mutated, &mut rng);
            fuzz_table(&mutated);
            fuzz_sealed_table(&mutated);
        }
        for length in 0..table.len() {
            fuzz_sealed_table(&table[table.len() - length..]);
        }
    }
}

#[test]
fn tails_of_arbitrary_bytes_do_no_harm() {
    // The sections decide what is read and how much: most of the mischief is to be done there.
    let mut rng = Rng(2);
    for table in CORPUS {
        let tail = table.len() - table.len() / 3;
        for _ in 0..3000 {
            let mut mutated = table.to_vec();
            mutate(&mut mutated[tail..], &mut rng);
            fuzz_sealed_table(&mutated);
        }
    }
}

#[test]
fn blocks_of_arbitrary_bytes_do_no_harm() {
    let mut rng = Rng(3);
    for length in 0..200 {
        let noise: Vec<u8> = (0..length).map(|_| rng.next() as u8).collect();
        fuzz_block(&noise);
        fuzz_table(&noise);
    }
    let plain = CORPUS[0];
    // The first block, whose header says where it ends; the rest does not matter to the decoder.
    for length in 32..300 {
        let block = &plain[..length.min(plain.len())];
        fuzz_block(block);
        for _ in 0..60 {
            let mut mutated = block.to_vec();
            mutate(&mut mutated, &mut rng);
            fuzz_block(&mutated);
        }
    }
}
