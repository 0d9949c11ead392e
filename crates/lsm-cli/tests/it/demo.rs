//! The demo runs to its end, and what it says to try works.

use std::process::Command;

use crate::program::{Place, lsm, run};

#[test]
fn the_demo_runs_to_its_end_and_what_it_says_to_try_works() {
    let place = Place::new();
    let demo = place.run(&["demo", "--records", "3000"]).check_code(0);
    let text = demo.text();
    for step in
        ["Load 3,000 records", "SIGKILL", "Open what it left", "Check every record", "Compact"]
    {
        assert!(text.contains(step), "{step} is missing in: {text}");
    }
    let (_, commands) = text.split_once("Try:\n").expect("something to try");
    let mut tried = 0;
    for line in commands.lines().filter(|line| line.contains(" # ")) {
        // As a reader would: pasted into a shell.
        let output = Command::new("sh").arg("-c").arg(line).current_dir(place.path("")).output();
        let output = output.expect("a shell");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {stderr}");
        assert!(!output.stdout.is_empty() || line.contains(" put "), "{line} printed nothing");
        tried += 1;
    }
    assert!(tried >= 5, "{text}");
}

#[test]
fn a_database_that_is_there_is_replaced_only_after_a_yes() {
    let place = Place::new();
    place.run(&["put", "mine", "precious"]).check_code(0);
    let refused = place.run(&["demo", "--records", "1000"]).check_code(2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert_eq!(place.run(&["get", "mine"]).check_code(0).text(), "precious\n");
    let run = place.run(&["demo", "--records", "1000", "--yes", "--json"]).check_code(0);
    let [report] = run.json_lines().try_into().unwrap();
    let number = |name: &str| report[name].as_u64().expect(name);
    assert_eq!(number("records"), 1_000);
    assert!(number("found_after_kill") >= number("acknowledged_before_kill"));
    place.run(&["get", "mine"]).check_code(1);
    place.run(&["verify"]).check_code(0);
}

#[test]
fn without_a_place_the_demo_makes_a_new_one() {
    let place = Place::new();
    let temp = place.path("");
    for expected in 1..=2 {
        run(lsm().args(["demo", "--records", "1000"]).env("TMPDIR", &temp)).check_code(0);
        assert_eq!(std::fs::read_dir(&temp).unwrap().count(), expected);
    }
}
