//! The rows: which workload, on which data, with how many threads, and what must be reached.

use lsm_workload::Ycsb;

use crate::feature::Feature;
use crate::scale::Scale;
use crate::store::Durability;
use crate::target::Target;

/// What lies in the store before the clock starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Nothing.
    Empty,
    /// All entries, written in random order, settled, closed and opened again; read only.
    Loaded,
    /// A copy of that, to be changed.
    LoadedCopy,
    /// What a killed process has left: 64 MiB of log that no close has tidied away.
    Killed,
}

/// What is done while the clock runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Work {
    /// Puts of all entries, keys ascending.
    FillSeq,
    /// Puts of all entries, keys in random order.
    FillRandom,
    /// Random order, so many to a batch.
    FillBatch(usize),
    /// As many puts as there are entries, each on a random key that is there.
    Overwrite,
    /// A merge of all tables, whether they need it or not.
    Compact,
    /// Such puts at a constant rate, so many a second.
    Paced(u64),
    /// Puts for a while.
    Puts,
    /// Puts with so many in flight, for a while.
    Pipelined(usize),
    /// Gets of keys that are there, uniformly.
    Get,
    /// The same, so many at a time.
    MultiGet(usize),
    /// Gets of keys that are not.
    GetAbsent,
    /// All entries, ascending.
    Forward,
    /// All entries, descending.
    Backward,
    /// A seek to a random key and so many entries from there.
    Seek(u64),
    /// The same after deleting 40 of 100 keys and settling.
    SeekAfterDeletes(u64),
    /// All keys that begin with two random bytes.
    Prefix,
    /// A queue of so many entries: a put behind the last, a read of the first, a delete of it.
    Queue(u64),
    /// A YCSB mix.
    Ycsb(Ycsb),
    /// What not every store can do.
    Feature(Feature),
    /// Opening, and one get.
    Open,
    /// Closing with a full memtable, opening, and one get.
    Reopen,
}

/// How many entries a row works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entries {
    /// Those of the run.
    All,
    /// A fifth of them.
    Fifth,
    /// Four times as many.
    FourTimes,
    /// At most a million.
    Million,
    /// As many as fill 64 MiB of log.
    Log,
}

/// How large the cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cache {
    /// As in the run's settings.
    Run,
    /// Twice the data, so that no engine is held back by what it has to fetch.
    TwiceTheData,
    /// A tenth of the data.
    TenthOfTheData,
}

/// One row of the tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) start: Start,
    pub(crate) work: Work,
    pub(crate) threads: usize,
    pub(crate) durability: Durability,
    entries: Entries,
    /// Instead of the run's.
    value_bytes: Option<usize>,
    cache: Cache,
    pub(crate) target: Target,
}

/// Bytes of log that the rows about opening find.
const LOG_BYTES: u64 = 64 << 20;
/// What an engine's log adds to key and value, about.
const LOG_ENTRY_OVERHEAD_BYTES: u64 = 4;
/// A memtable that holds such a log.
const LOG_MEMTABLE_MIB: u64 = 128;

impl Row {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.name == name)
    }

    /// Whether the row writes faster than background work may follow, so that it is measured until
    /// that is done.
    pub(crate) fn settles(&self) -> bool {
        matches!(self.work, Work::FillSeq | Work::FillRandom | Work::FillBatch(_) | Work::Overwrite)
    }

    /// Whether the figure is a time, of which less is better.
    pub(crate) fn is_time(&self) -> bool {
        matches!(self.work, Work::Open | Work::Reopen)
    }

    /// The measured quantity by which engines are compared.
    pub(crate) fn figure_name(&self) -> &'static str {
        match () {
            () if self.is_time() => "ms",
            () if self.settles() => "settled_ops_per_second",
            () => "ops_per_second",
        }
    }

    /// What the figure counts.
    pub(crate) fn unit(&self) -> &'static str {
        match self.figure_name() {
            "ms" => "milliseconds",
            "settled_ops_per_second" => "a second, until settled",
            _ => "a second",
        }
    }

    /// How many times better the first figure is.
    pub(crate) fn ratio(&self, figure: f64, other: f64) -> f64 {
        if self.is_time() { other / figure } else { figure / other }
    }

    /// The scale of the run, as it is for this row.
    pub(crate) fn scale(&self, scale: &Scale) -> Scale {
        let mut scale = scale.clone();
        scale.value_bytes = self.value_bytes.unwrap_or(scale.value_bytes);
        let entry_bytes = 16 + scale.value_bytes as u64;
        scale.entries = match self.entries {
            Entries::All => scale.entries,
            Entries::Fifth => scale.entries / 5,
            Entries::FourTimes => scale.entries * 4,
            Entries::Million => scale.entries.min(1_000_000),
            Entries::Log => LOG_BYTES / (entry_bytes + LOG_ENTRY_OVERHEAD_BYTES),
        }
        .max(1);
        if self.entries == Entries::Log {
            scale.memtable_mib = scale.memtable_mib.max(LOG_MEMTABLE_MIB);
        }
        let data_bytes = scale.entries * entry_bytes;
        match self.cache {
            Cache::Run => {}
            Cache::TwiceTheData => scale.cache_mib = ((data_bytes * 2) >> 20).max(1),
            Cache::TenthOfTheData => scale.cache_mib = ((data_bytes / 10) >> 20).max(1),
        }
        scale
    }
}

const fn row(name: &'static str, about: &'static str, start: Start, work: Work) -> Row {
    Row {
        name,
        about,
        start,
        work,
        threads: 1,
        durability: Durability::Os,
        entries: Entries::All,
        value_bytes: None,
        cache: Cache::Run,
        target: Target::None,
    }
}

impl Row {
    const fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    const fn durable(self) -> Self {
        Self { durability: Durability::Disk, ..self }
    }

    const fn entries(self, entries: Entries) -> Self {
        Self { entries, ..self }
    }

    const fn values(self, bytes: usize) -> Self {
        Self { value_bytes: Some(bytes), ..self }
    }

    const fn cache(self, cache: Cache) -> Self {
        Self { cache, ..self }
    }

    /// At least so many times the best peer, and better so many times.
    const fn times(self, at_least: f64, goal: f64) -> Self {
        Self { target: Target::Ratio { at_least, goal, among_lsm: false }, ..self }
    }

    /// The same, of the best log-structured peer.
    const fn times_lsm(self, at_least: f64, goal: f64) -> Self {
        Self { target: Target::Ratio { at_least, goal, among_lsm: true }, ..self }
    }

    const fn rate(self, at_least: f64, goal: f64) -> Self {
        Self { target: Target::Rate { at_least, goal }, ..self }
    }

    const fn within_ms(self, ms: f64) -> Self {
        Self { target: Target::Within { ms }, ..self }
    }
}

use Start::{Empty, Killed, Loaded, LoadedCopy};

/// Every row, in the order of the tables.
pub(crate) const ROWS: &[Row] = &[
    row("fillseq", "puts, keys ascending", Empty, Work::FillSeq).times(2.0, 4.0),
    row("fillrandom", "puts, keys in random order", Empty, Work::FillRandom).times(2.5, 4.0),
    row("fillbatch", "the same, 1000 to a batch; entries", Empty, Work::FillBatch(1000))
        .times(2.5, 5.0),
    row("fill1k", "puts in random order, 1 KiB values, a fifth as many", Empty, Work::FillRandom)
        .entries(Entries::Fifth)
        .values(1024)
        .times(2.0, 4.0),
    row(
        "overwrite",
        "as many puts as entries, on keys that are there",
        LoadedCopy,
        Work::Overwrite,
    )
    .times(3.0, 6.0),
    row("compact", "a merge of all tables; entries", LoadedCopy, Work::Compact),
    row("paced", "such puts at 100,000 a second, as waited for", LoadedCopy, Work::Paced(100_000)),
    row("durable1", "puts, each on disk when it returns", Empty, Work::Puts)
        .durable()
        .times(1.2, 1.3),
    row("durable8", "the same", Empty, Work::Puts).threads(8).durable().times(1.5, 2.0),
    row("durable32", "the same", Empty, Work::Puts).threads(32).durable().times(1.5, 2.5),
    row("durable64", "the same", Empty, Work::Puts).threads(64).durable(),
    row("async1000", "durable puts, 1000 in flight", Empty, Work::Pipelined(1000))
        .durable()
        .rate(500e3, 1e6),
    cached("get", "gets of random keys that are there", Loaded, Work::Get).times(2.5, 4.0),
    cached("get2", "the same", Loaded, Work::Get).threads(2).times(2.5, 4.0),
    row("gettenth", "the same, the cache a tenth of the data", Loaded, Work::Get)
        .cache(Cache::TenthOfTheData)
        .times(2.0, 4.0),
    cached("getabsent", "gets of keys that are not there", Loaded, Work::GetAbsent).times(2.5, 4.0),
    cached("multiget", "gets of 100 random keys at a time; keys", Loaded, Work::MultiGet(100)),
    cached("forward", "full scan; entries", Loaded, Work::Forward).times(1.5, 3.0),
    cached("backward", "full scan backward; entries", Loaded, Work::Backward).times(1.25, 3.0),
    cached("seek1", "seek to a random key, read 1 entry", Loaded, Work::Seek(1)),
    cached("seek10", "seek to a random key, read 10 entries", Loaded, Work::Seek(10)),
    cached("seek50", "seek to a random key, read 50 entries", Loaded, Work::Seek(50))
        .times(2.0, 3.5),
    cached("prefix", "all keys with two given first bytes; entries", Loaded, Work::Prefix)
        .times(1.5, 3.0),
    row(
        "seek50del",
        "seek + 50 after deleting 40 % of the keys, settled",
        LoadedCopy,
        Work::SeekAfterDeletes(50),
    )
    .cache(Cache::TwiceTheData)
    .times(1.5, 3.0),
    row("queue", "put behind, read first, delete first, of 1000", Empty, Work::Queue(1000)),
    ycsb("ycsb-a", "half reads, half updates", Ycsb::A).times(3.0, 5.0),
    ycsb("ycsb-b", "95 % reads, 5 % updates", Ycsb::B).times(2.0, 4.0),
    ycsb("ycsb-c", "reads", Ycsb::C).times(2.0, 4.0),
    ycsb("ycsb-d", "95 % reads of the latest, 5 % inserts", Ycsb::D).times(2.5, 4.0),
    ycsb("ycsb-e", "95 % scans of 1 to 100, 5 % inserts", Ycsb::E).times(1.5, 3.0),
    ycsb("ycsb-f", "half reads, half read-modify-writes", Ycsb::F).times(3.0, 5.0),
    row("get4x", "gets of random keys, four times the entries", Loaded, Work::Get)
        .entries(Entries::FourTimes)
        .times_lsm(4.0, 8.0),
    row("seek50-4x", "seek + 50, four times the entries", Loaded, Work::Seek(50))
        .entries(Entries::FourTimes)
        .times_lsm(4.0, 8.0),
    feature("ttlput", "puts of values that expire in a day", Feature::PutTtl),
    feature("ttlget", "gets of random values that expire in a day", Feature::GetTtl),
    feature("rangedel", "range delete of 50 keys, scan of the next 50", Feature::DeleteRange),
    feature("merge", "increments of random counters", Feature::Merge),
    feature("ingest", "bulk loads of 10,000 entries in order; entries", Feature::Ingest),
    feature("export", "ranges of 10,000 entries as tables; entries", Feature::Export),
    feature("import", "such tables brought in; entries", Feature::Import),
    feature("putif", "compare and set of random keys", Feature::PutIf),
    feature("transact", "transactions of two gets and two puts", Feature::Transaction),
    feature("follow", "100 puts, a sync, and the feed of them; changes", Feature::Follow),
    feature("filter", "merges of all tables, each value asked about; entries", Feature::Filter),
    feature("fifo", "puts, of which the newest quarter is kept", Feature::Fifo),
    feature("agelimit", "puts and deletes, off the disk in a second; pairs", Feature::AgeLimit),
    feature("budget", "puts to 64 keyspaces within one budget", Feature::Budget),
    feature("metrics", "all metrics as a page of text; pages", Feature::Metrics),
    feature("largeput", "puts of 4 KiB on random keys", Feature::PutLarge { apart: false })
        .values(4096),
    feature("largeput-apart", "the same, in blob files", Feature::PutLarge { apart: true })
        .values(4096),
    feature("largeget", "gets of random values of 4 KiB", Feature::GetLarge { apart: false })
        .values(4096),
    feature("largeget-apart", "the same, in blob files", Feature::GetLarge { apart: true })
        .values(4096),
    row("open", "open a store that was closed, and one get", Loaded, Work::Open).within_ms(10.0),
    row("recover", "open after a kill, 64 MiB of log to replay, and one get", Killed, Work::Open)
        .entries(Entries::Log)
        .within_ms(300.0),
    row("reopen", "close with 64 MiB in the memtable, open, and one get", Empty, Work::Reopen)
        .entries(Entries::Log),
];

const fn cached(name: &'static str, about: &'static str, start: Start, work: Work) -> Row {
    row(name, about, start, work).cache(Cache::TwiceTheData)
}

const fn feature(name: &'static str, about: &'static str, feature: Feature) -> Row {
    row(name, about, Empty, Work::Feature(feature)).entries(Entries::Fifth)
}

const fn ycsb(name: &'static str, about: &'static str, mix: Ycsb) -> Row {
    row(name, about, LoadedCopy, Work::Ycsb(mix)).threads(2).entries(Entries::Million)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::Suite;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }

    #[test]
    fn a_row_may_change_the_scale() {
        let full = Scale::of(Suite::Full);
        let scale = |name: &str| Row::named(name).expect("the row is there").scale(&full);
        assert_eq!(scale("get4x").entries, 20_000_000);
        assert_eq!(scale("ycsb-a").entries, 1_000_000);
        assert_eq!((scale("fill1k").entries, scale("fill1k").value_bytes), (1_000_000, 1024));
        assert_eq!(scale("gettenth").cache_mib, 55);
        assert_eq!(scale("get").cache_mib, 1106);
        assert_eq!(scale("get4x").cache_mib, full.cache_mib);
        assert!(scale("recover").memtable_mib >= 128);
    }
}
