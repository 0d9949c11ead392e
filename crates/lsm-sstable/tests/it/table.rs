//! What a table keeps and tells: sizes, bounds, counts, range deletes, odd shapes.

use std::sync::Arc;

use lsm_entry::{Cursor, Entry, Expiring, MAX_SEQ_NO, OwnedEntry, Tag, key_hash};
use lsm_io::checksum::xxh3;
use lsm_io::{Fs, Identity, OpenMode, SimFs};
use lsm_sstable::{
    BlockCache, Compression, Origin, RangeDelete, ReadMode, Table, TableInfo, TableOptions,
    TableWriter,
};

use crate::support::{
    Disk, IDENTITY, PATH, Rng, cached, compressions, mapped, modes, put, small_blocks,
};

fn numbered(count: u32, value_bytes: usize) -> Vec<OwnedEntry> {
    (0..count).map(|n| put(format!("key{n:06}"), 5, vec![b'v'; value_bytes])).collect()
}

#[track_caller]
fn check_get(table: &Arc<Table>, entry: &OwnedEntry) {
    let found = table.get(&entry.key, key_hash(&entry.key), MAX_SEQ_NO).expect("reads");
    assert_eq!(found.as_ref().map(|found| found.entry()), Some(entry.as_entry()));
}

#[test]
fn a_table_of_range_deletes_alone_works() {
    for mode in modes() {
        let range_deletes: [(&[u8], &[u8], u64); 3] =
            [(b"m", b"p", 9), (b"a", b"c", 4), (b"x", b"x", 5)];
        let disk = Disk::write_with(&[], &range_deletes, TableOptions::default());
        let table = disk.open(mode).expect("opens");
        let expected = |lower: &[u8], upper: &[u8], seq_no| RangeDelete {
            lower: lower.to_vec(),
            upper: upper.to_vec(),
            seq_no,
        };
        assert_eq!(
            table.range_deletes().range_deletes(),
            [expected(b"a", b"c", 4), expected(b"m", b"p", 9)],
            "in order, and without the one that covers nothing",
        );
        assert_eq!(table.range_deletes().cover(b"b", MAX_SEQ_NO), 4);
        assert_eq!(table.get(b"b", key_hash(b"b"), MAX_SEQ_NO).expect("reads").map(drop), None);
        assert!(table.may_contain(key_hash(b"b")), "no filter, no answer");
        let mut cursor = table.cursor();
        cursor.seek_first().expect("seeks");
        assert_eq!(cursor.entry(), None);
        cursor.seek_for_prev(b"z", 0).expect("seeks");
        assert_eq!(cursor.entry(), None);
        assert_eq!(table.find_block(b"a"), None);
        table.verify().expect("verifies");

        let summary = disk.summary;
        assert_eq!((summary.lower.as_slice(), summary.upper.as_slice()), (&b"a"[..], &b"p"[..]));
        assert_eq!((summary.seq_no_min, summary.seq_no_max), (4, 9));
        assert_eq!((summary.entries, summary.range_deletes), (0, 2));
    }
}

#[test]
fn a_table_of_nothing_works() {
    let disk = Disk::write(&[], TableOptions::default());
    for mode in modes() {
        let table = disk.open(mode).expect("opens");
        assert_eq!(table.blocks().len(), 0);
        assert_eq!(table.verify().expect("verifies").entries, 0);
        assert_eq!(table.properties().seq_nos(), 0..=0);
    }
}

#[test]
fn the_summary_tells_what_was_written() {
    let mut entries = numbered(50, 10);
    entries[7].tag = Tag::PUT.with_expiry();
    entries[7].value = 1234_u64.to_le_bytes().to_vec();
    entries[8] = Entry::delete(&entries[8].key, 99).into();
    let disk = Disk::write(&entries, small_blocks(Compression::Lz4));
    let (bytes, summary) = (disk.bytes(), &disk.summary);
    assert_eq!((summary.bytes, summary.checksum), (bytes.len() as u64, xxh3(&bytes)));
    assert_eq!(summary.lower, b"key000000");
    assert_eq!(summary.upper, b"key000049");
    assert_eq!((summary.seq_no_min, summary.seq_no_max), (5, 99));
    assert_eq!((summary.entries, summary.tombstones, summary.densest_tombstones), (50, 1, 1));
    assert_eq!(summary.raw_bytes, 50 * 9 + 48 * 10 + 8);
    assert_eq!((summary.expiry_min_ms, summary.expiry_max_ms), (Some(1234), None));
    let expiring = Expiring { entries: 1, bytes: 9 + 8, last_ms: 1234 };
    assert_eq!(summary.expiring, Some(expiring));
    let table = disk.open(mapped()).expect("opens");
    let expiring: Vec<usize> = table
        .blocks()
        .filter(|block| block.expiry_min_ms == Some(1234))
        .map(|block| block.number)
        .collect();
    assert_eq!(expiring.len(), 1, "one block holds the entry that expires");
    assert_eq!(table.blocks().map(|block| block.entries).sum::<u32>(), 50);
    assert_eq!(table.blocks().map(|block| block.tombstones).sum::<u32>(), 1);
    assert_eq!(table.blocks().filter(|block| block.seq_no_max == 99).count(), 1);
    assert_eq!(table.blocks().filter(|block| block.seq_no_min == 5).count(), table.blocks().len());
}

#[test]
fn an_expiry_range_is_known_when_all_entries_expire() {
    let expiring = |n: u64| OwnedEntry {
        key: n.to_be_bytes().to_vec(),
        seq_no: n,
        tag: Tag::PUT.with_expiry(),
        value: (1000 + n).to_le_bytes().to_vec(),
    };
    let entries: Vec<OwnedEntry> = (0..20).map(expiring).collect();
    let disk = Disk::write(&entries, TableOptions::default());
    assert_eq!((disk.summary.expiry_min_ms, disk.summary.expiry_max_ms), (Some(1000), Some(1019)));
    let table = disk.open(mapped()).expect("opens");
    let block = table.blocks().next().expect("a block");
    assert_eq!((block.expiry_min_ms, block.expiry_max_ms), (Some(1000), Some(1019)));
    assert_eq!(disk.summary.expiring, None, "what all of them do needs no count");
    table.verify().expect("verifies");
}

#[test]
fn properties_come_back_as_they_were_given() {
    let fs = SimFs::new(0);
    let file = fs.open(PATH.as_ref(), OpenMode::CreateNew).expect("a new file");
    let info = TableInfo {
        keyspace_id: 3,
        keyspace_name: "users".into(),
        origin: Origin::Compaction,
        made_from: vec![4, 5, 1_000_000],
        ancestors: vec![2, 3],
        created_ms: 1_700_000_000_000,
    };
    let mut writer =
        TableWriter::new(file.clone(), IDENTITY, TableOptions::default(), info.clone());
    writer.add(Entry::put(b"key", 1, b"value"), key_hash(b"key")).expect("written");
    assert_eq!((writer.entries(), writer.last_key()), (1, Some(&b"key"[..])));
    let bytes = writer.finish().expect("written").bytes;
    let table = Table::open(file, IDENTITY, bytes, cached()).expect("opens");
    let properties = table.properties();
    assert_eq!(properties.info, info);
    assert_eq!((properties.raw_bytes, properties.largest_entry_bytes), (8, 8));
    assert_eq!(properties.compression, "none");
    assert_eq!(properties.filter_bits_per_key, Some(10.0));
    assert_eq!((table.identity(), table.bytes()), (IDENTITY, bytes));
}

#[test]
fn large_entries_get_blocks_of_their_own_and_huge_ones_are_not_compressed() {
    let mut entries = numbered(30, 50);
    entries[3].value = vec![b'x'; 10_000];
    entries[4].value = vec![b'y'; (1 << 20) + 1];
    entries[20].value = vec![b'z'; 200_000];
    for compression in compressions() {
        let options = TableOptions { compression, ..TableOptions::default() };
        let disk = Disk::write(&entries, options);
        for mode in modes() {
            let table = disk.open(mode).expect("opens");
            entries.iter().for_each(|entry| check_get(&table, entry));
            table.verify().expect("verifies");
            let alone: Vec<_> = table.blocks().filter(|block| block.entries == 1).collect();
            assert_eq!(alone.len(), 3, "{compression}");
            assert_eq!(alone[1].compression, "none", "{compression}: a value above 1 MiB");
            let expected = compression.to_string().replace("(1)", "");
            assert_eq!(alone[0].compression, expected, "{compression}: a large one");
        }
    }
}

#[test]
fn a_value_outlives_the_table_and_the_cache_it_came_from() {
    let entries = numbered(300, 100);
    for compression in compressions() {
        let disk = Disk::write(&entries, small_blocks(compression));
        for mode in modes() {
            let table = disk.open(mode).expect("opens");
            let hash = key_hash(b"key000123");
            let found = table.get(b"key000123", hash, MAX_SEQ_NO).expect("reads").expect("there");
            drop(table);
            let value = found.pin_value();
            drop(found);
            assert_eq!(*value.clone(), [b'v'; 100]);
        }
    }
}

#[test]
fn compression_pays_and_the_filter_keeps_its_word() {
    let entries = numbered(20_000, 100);
    let disks: Vec<Disk> = compressions()
        .into_iter()
        .map(|compression| {
            let options =
                TableOptions { compression, block_bytes: 16 << 10, ..TableOptions::default() };
            Disk::write(&entries, options)
        })
        .collect();
    for disk in &disks[1..] {
        assert!(disk.summary.bytes * 4 < disks[0].summary.bytes);
    }
    let table = disks[0].open(mapped()).expect("opens");
    assert!(entries.iter().all(|entry| table.may_contain(key_hash(&entry.key))));
    let mut rng = Rng(4);
    let absent = (0..20_000).filter(|_| table.may_contain(rng.next())).count();
    assert!(absent < 20_000 * 2 / 100, "{absent} of 20000 absent keys pass");
}

#[test]
fn an_estimate_is_near_the_file_that_comes_of_it() {
    let fs = SimFs::new(0);
    let file = fs.open(PATH.as_ref(), OpenMode::CreateNew).expect("a new file");
    let options = TableOptions::default();
    let mut writer = TableWriter::new(file, Identity::default(), options, TableInfo::default());
    for entry in numbered(20_000, 100) {
        writer.add(entry.as_entry(), key_hash(&entry.key)).expect("written");
    }
    let estimate = writer.estimated_bytes();
    let actual = writer.finish().expect("written").bytes;
    assert!(estimate.abs_diff(actual) * 50 < actual, "{estimate} is not {actual}");
}

#[test]
fn a_full_block_of_fixed_sizes_wastes_little() {
    let keys = (0..40_000_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut entries: Vec<OwnedEntry> =
        keys.map(|n| put([n.to_be_bytes(), n.to_le_bytes()].concat(), 9, vec![1; 100])).collect();
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    let disk = Disk::write(
        &entries,
        TableOptions { filter_bits_per_key: None, ..TableOptions::default() },
    );
    let overhead = disk.summary.bytes as f64 / disk.summary.raw_bytes as f64 - 1.0;
    assert!(overhead < 0.085, "{:.1} % more than keys and values", overhead * 100.0);
    let table = disk.open(mapped()).expect("opens");
    let on_page = table.blocks().filter(|block| block.offset % 4096 == 0).count();
    assert!(on_page * 10 > table.blocks().len() * 9, "blocks start where pages do");
}

#[test]
fn memory_beside_a_mapped_file_is_small() {
    let disk = Disk::write(&numbered(50_000, 100), TableOptions::default());
    let [mapped, cached, ..] = modes();
    let mapped = disk.open(mapped).expect("opens").memory_bytes();
    let cached = disk.open(cached).expect("opens").memory_bytes();
    assert!(mapped * 100 < disk.summary.bytes, "{mapped} of {}", disk.summary.bytes);
    assert!(mapped < cached && cached * 25 < disk.summary.bytes);
}

#[test]
fn find_block_names_the_block_that_would_hold_a_key() {
    let disk = Disk::write(&numbered(100, 20), small_blocks(Compression::None));
    let table = disk.open(mapped()).expect("opens");
    let block = table.find_block(b"key000050").expect("a block");
    assert!(block.last_key >= &b"key000050"[..]);
    let before = table.blocks().nth(block.number - 1).expect("not the first");
    assert!(before.last_key < &b"key000050"[..]);
    assert_eq!(table.find_block(b"").map(|block| block.number), Some(0));
    assert_eq!(table.find_block(b"l"), None);
}

#[test]
fn many_tables_share_one_cache_within_its_budget() {
    let entries = numbered(2000, 100);
    let cache = BlockCache::new(100_000);
    let disks: Vec<Disk> = (0..3)
        .map(|_| {
            Disk::write(
                &entries,
                TableOptions { compression: Compression::Lz4, ..TableOptions::default() },
            )
        })
        .collect();
    let tables: Vec<Arc<Table>> = disks
        .iter()
        .map(|disk| disk.open(ReadMode::Mapped(Arc::clone(&cache))).expect("opens"))
        .collect();
    for entry in &entries {
        tables.iter().for_each(|table| check_get(table, entry));
        assert!(cache.used_bytes() <= 100_000);
    }
    assert!(cache.hits() > 0 && cache.misses() > 0);
}

#[test]
fn entries_out_of_order_or_there_twice_are_refused() {
    for second in ["a", "b"] {
        let fs = SimFs::new(0);
        let file = fs.open(PATH.as_ref(), OpenMode::CreateNew).expect("a new file");
        let mut writer =
            TableWriter::new(file, IDENTITY, TableOptions::default(), Default::default());
        let add = |writer: &mut TableWriter, key: &str| {
            writer.add(Entry::put(key.as_bytes(), 1, b""), key_hash(key.as_bytes()))
        };
        add(&mut writer, "b").expect("the first one");
        let error = add(&mut writer, second).expect_err("does not follow");
        assert!(error.is_corrupt() && error.to_string().contains("strictly ascending"), "{error}");
    }
}

#[test]
fn a_key_longer_than_the_format_can_say_is_refused() {
    let fs = SimFs::new(0);
    let file = fs.open(PATH.as_ref(), OpenMode::CreateNew).expect("a new file");
    let mut writer =
        TableWriter::new(file, IDENTITY, TableOptions::default(), TableInfo::default());
    let longest = vec![b'k'; lsm_entry::MAX_KEY_BYTES];
    writer.add(Entry::put(&longest, 1, b"v"), key_hash(&longest)).expect("just fits");
    let longer = vec![b'k'; lsm_entry::MAX_KEY_BYTES + 1];
    let refusal = writer.add(Entry::put(&longer, 1, b"v"), key_hash(&longer)).expect_err("refused");
    assert_eq!(refusal.io_kind(), Some(std::io::ErrorKind::InvalidInput));
    writer.add_range_delete(b"a", &longer, 1).expect("a bound may follow the longest key");
    let longest_bound = vec![b'k'; lsm_entry::MAX_KEY_BYTES + 2];
    assert!(writer.add_range_delete(b"a", &longest_bound, 1).is_err());
    let range: (&[u8], &[u8]) = (b"a", b"b");
    writer.add_range_delete(range.0, range.1, 1).expect("written");
    writer.finish().expect("written");
}
