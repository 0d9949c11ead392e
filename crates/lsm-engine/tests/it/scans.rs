//! Scans and snapshots beside writers, flushes and compactions.

use lsm_engine::{Db, Durability, KeyspaceOptions, Options, ReadMode, Reads, Scan, Step};
use lsm_io::{SimFs, every};

use crate::{key, open, tiny_options};

/// A digest of everything that a scan yields.
fn digest(
    entries: impl Iterator<Item = lsm_engine::Result<(lsm_engine::Key, lsm_engine::Value)>>,
) -> (usize, u64) {
    let mut checksum = lsm_io::checksum::Xxh3::new();
    let mut count = 0;
    for entry in entries {
        let (key, value) = entry.expect("reads");
        checksum.update(&key);
        checksum.update(&value);
        count += 1;
    }
    (count, checksum.finish())
}

#[test]
fn an_iterator_over_a_snapshot_lives_through_flushes_and_compactions() {
    let db = open(&SimFs::new(0));
    for n in 0..2000 {
        db.put_with(key(n), format!("old {n}"), Durability::Memory.into()).expect("writes");
    }
    let snapshot = db.snapshot();
    let before = digest(snapshot.iter());
    let mut during = snapshot.iter();
    let mut seen = vec![during.next().expect("one")];
    let (mut flushes, mut n) = (0, 0);
    while db.metrics().flushes < 20 + flushes || db.metrics().compactions < 5 {
        flushes = 0;
        db.put_with(key(n % 2000), format!("new {n}"), Durability::Memory.into()).expect("writes");
        db.delete_with(key((n * 7) % 2000), Durability::Memory.into()).expect("deletes");
        n += 1;
        if n % 200 == 0 {
            db.step(Step::Flush).expect("flushes");
            db.step(Step::Compact).expect("merges");
            db.step(Step::Log).expect("removes");
            seen.extend(during.next());
        }
    }
    seen.extend(during);
    assert_eq!(digest(seen.into_iter()), before, "the scan that was under way");
    assert_eq!(digest(snapshot.iter()), before, "a scan from the start");
    assert_eq!(digest(snapshot.iter().rev()).0, before.0);
    let memory = db.metrics().memory;
    assert!(memory.active_memtable_bytes + memory.sealed_memtable_bytes < 4 << 20);
}

#[test]
fn an_old_scan_pins_no_file() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    for n in 0..3000 {
        db.put_with(key(n), "1", Durability::Memory.into()).expect("writes");
    }
    db.flush().expect("flushes");
    let mut cursor = db.cursor();
    cursor.seek_first().expect("seeks");
    db.compact_range::<&[u8]>(..).expect("merges");
    for _ in 0..1000 {
        cursor.next().expect("moves on");
    }
    db.settle().expect("removes files");
    let tables: usize = db.default_keyspace().shape().runs.iter().map(|run| run.tables.len()).sum();
    let files =
        fs.files().iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "sst")).count();
    assert_eq!(files, tables, "the scan has moved to the present view");
}

#[test]
fn both_ends_of_a_scan_meet_once() {
    let db = open(&SimFs::new(0));
    for n in 0..10 {
        db.put(key(n), "x").expect("writes");
    }
    let mut scan = db.iter();
    let mut seen = Vec::new();
    while let Some(entry) = scan.next() {
        seen.push(entry.expect("reads").0);
        seen.extend(scan.next_back().map(|entry| entry.expect("reads").0));
    }
    seen.sort();
    assert_eq!(seen, (0..10).map(key).collect::<Vec<_>>());
    assert!(scan.next().is_none() && scan.next_back().is_none());
}

#[test]
fn ranges_take_every_kind_of_bound() {
    let db = open(&SimFs::new(0));
    for key in ["a", "b", "c", "d"] {
        db.put(key, key).expect("writes");
    }
    let keys = |scan: Scan| {
        db.scan(scan)
            .map(|e| String::from_utf8(e.expect("reads").0.to_vec()).expect("text"))
            .collect::<String>()
    };
    assert_eq!(keys(Scan::range("b".."d")), "bc");
    assert_eq!(keys(Scan::range("b"..="d")), "bcd");
    assert_eq!(keys(Scan::range::<&str>(.."c")), "ab");
    assert_eq!(keys(Scan::range("bb"..)), "cd");
    assert_eq!(keys(Scan::all()), "abcd");
    assert_eq!(keys(Scan::range("d".."b")), "");
    assert_eq!(db.first().expect("reads").expect("one").0, "a");
    assert_eq!(db.last().expect("reads").expect("one").0, "d");
}

#[test]
fn deleted_data_leaves_the_disk_once_no_snapshot_needs_it() {
    let db = open(&SimFs::new(0));
    for n in 0..2000 {
        db.put_with(key(n), vec![0; 50], Durability::Memory.into()).expect("writes");
    }
    let snapshot = db.snapshot();
    for n in 0..2000 {
        db.delete_with(key(n), Durability::Memory.into()).expect("deletes");
    }
    db.compact_range::<&[u8]>(..).expect("merges");
    assert_eq!(snapshot.iter().count(), 2000, "the snapshot keeps them");
    drop(snapshot);
    db.compact_range::<&[u8]>(..).expect("merges");
    assert_eq!(db.metrics().table_bytes(), 0, "nothing is left");
}

#[test]
fn a_cursor_is_at_no_entry_after_an_error() {
    let fs = SimFs::new(1);
    let options = tiny_options(&fs);
    let options = Options { read_mode: ReadMode::Cached, cache_bytes: Some(0), ..options };
    let db = Db::open_with("db", options).expect("opens");
    for n in 0..500 {
        db.put(key(n), [b'v'; 50]).expect("writes");
    }
    db.compact_range::<&[u8]>(..).expect("merges");
    type Movement = dyn Fn(&mut lsm_engine::EntryCursor) -> lsm_engine::Result<()>;
    let steps: [&Movement; 4] = [
        &|cursor| cursor.next(),
        &|cursor| cursor.prev(),
        &|cursor| cursor.seek(key(499)),
        &|cursor| cursor.seek_for_prev(key(1)),
    ];
    // From every place in a block, in either direction, so that some turn round at its edge.
    for (n, step) in (250..270).flat_map(|n| steps.map(|step| (n, step))) {
        for begins_forward in [true, false] {
            let mut cursor = db.cursor();
            let begun =
                if begins_forward { cursor.seek(key(n)) } else { cursor.seek_for_prev(key(n)) };
            begun.expect("seeks");
            assert_eq!(cursor.key(), Some(key(n).as_slice()));
            fs.fail(every().read_of("*.sst"));
            let mut steps = (0..500).map(|_| step(&mut cursor));
            steps.find_map(Result::err).expect("a block has to be read");
            assert_eq!(cursor.key(), None);
            cursor.next().expect("stays there");
            cursor.prev().expect("stays there");
            assert_eq!(cursor.key(), None);
            fs.heal();
            cursor.seek(key(7)).expect("reads again");
            assert_eq!(cursor.key(), Some(key(7).as_slice()));
        }
    }
}

#[test]
fn readers_and_writers_on_threads_agree_on_every_moment() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options {
        memtable_bytes: Some(256 << 10),
        durability: Durability::Memory,
        keyspace: KeyspaceOptions { block_bytes: 512, ..KeyspaceOptions::default() },
        ..Options::default()
    };
    let db = Db::open_with(dir.path(), options).expect("opens");
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Every batch sets all ten keys to one number: a reader must never see two.
            for round in 0..20_000u32 {
                let mut batch = lsm_engine::WriteBatch::new();
                for n in 0..10 {
                    batch.put(key(n), round.to_be_bytes());
                    batch.put(key(100 + round % 5000), vec![1; 20]);
                }
                db.write(&batch).expect("writes");
            }
            is_done.store(true, std::sync::atomic::Ordering::Release);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let mut newest = Vec::new();
                while !is_done.load(std::sync::atomic::Ordering::Acquire) {
                    let rounds: Vec<_> =
                        db.range(key(0)..key(10)).map(|e| e.expect("reads").1.to_vec()).collect();
                    assert!(rounds.windows(2).all(|pair| pair[0] == pair[1]), "{rounds:?}");
                    let snapshot = db.snapshot();
                    let one = snapshot.get(key(3)).expect("reads");
                    assert_eq!(one, snapshot.get(key(8)).expect("reads"));
                    if let Some(round) = one {
                        assert!(round.to_vec() >= newest, "time goes forward");
                        newest = round.to_vec();
                    }
                }
            });
        }
    });
    drop(db);
}

#[test]
fn history_and_explain_miss_nothing_beside_flushes() {
    let db = open(&SimFs::new(0));
    db.put("key", 0u32.to_be_bytes()).expect("writes");
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let keyspace = db.default_keyspace();
            while !is_done.load(std::sync::atomic::Ordering::Acquire) {
                let before = db.get("key").expect("reads").expect("always there").to_vec();
                let versions = keyspace.history("key").expect("reads");
                assert!(*versions.first().expect("one").value >= *before);
                let explained = keyspace.explain("key").expect("reads").value;
                assert!(*explained.expect("always there") >= *before);
            }
        });
        for round in 1..3000u32 {
            db.put("key", round.to_be_bytes()).expect("writes");
            db.flush().expect("flushes");
            db.step(Step::Compact).expect("merges");
        }
        is_done.store(true, std::sync::atomic::Ordering::Release);
    });
}
