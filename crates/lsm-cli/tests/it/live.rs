//! Beside a process that has the database open for writing.

use std::time::{Duration, Instant};

use crate::program::{Place, Writer};

#[test]
fn reading_works_beside_a_writer_and_changes_nothing() {
    let place = Place::new();
    let mut writer = Writer::start(&place);
    writer.write("a\t1\nb\t2\n", 2);
    // The writer makes the log's next segment ready by itself, and its reserve; then it is quiet.
    let begun = Instant::now();
    while place.files("log").len() < 2 || !place.db().join("RESERVE").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", names(&place));
        std::thread::sleep(Duration::from_millis(1));
    }
    let before = names(&place);
    assert_eq!(place.run(&["get", "a"]).check_code(0).text(), "1\n");
    assert_eq!(place.run(&["scan"]).check_code(0).text(), "a\t1\nb\t2\n");
    let commands: [&[&str]; 7] = [
        &["stats", "--count"],
        &["shape"],
        &["keyspaces"],
        &["history", "a"],
        &["explain", "a"],
        &["verify"],
        &["stats", "--json"],
    ];
    for words in commands {
        place.run(words).check_code(0);
    }
    for log in place.files("log") {
        crate::program::run(crate::program::lsm().args(["dump", "wal"]).arg(log)).check_code(0);
    }
    assert_eq!(names(&place), before);
    // The writer goes on, and what it writes is seen.
    writer.write("c\t3\n", 3);
    assert_eq!(place.run(&["get", "c"]).check_code(0).text(), "3\n");
}

fn names(place: &Place) -> Vec<std::ffi::OsString> {
    let listing = std::fs::read_dir(place.db()).unwrap();
    let mut names: Vec<_> = listing.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn a_second_writer_is_told_who_the_first_one_is() {
    let place = Place::new();
    let mut writer = Writer::start(&place);
    writer.write("a\t1\n", 1);
    let commands: [&[&str]; 4] =
        [&["put", "b", "2"], &["delete", "a", "--yes"], &["compact"], &["demo", "--yes"]];
    for words in commands {
        let run = place.run(words).check_code(3);
        let holder = format!("process {}", writer.process_id());
        assert!(run.stderr.contains(&holder), "{words:?}: {}", run.stderr);
    }
    assert_eq!(place.run(&["get", "a"]).check_code(0).text(), "1\n");
}
