//! What is counted, measured, and written down for others to read.

use std::collections::{BTreeMap, BTreeSet};

use lsm_engine::{CheckpointOptions, Db, Durability, Options, ReadMode, Reads, Step};
use lsm_io::{CrashPolicy, SimFs};

use crate::{key, open, threaded, tiny_options};

/// A database in which everything has happened that is counted.
fn busy(fs: &SimFs) -> Db {
    let db = Db::open_with("db", Options { read_mode: ReadMode::Cached, ..tiny_options(fs) });
    let db = db.expect("opens");
    for n in 0..3000 {
        let durability = if n % 8 == 0 { Durability::Disk } else { Durability::Memory };
        db.put_with(key(n * 7 % 1500), [n as u8; 100], durability.into()).expect("writes");
        db.get(key(n)).expect("reads");
        while db.step(Step::Compact).expect("merges") {}
    }
    for n in 0..3000 {
        db.cursor().seek(key(n)).expect("seeks");
    }
    db
}

/// A page in Prometheus' format: kinds by family, and values by name with labels.
#[derive(Debug, Default)]
struct Parsed {
    kinds: BTreeMap<String, String>,
    values: BTreeMap<String, f64>,
}

/// Reads a page as strictly as the format is written down.
#[track_caller]
fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let mut family = String::new();
    let mut helped = BTreeSet::new();
    assert!(text.ends_with('\n'), "the last line ends too");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a text");
            assert!(!help.is_empty() && helped.insert(name), "{line}: once, and saying something");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a kind");
            assert!(helped.contains(name), "{line}: its help comes before it");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            family = name.to_owned();
            assert!(parsed.kinds.insert(family.clone(), kind.into()).is_none(), "{line}: twice");
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            let bare = name.split('{').next().expect("a name");
            assert!(bare.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
            let of_histogram = ["_bucket", "_sum", "_count"];
            let is_ours = bare == family
                || parsed.kinds[&family] == "histogram"
                    && of_histogram.iter().any(|end| bare.strip_suffix(end) == Some(&family));
            assert!(is_ours, "{line}: under {family}");
            if let Some((_, labels)) = name.split_once('{') {
                let labels = labels.strip_suffix("\"}").expect("closed");
                assert!(
                    labels.split_once("=\"").is_some_and(|(_, is)| !is.contains('"')),
                    "{line}"
                );
            }
            let value = value.parse().unwrap_or_else(|_| panic!("{line}: no number"));
            assert!(parsed.values.insert(name.into(), value).is_none(), "{line}: twice");
        }
    }
    parsed
}

#[test]
fn what_prometheus_reads_is_what_was_counted() {
    let db = busy(&SimFs::new(0));
    let metrics = db.metrics();
    let parsed = parse(&metrics.to_prometheus());
    let value = |name: &str| parsed.values[name];
    assert_eq!(value("lsm_entries_written_total") as u64, 3000);
    assert_eq!(value("lsm_durable_seq_no") as u64, metrics.durable);
    assert_eq!(value("lsm_flushes_total") as u64, metrics.flushes);
    assert_eq!(value("lsm_memory_bytes{kind=\"cache\"}") as u64, metrics.memory.cache_bytes);
    let flushed = value("lsm_disk_written_bytes_total{cause=\"flush\"}");
    assert_eq!(flushed as u64, metrics.flush_bytes_written);
    assert_eq!(value("lsm_level_tables{level=\"1\"}") as usize, metrics.levels[1].tables);
    assert_eq!(value("lsm_get_seconds_count") as u64, metrics.times.get.count());
    let infinite = value("lsm_get_seconds_bucket{le=\"+Inf\"}");
    assert_eq!(infinite, value("lsm_get_seconds_count"));
    assert!((value("lsm_get_seconds_sum") - metrics.times.get.total().as_secs_f64()).abs() < 1e-9);
}

#[test]
fn the_buckets_of_a_histogram_ascend() {
    let text = busy(&SimFs::new(0)).metrics().to_prometheus();
    let buckets: Vec<(f64, f64)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("lsm_flush_seconds_bucket{le=\""))
        .map(|line| line.split_once("\"} ").expect("a bucket"))
        .map(|(end, count)| (end.parse().expect("a number"), count.parse().expect("a number")))
        .collect();
    assert!(buckets.len() > 10 && buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
    assert!(buckets.last().is_some_and(|(end, count)| end.is_infinite() && *count > 0.0));
}

#[test]
fn everything_that_happens_is_counted() {
    let metrics = busy(&SimFs::new(0)).metrics();
    assert_eq!(metrics.lookups, 6000);
    // One in 256 of each; they take turns.
    assert!((9..16).contains(&metrics.times.get.count()), "{}", metrics.times.get.count());
    assert!((9..16).contains(&metrics.times.seek.count()), "{}", metrics.times.seek.count());
    assert!((9..16).contains(&metrics.times.write.count()), "{}", metrics.times.write.count());
    assert_eq!(metrics.times.sync.count(), metrics.log_syncs);
    assert_eq!(metrics.times.flush.count(), metrics.flushes);
    assert!(metrics.times.compaction.count() >= metrics.compactions);
    assert!(metrics.touched.reads > 0 && metrics.touched.blocks <= metrics.touched.tables);
    assert!(metrics.manifest_bytes_written > 0);
    assert!(metrics.cache_hit_ratio() > 0.5, "{}", metrics.cache_hit_ratio());
    assert!(metrics.space_amplification() >= 1.0);
}

#[test]
fn the_log_lags_by_what_is_not_durable_and_by_what_is_not_flushed() {
    let db = open(&SimFs::new(0));
    let check = |not_durable, not_flushed| {
        let metrics = db.metrics();
        let lag = (metrics.records_not_durable(), metrics.records_not_flushed());
        assert_eq!(lag, (not_durable, not_flushed));
    };
    check(0, 0);
    for n in 0..10 {
        db.put_with(key(n), "", Durability::Memory.into()).expect("writes");
    }
    check(10, 0);
    db.sync().expect("syncs");
    check(0, 10);
    db.flush().expect("flushes");
    check(0, 0);
    let snapshot = db.snapshot();
    db.put(key(1), "").expect("writes");
    assert_eq!(db.metrics().records_behind_oldest_snapshot(), 1);
    drop(snapshot);
    assert_eq!(db.metrics().records_behind_oldest_snapshot(), 0);
}

#[test]
fn work_in_the_background_uses_the_processor() {
    let db = Db::open_with("db", threaded(&SimFs::new(0))).expect("opens");
    for n in 0..5000 {
        db.put_with(key(n), [0; 200], Durability::Memory.into()).expect("writes");
    }
    db.flush().expect("flushes");
    db.settle().expect("settles");
    let cpu = db.metrics().cpu;
    if lsm_io::thread_cpu_time().is_some() {
        assert!(!(cpu.flush + cpu.compaction).is_zero(), "{cpu:?}");
    }
}

#[test]
fn what_an_open_a_checkpoint_and_an_export_write_is_counted_by_cause() {
    let fs = SimFs::new(0);
    let db = open(&fs);
    for n in 0..500 {
        db.put(key(n), [n as u8; 100]).expect("writes");
    }
    let db = open(&fs.crash_image(CrashPolicy::LoseUnsynced, 0));
    let metrics = db.metrics();
    assert_eq!(metrics.recovery_bytes_written, metrics.table_bytes());
    assert_eq!((metrics.flush_bytes_written, metrics.export_bytes_written), (0, 0));

    let export = db.default_keyspace().export::<&[u8]>(.., "exported").expect("exports");
    assert_eq!(db.metrics().export_bytes_written, export.bytes);
    db.put("in memory", "value").expect("writes");
    let linked = db.checkpoint("linked").expect("is made");
    assert!(linked.bytes_written > 0 && linked.bytes_copied == 0, "{linked:?}");
    assert_eq!(db.metrics().checkpoint_bytes_written, linked.bytes_written);
    let options = CheckpointOptions { copy_tables: true };
    let copied = db.checkpoint_with("copied", &options, |_| {}).expect("is made");
    let all = linked.bytes_written + copied.bytes_written + copied.bytes_copied;
    let parsed = parse(&db.metrics().to_prometheus());
    for (cause, bytes) in [
        ("recovery", metrics.recovery_bytes_written),
        ("checkpoint", all),
        ("export", export.bytes),
    ] {
        let name = format!("lsm_disk_written_bytes_total{{cause=\"{cause}\"}}");
        assert_eq!(parsed.values[&name] as u64, bytes, "{cause}");
    }
}

#[test]
fn reads_of_several_keys_are_timed() {
    let db = open(&SimFs::new(0));
    db.put(key(1), "value").expect("writes");
    for n in 0..1000 {
        db.multi_get(&[0, 1, 2, 3].map(|of| key(n + of))).expect("reads");
    }
    let times = db.metrics().times;
    assert!((2..8).contains(&times.multi_get.count()), "{}", times.multi_get.count());
    assert_eq!(times.get.count(), 0);
}
