//! What the threads of a benchmark do: the operations of one thread, one after the other.

use std::iter::StepBy;
use std::ops::Range;

use clap::ValueEnum;
use lsm_workload::{KeyChooser, KeyDistribution, Ycsb, YcsbOp, YcsbStream};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Workload {
    /// Write all records, in random order
    Fill,
    /// Read records at random, each as likely as any other
    Read,
    /// Write records that are there, at random
    Overwrite,
    /// Half reads, half updates; a few records most of the time
    YcsbA,
    /// 95 % reads, 5 % updates; a few records most of the time
    YcsbB,
    /// Reads; a few records most of the time
    YcsbC,
    /// 95 % reads of the latest records, 5 % inserts
    YcsbD,
    /// 95 % scans of up to 100 records, 5 % inserts
    YcsbE,
    /// Half reads, half read, change and write back
    YcsbF,
}

impl Workload {
    /// The name by which it is asked for.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn ycsb(self) -> Option<Ycsb> {
        Some(match self {
            Self::Fill | Self::Read | Self::Overwrite => return None,
            Self::YcsbA => Ycsb::A,
            Self::YcsbB => Ycsb::B,
            Self::YcsbC => Ycsb::C,
            Self::YcsbD => Ycsb::D,
            Self::YcsbE => Ycsb::E,
            Self::YcsbF => Ycsb::F,
        })
    }
}

/// Which of how many threads this is, of how many records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) thread: u64,
    pub(super) threads: u64,
    pub(super) records: u64,
}

impl Share {
    /// The record that the thread means by a number. Beyond the records that were there, each
    /// thread inserts records of its own.
    fn record(self, number: u64) -> u64 {
        let added = number.checked_sub(self.records);
        added.map_or(number, |added| self.records + added * self.threads + self.thread)
    }
}

/// The operations of one thread, by the numbers of records.
pub(super) struct Operations {
    source: Source,
    share: Share,
}

enum Source {
    /// The thread's part of all records.
    Fill(StepBy<Range<u64>>),
    Read(KeyChooser),
    Overwrite(KeyChooser),
    Ycsb(YcsbStream),
}

impl Operations {
    pub(super) fn new(workload: Workload, share: Share, seed: u64) -> Self {
        let seed = seed ^ (share.thread << 32);
        let uniform = || KeyChooser::new(KeyDistribution::Uniform, share.records, seed);
        let source = match workload.ycsb() {
            Some(mix) => Source::Ycsb(YcsbStream::new(mix, share.records, seed)),
            None if workload == Workload::Fill => {
                Source::Fill((share.thread..share.records).step_by(share.threads as usize))
            }
            None if workload == Workload::Read => Source::Read(uniform()),
            None => Source::Overwrite(uniform()),
        };
        Self { source, share }
    }
}

impl Iterator for Operations {
    type Item = YcsbOp;

    #[inline]
    fn next(&mut self) -> Option<YcsbOp> {
        match &mut self.source {
            Source::Fill(numbers) => numbers.next().map(YcsbOp::Insert),
            Source::Read(keys) => Some(YcsbOp::Read(keys.next())),
            Source::Overwrite(keys) => Some(YcsbOp::Update(keys.next())),
            Source::Ycsb(stream) => stream.next().map(|op| match op {
                YcsbOp::Read(number) => YcsbOp::Read(self.share.record(number)),
                YcsbOp::Update(number) => YcsbOp::Update(self.share.record(number)),
                YcsbOp::Insert(number) => YcsbOp::Insert(self.share.record(number)),
                YcsbOp::Scan { key, len } => YcsbOp::Scan { key: self.share.record(key), len },
                YcsbOp::ReadModifyWrite(number) => {
                    YcsbOp::ReadModifyWrite(self.share.record(number))
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn operations(workload: Workload, thread: u64) -> Operations {
        Operations::new(workload, Share { thread, threads: 3, records: 100 }, 1)
    }

    fn inserted(workload: Workload, thread: u64) -> impl Iterator<Item = u64> {
        operations(workload, thread)
            .filter_map(|op| if let YcsbOp::Insert(number) = op { Some(number) } else { None })
    }

    #[test]
    fn the_threads_of_a_fill_write_each_record_once() {
        let mut records: Vec<u64> =
            (0..3).flat_map(|thread| inserted(Workload::Fill, thread)).collect();
        records.sort_unstable();
        assert!(records.into_iter().eq(0..100));
    }

    #[test]
    fn no_two_threads_insert_the_same_record() {
        let records: Vec<u64> =
            (0..3).flat_map(|thread| inserted(Workload::YcsbD, thread).take(50)).collect();
        assert!(records.iter().all(|&record| record >= 100));
        assert_eq!(records.iter().collect::<BTreeSet<_>>().len(), 150);
    }

    #[test]
    fn a_thread_reads_only_what_was_there_or_what_it_has_inserted() {
        let mut there: BTreeSet<u64> = (0..100).collect();
        for op in operations(Workload::YcsbD, 2).take(10_000) {
            match op {
                YcsbOp::Insert(number) => assert!(there.insert(number), "{number} is new"),
                YcsbOp::Read(number) => assert!(there.contains(&number), "{number} is there"),
                _ => panic!("{op:?} is no part of this workload"),
            }
        }
    }
}
