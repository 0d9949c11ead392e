//! The benchmarks with this repository's store alone; hands over to `peers` when others are asked for.

use std::process::ExitCode;

fn main() -> ExitCode {
    lsm_bench::main_with(&lsm_bench::OURS)
}
