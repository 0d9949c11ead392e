//! The harnesses of the real machine, through the program, for they start it again as the process
//! that is killed.

use std::process::{Command, Output};

fn lsm_sim(words: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lsm-sim"))
        .args(words.split_whitespace())
        .output()
        .expect("the program was built with this test")
}

#[test]
fn no_kill_loses_what_was_acknowledged() {
    let output = lsm_sim("kill --cycles 12 --seed 3");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures = printed.lines().last().expect("figures");
    assert!(figures.starts_with("figures: ") && figures.contains(" kill.cycles=12 "), "{figures}");
}
