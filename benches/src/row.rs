//! The rows: which workload, on which data, with how many threads.

use lsm_workload::Ycsb;

use crate::store::Durability;

/// What lies in the store before the clock starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Nothing.
    Empty,
    /// All entries, written in random order, settled, closed and opened again; read only.
    Loaded,
    /// A copy of that, to be changed.
    LoadedCopy,
    /// 64 MiB of log that no close has tidied away; copied each time.
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
    /// Puts for a while.
    Puts,
    /// Puts with so many in flight, for a while.
    Pipelined(usize),
    /// Gets of keys that are there, uniformly.
    Get,
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
    /// A YCSB mix over at most a million records.
    Ycsb(Ycsb),
    /// Opening, and one get.
    Open,
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
}

impl Row {
    /// Whether a settled figure is of interest: the row writes faster than background work may
    /// follow.
    pub(crate) fn settles(&self) -> bool {
        matches!(
            self.work,
            Work::FillSeq | Work::FillRandom | Work::FillBatch(_) | Work::Overwrite
        )
    }

    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.name == name)
    }
}

const fn row(name: &'static str, about: &'static str, start: Start, work: Work) -> Row {
    Row { name, about, start, work, threads: 1, durability: Durability::Os }
}

impl Row {
    const fn threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    const fn durable(self) -> Self {
        Self { durability: Durability::Disk, ..self }
    }
}

use Start::{Empty, Killed, Loaded, LoadedCopy};

/// Every row, in the order of the tables.
pub(crate) const ROWS: &[Row] = &[
    row("fillseq", "puts, keys ascending", Empty, Work::FillSeq),
    row("fillrandom", "puts, keys in random order", Empty, Work::FillRandom),
    row("fillbatch", "random order, 1000 to a batch; ops are entries", Empty, Work::FillBatch(1000)),
    row("overwrite", "as many puts as entries, on keys that are there", LoadedCopy, Work::Overwrite),
    row("durable1", "puts, each on disk when it returns", Empty, Work::Puts).durable(),
    row("durable8", "the same by 8 threads", Empty, Work::Puts).threads(8).durable(),
    row("durable32", "the same by 32 threads", Empty, Work::Puts).threads(32).durable(),
    row("async1000", "durable puts, 1000 in flight", Empty, Work::Pipelined(1000)).durable(),
    row("get", "gets of random keys that are there", Loaded, Work::Get),
    row("get2", "the same by 2 threads", Loaded, Work::Get).threads(2),
    row("getabsent", "gets of keys that are not there", Loaded, Work::GetAbsent),
    row("forward", "full scan; ops are entries", Loaded, Work::Forward),
    row("backward", "full scan backward; ops are entries", Loaded, Work::Backward),
    row("seek50", "seek to a random key, read 50 entries", Loaded, Work::Seek(50)),
    row("prefix", "all keys with two given first bytes; ops are entries", Loaded, Work::Prefix),
    row(
        "seek50del",
        "seek + 50 after deleting 40 % of the keys, settled",
        LoadedCopy,
        Work::SeekAfterDeletes(50),
    ),
    row("ycsb-a", "half reads, half updates", LoadedCopy, Work::Ycsb(Ycsb::A)).threads(2),
    row("ycsb-b", "95 % reads, 5 % updates", LoadedCopy, Work::Ycsb(Ycsb::B)).threads(2),
    row("ycsb-c", "reads", LoadedCopy, Work::Ycsb(Ycsb::C)).threads(2),
    row("ycsb-d", "95 % reads of the latest, 5 % inserts", LoadedCopy, Work::Ycsb(Ycsb::D)).threads(2),
    row("ycsb-e", "95 % scans of 1 to 100, 5 % inserts", LoadedCopy, Work::Ycsb(Ycsb::E)).threads(2),
    row("ycsb-f", "half reads, half read-modify-writes", LoadedCopy, Work::Ycsb(Ycsb::F)).threads(2),
    row("open", "open a store that was closed, and one get", Loaded, Work::Open),
    row("recover", "open after a kill, 64 MiB of log to replay", Killed, Work::Open),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }
}
