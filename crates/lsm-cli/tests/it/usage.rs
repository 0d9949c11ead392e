//! Wrong usage: exit code 2, and a message that says what would be right.

use crate::program::{Place, lsm, run};

#[track_caller]
fn check_usage(words: &[&str], expected: &str) {
    let run = run(lsm().args(words)).check_code(2);
    assert!(run.stderr.contains(expected), "{words:?}: {}", run.stderr);
    assert!(run.stdout.is_empty());
}

#[test]
fn what_is_wrong_with_the_arguments_is_said() {
    check_usage(&["get", "key"], "--db <DIR>");
    check_usage(&["get", "--db", "x"], "<KEY>");
    check_usage(&["scann", "--db", "x"], "'scan'");
    check_usage(&["scan", "--db", "x", "--limit", "many"], "--limit");
    check_usage(&["dump", "table", "x.sst", "--kind", "remove"], "single-delete");
    check_usage(&["delete", "--db", "x"], "--prefix");
    check_usage(&["delete", "--db", "x", "key", "--prefix", "k"], "cannot be used with");
    check_usage(&["load", "--db", "x", "--ack", "--json", "-"], "cannot be used with");
    check_usage(&["load", "--db", "x", "--batch", "0", "-"], "--batch");
    check_usage(&["demo", "--records", "5"], "1000");
    check_usage(&["bench", "ycsb-g"], "ycsb-f");
    check_usage(&["bench", "read", "--existing"], "--db <DIR>");
    check_usage(&["bench", "read", "--records", "0"], "--records");
    check_usage(&["bench", "read", "--threads", "0"], "--threads");
    check_usage(&["bench", "read", "--durability", "fsync"], "disk");
    check_usage(&["bench", "fill", "--seconds", "5"], "--records says how many");
    check_usage(&["bench", "fill", "--policy", "fifo"], "fifo drops records");
    check_usage(&["bench", "fill", "--policy", "lsm"], "are accepted");
}

#[test]
fn a_path_that_holds_no_database_is_named() {
    let place = Place::new();
    let dir = place.db();
    let named = format!("there is no database at {}", dir.display());
    let commands: [&[&str]; 9] = [
        &["get", "k"],
        &["scan"],
        &["delete", "k", "--yes"],
        &["stats"],
        &["shape"],
        &["compact"],
        &["verify"],
        &["history", "k"],
        &["explain", "k"],
    ];
    for words in commands {
        let run = place.run(words).check_code(2);
        assert!(run.stderr.contains(&named), "{words:?}: {}", run.stderr);
        assert!(!dir.exists(), "{words:?} left something behind");
    }
    std::fs::write(&dir, "a file").unwrap();
    for words in commands {
        place.run(words).check_code(2);
    }
    let run = place.run(&["put", "k", "v"]).check_code(2);
    assert!(run.stderr.contains("is a file"), "{}", run.stderr);
    assert_eq!(std::fs::read(&dir).unwrap(), b"a file");
}

#[test]
fn a_directory_of_somebody_elses_is_left_alone() {
    let place = Place::new();
    std::fs::create_dir(place.db()).unwrap();
    place.write("my.db/notes.txt", "mine");
    let commands: [&[&str]; 2] = [&["put", "k", "v"], &["demo", "--yes"]];
    for words in commands {
        let run = place.run(words).check_code(2);
        assert!(run.stderr.contains("notes.txt"), "{}", run.stderr);
    }
    assert_eq!(std::fs::read_dir(place.db()).unwrap().count(), 1);
}

#[test]
fn a_policy_that_does_not_exist_is_answered_with_those_that_do() {
    let place = Place::new();
    place.run(&["put", "k", "v"]).check_code(0);
    let run = place.run(&["compact", "--policy", "levelled"]).check_code(2);
    assert!(run.stderr.contains("lazy_leveled and fifo are accepted"), "{}", run.stderr);
    let run = place.run(&["compact", "--policy", "fifo"]).check_code(2);
    assert!(run.stderr.contains("--yes"), "{}", run.stderr);
}

#[test]
fn help_and_version_are_there() {
    for words in [["--help"].as_slice(), &["help", "load"], &["load", "--help"], &["--version"]] {
        let run = run(lsm().args(words)).check_code(0);
        assert!(!run.stdout.is_empty());
        assert!(!run.text().contains("demo-writer"));
    }
}
