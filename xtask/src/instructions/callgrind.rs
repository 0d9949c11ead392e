//! Counts the instructions of one operation, with the callgrind tool of valgrind.

use std::time::Duration;

use crate::Result;
use crate::instructions::record::Count;
use crate::invocation::Invocation;

/// The function within which is counted; see `benches/instructions/src/main.rs`.
const COUNTED: &str = "*counted_by_callgrind*";

/// Longer than any operation takes, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// The version of valgrind, if there is one.
pub(crate) fn version() -> Option<String> {
    let version = Invocation::new("valgrind").arguments(["--version"]).output().ok()?;
    Some(version.trim().to_owned())
}

/// The operations that `program` knows.
pub(crate) fn operations(program: &str) -> Result<Vec<String>> {
    Ok(Invocation::new(program).output()?.lines().map(str::to_owned).collect())
}

/// Has `program` carry out one operation, and counts.
pub(crate) fn count(program: &str, name: &str) -> Result<Count> {
    let invocation = Invocation::new("valgrind").arguments([
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        &format!("--toggle-collect={COUNTED}"),
        program,
        name,
    ]);
    let output = invocation.output_within(LIMIT)?;
    if !output.status.success() {
        return Err(format!("`{invocation}` failed:\n{}", output.complaints).into());
    }
    let repetitions: Option<u64> = output.printed.trim().parse().ok();
    match (collected(&output.complaints), repetitions) {
        (Some(0), _) => Err(format!("`{invocation}` never met {COUNTED}").into()),
        (Some(collected), Some(repetitions @ 1..)) => {
            let instructions = collected as f64 / repetitions as f64;
            Ok(Count { name: name.to_owned(), instructions })
        }
        _ => Err(format!("`{invocation}` gave no count:\n{}", output.complaints).into()),
    }
}

/// The sum in what callgrind says at the end.
fn collected(complaints: &str) -> Option<u64> {
    let line = complaints.lines().find_map(|line| line.split_once("Collected : "))?;
    line.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_found_among_what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 5735507\n==7== \n==7== I   refs: 1\n";
        assert_eq!(collected(said), Some(5_735_507));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
    }
}
