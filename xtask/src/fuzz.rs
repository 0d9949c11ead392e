//! Feeds every decoder its kept corpus and random bytes once more, in the optimised build.
//!
//! The tests do the same in the build that checks arithmetic. Here an overflow wraps silently, as
//! it would for a user, and the decoder has to answer right all the same.

use crate::Result;
use crate::invocation::Invocation;

/// The crates that read bytes they did not just write, or take operations from bytes.
const CRATES_WITH_DECODERS: &[&str] =
    &["lsm-io", "lsm-entry", "lsm-bloom", "lsm-wal", "lsm-memtable", "lsm-sstable", "lsm-manifest"];

/// Runs the tests with `fuzz` in their path, crate by crate; `false` when one fails or a crate has
/// none.
pub(crate) fn run() -> Result<bool> {
    let mut holds = true;
    for name in CRATES_WITH_DECODERS {
        let invocation = Invocation::cargo("test --quiet --release --all-features --package")
            .arguments([*name, "fuzz"]);
        let (succeeded, printed) = invocation.output_and_success()?;
        let tests = tests_passed(&printed);
        let verdict = if succeeded && tests > 0 { "ok" } else { "FAILED" };
        println!("  {name:<16}{verdict:<8}{tests} tests");
        if !succeeded {
            print!("{printed}");
        } else if tests == 0 {
            println!("      no test has `fuzz` in its path, so no decoder was tried");
        }
        if verdict != "ok" {
            println!("      rerun: {invocation}");
            holds = false;
        }
    }
    Ok(holds)
}

/// The sum over the lines `test result: ok. N passed; ...`, of which there is one a binary.
fn tests_passed(printed: &str) -> u64 {
    printed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("test result: ok. "))
        .filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_counted_over_all_binaries() {
        let printed = "running 2 tests\n..\ntest result: ok. 2 passed; 0 failed; 0 ignored\n\n\
                       running 0 tests\n\ntest result: ok. 0 passed; 0 failed\n\
                       test result: ok. 1 passed; 0 failed\n";
        assert_eq!(tests_passed(printed), 3);
    }
}
