//! Carries out one operation many times, in a function that a tool which counts instructions can
//! tell from the rest: `cargo xtask instructions` runs it under callgrind.
//!
//! Without an argument it says which operations there are, one a line; with the name of one it
//! carries that out and says how often. It is the same work in every run: keys and values come
//! from fixed seeds, and there is no thread beside the first.
//!
//! What is done to a database stands in `database.rs`; to one of its parts alone, in `parts.rs`.

mod database;
mod parts;

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;

use lsm_workload::key_bytes;

/// Something that is counted.
struct Operation {
    name: &'static str,
    /// Gets everything ready, and then carries it out within [`counted_by_callgrind`].
    carry_out: fn() -> Outcome<Repetitions>,
}

/// How often an operation was carried out.
type Repetitions = u64;
type Outcome<T> = Result<T, Box<dyn Error>>;

/// In the order in which they are reported.
const OPERATIONS: &[Operation] = &[
    Operation { name: "put", carry_out: database::put },
    Operation { name: "batch-put", carry_out: database::batch_put },
    Operation { name: "get-memtable", carry_out: database::get_memtable },
    Operation { name: "get-table", carry_out: database::get_table },
    Operation { name: "get-table-lent", carry_out: database::get_table_lent },
    Operation { name: "get-cached-table", carry_out: database::get_cached_table },
    Operation { name: "get-missing", carry_out: database::get_missing },
    Operation { name: "multi-get", carry_out: database::multi_get },
    Operation { name: "seek", carry_out: database::seek },
    Operation { name: "cursor", carry_out: database::cursor },
    Operation { name: "next", carry_out: database::next },
    Operation { name: "prev", carry_out: database::prev },
    Operation { name: "next-merged", carry_out: database::next_merged },
    Operation { name: "seek-50", carry_out: database::seek_50 },
    Operation { name: "merge", carry_out: parts::merge },
    Operation { name: "block-build", carry_out: parts::block_build },
    Operation { name: "filter-probe", carry_out: parts::filter_probe },
];

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        OPERATIONS.iter().for_each(|operation| println!("{}", operation.name));
        return ExitCode::SUCCESS;
    };
    let Some(operation) = OPERATIONS.iter().find(|operation| operation.name == name) else {
        eprintln!("error: there is no operation `{name}`");
        return ExitCode::FAILURE;
    };
    match (operation.carry_out)() {
        Ok(repetitions) => {
            println!("{repetitions}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All that is counted happens between the beginning and the end of this function, so it keeps a
/// name of its own, and `xtask/src/instructions/callgrind.rs` knows it. Returns what `work` does.
#[inline(never)]
fn counted_by_callgrind(work: &mut dyn FnMut() -> Outcome<u64>) -> Outcome<u64> {
    // The result is looked at here, or the compiler would leave by jumping into `work`, and the end
    // would not be seen.
    let result = work()?;
    Ok(black_box(result))
}

/// Counts `work`, which says how often it found what it was after: all of `repetitions`.
fn count(repetitions: u64, mut work: impl FnMut() -> Outcome<u64>) -> Outcome<Repetitions> {
    let found = counted_by_callgrind(&mut work)?;
    if found == repetitions {
        Ok(repetitions)
    } else {
        Err(format!("{found} of {repetitions} did what was expected").into())
    }
}

/// `count` keys from the `first`th on, in an order that is as good as random.
fn keys(first: u64, count: u64) -> Vec<[u8; 16]> {
    (first..first + count).map(key_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_does_what_it_is_counted_for() {
        for operation in OPERATIONS {
            let repetitions = (operation.carry_out)();
            assert!(matches!(repetitions, Ok(1000..)), "{}: {repetitions:?}", operation.name);
        }
    }
}
