//! How many bytes are written, and kept, for each byte that a user writes: every policy in turn, on
//! a real disk, by the engine's own counters, which are held against the kernel's.

use lsm_engine::{
    CompactionPolicy, Db, Durability, Metrics, Options, Reads, WriteBatch, WriteOptions,
};
use lsm_workload::{Rng, ValueMaker, key_bytes};

/// The memtable that the figures are for.
const MEMTABLE_BYTES: u64 = 64 << 20;
/// Key and value bytes of an entry.
const ENTRY_BYTES: u64 = 116;
/// How far the engine's counters may be from the kernel's.
const DISAGREEMENT_MAX: f64 = 0.05;

/// What a policy promises.
struct Promise {
    policy: &'static str,
    write: f64,
    space: Option<f64>,
}

const PROMISES: &[Promise] = &[
    Promise { policy: "leveled", write: 10.0, space: Some(1.2) },
    Promise { policy: "lazy_leveled", write: 5.0, space: None },
    Promise { policy: "tiered", write: 5.0, space: None },
];

/// Loads and overwrites `entries` entries under each policy, and prints a table.
///
/// # Errors
/// The first promise that is not kept.
pub fn run(entries: u64, seed: u64) -> Result<(), String> {
    println!(
        "{entries} entries of 16 + 100 bytes loaded, then as many overwritten at random; settled"
    );
    println!(
        "policy          write amp.  of it log  flush  merge   space amp.  kernel agrees within"
    );
    let mut broken = Vec::new();
    for promise in PROMISES {
        let figures = measure(promise.policy, entries, seed).map_err(|error| error.to_string())?;
        println!(
            "{:<14} {:>10.2} {:>10.2} {:>6.2} {:>6.2} {:>12.2} {:>17.1} %",
            promise.policy,
            figures.write,
            figures.log,
            figures.flush,
            figures.merge,
            figures.space,
            figures.disagreement * 100.0
        );
        if figures.write >= promise.write {
            broken.push(format!(
                "{}: write amplification should be below {}",
                promise.policy, promise.write
            ));
        }
        if promise.space.is_some_and(|limit| figures.space >= limit) {
            broken.push(format!("{}: space amplification is too large", promise.policy));
        }
        if figures.disagreement > DISAGREEMENT_MAX {
            broken.push(format!("{}: the counters disagree with the kernel's", promise.policy));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}

struct Figures {
    write: f64,
    log: f64,
    flush: f64,
    merge: f64,
    space: f64,
    disagreement: f64,
}

fn measure(policy: &str, entries: u64, seed: u64) -> lsm_engine::Result<Figures> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut options = Options {
        memtable_bytes: Some(MEMTABLE_BYTES),
        memory_bytes: 1 << 30,
        ..Options::default()
    };
    options.keyspace.compaction =
        policy.parse::<CompactionPolicy>().expect("the promises name policies");
    let db = Db::open_with(dir.path().join("db"), options)?;
    let kernel_before = written_by_kernel();
    let mut values = ValueMaker::new(100, 0.5, seed);
    let mut rng = Rng::new(seed);
    let mut batch = WriteBatch::new();
    let mut write = |n: u64, batch: &mut WriteBatch| {
        batch.put(key_bytes(n), values.next());
        if batch.len() < 100 {
            return Ok(());
        }
        let written = db.write_with(batch, WriteOptions::durability(Durability::Os));
        batch.clear();
        written.map(drop)
    };
    for n in 0..entries {
        write(n, &mut batch)?;
    }
    db.settle()?;
    let loaded = db.metrics();
    for _ in 0..entries {
        write(rng.below(entries), &mut batch)?;
    }
    db.settle()?;
    let overwritten = db.metrics();
    let kernel = written_by_kernel() - kernel_before;
    let by = |counter: fn(&Metrics) -> u64| {
        let user = overwritten.user_bytes_written - loaded.user_bytes_written;
        (counter(&overwritten) - counter(&loaded)) as f64 / user as f64
    };
    let log = by(|metrics| metrics.log_bytes_written);
    let flush = by(|metrics| metrics.flush_bytes_written);
    let merge = by(|metrics| metrics.compaction_bytes_written);
    let counted = overwritten.log_bytes_written
        + overwritten.log_bytes_filled
        + overwritten.flush_bytes_written
        + overwritten.compaction_bytes_written;
    assert_eq!(db.get(key_bytes(0))?.map(|value| value.len()), Some(100));
    Ok(Figures {
        write: log + flush + merge,
        log,
        flush,
        merge,
        space: overwritten.table_bytes() as f64 / (entries * ENTRY_BYTES) as f64,
        disagreement: (kernel as f64 / counted as f64 - 1.0).abs(),
    })
}

/// Bytes that this process gave the kernel to write to the disk, by the kernel's account. That
/// counts pages, whether they were written or, as the log's are, stored into.
fn written_by_kernel() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
