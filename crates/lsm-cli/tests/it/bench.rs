//! Benchmarks: what they carry out, what they tell, and what they leave alone. Never how fast.

use serde_json::Value;

use crate::program::{Place, Run, lsm, run};

/// Small enough for a test.
const SMALL: [&str; 4] = ["--records", "2000", "--value-bytes", "20"];

/// `lsm bench WORDS...` on few records, without a place of its own among the temporary files.
fn bench(place: &Place, words: &[&str]) -> Run {
    let temp = place.path("temp");
    std::fs::create_dir_all(&temp).unwrap();
    run(lsm().arg("bench").args(words).args(SMALL).env("TMPDIR", temp))
}

#[track_caller]
fn figures(run: Run) -> Value {
    let [figures] = run.check_code(0).json_lines().try_into().unwrap();
    figures
}

/// A workload does operations of these kinds and of no other, and tells how long each took.
#[track_caller]
fn check_kinds(workload: &str, expected: &[&str]) {
    let place = Place::new();
    let figures =
        figures(bench(&place, &[workload, "--seconds", "1", "--durability", "os", "--json"]));
    let kinds = figures["kinds"].as_object().unwrap();
    let names: Vec<&str> = kinds.keys().map(String::as_str).collect();
    assert_eq!(names, expected, "{workload}");
    let operations: u64 = kinds.values().map(|kind| kind["operations"].as_u64().unwrap()).sum();
    assert_eq!(figures["operations"], operations);
    for kind in kinds.values() {
        let us = |name: &str| kind["latency_us"][name].as_f64().unwrap();
        assert!(us("p50") <= us("p99") && us("p99") <= us("p99_9") && us("p99_9") <= us("max"));
    }
}

#[test]
fn each_workload_does_what_its_name_says() {
    check_kinds("read", &["read"]);
    check_kinds("overwrite", &["write"]);
    check_kinds("ycsb-a", &["read", "write"]);
    check_kinds("ycsb-b", &["read", "write"]);
    check_kinds("ycsb-c", &["read"]);
    check_kinds("ycsb-d", &["read", "write"]);
    check_kinds("ycsb-e", &["scan", "write"]);
    check_kinds("ycsb-f", &["read", "read_and_write"]);
}

#[test]
fn a_fill_writes_each_record_once_from_any_number_of_threads() {
    let place = Place::new();
    let figures =
        figures(place.run(&["bench", "fill", "--records", "1001", "--threads", "3", "--json"]));
    assert_eq!(figures["operations"], 1001);
    assert_eq!(figures["work"]["user_bytes"], 1001 * 116);
    let keys = place.run(&["scan", "--keyspace", "lsm-bench", "--keys", "--hex"]).check_code(0);
    assert_eq!(keys.text().lines().count(), 1001);
    place.run(&["verify"]).check_code(0);
}

#[test]
fn what_it_tells_people_has_a_rate_a_picture_and_what_was_written() {
    let place = Place::new();
    let run = bench(&place, &["ycsb-a", "--seconds", "1", "--threads", "2"]).check_code(0);
    let text = run.text();
    for part in [
        "2,000 records of 20 B of values, 2 threads, durability disk",
        "a second",
        "p99.9",
        "read and write",
        "How long they took:",
        "█",
        "write amplification",
    ] {
        let is_there = text.contains(part);
        assert_eq!(is_there, part != "read and write", "{part}: {text}");
    }
}

#[test]
fn the_options_reach_the_database() {
    let place = Place::new();
    let words = ["bench", "fill", "--records", "100", "--compression", "lz4", "--policy", "tiered"];
    place.run(&words).check_code(0);
    let keyspaces = place.run(&["keyspaces"]).check_code(0).text();
    let line = keyspaces.lines().find(|line| line.contains("lsm-bench")).expect("a keyspace");
    assert!(line.contains("tiered"), "{keyspaces}");
}

#[test]
fn without_a_place_nothing_stays() {
    let place = Place::new();
    bench(&place, &["read", "--seconds", "1"]).check_code(0);
    bench(&place, &["fill", "--policy", "fifo"]).check_code(2);
    assert_eq!(std::fs::read_dir(place.path("temp")).unwrap().count(), 0);
}

#[test]
fn a_directory_that_holds_anything_is_left_alone() {
    let place = Place::new();
    std::fs::create_dir(place.db()).unwrap();
    place.write("my.db/notes.txt", "mine");
    for words in [["bench", "fill"].as_slice(), &["bench", "fill", "--existing", "--yes"]] {
        let run = place.run(words).check_code(2);
        let expected = if words.len() == 2 { "holds notes.txt" } else { "no database" };
        assert!(run.stderr.contains(expected), "{}", run.stderr);
    }
    assert_eq!(std::fs::read_dir(place.db()).unwrap().count(), 1);
}

#[test]
fn a_database_is_used_only_if_that_is_asked_for_and_its_data_stay() {
    let place = Place::new();
    place.run(&["put", "mine", "precious"]).check_code(0);
    let refused = place.run(&["bench", "fill", "--records", "10"]).check_code(2);
    assert!(refused.stderr.contains("--existing"), "{}", refused.stderr);

    let added = ["bench", "fill", "--records", "10", "--existing"];
    place.run(&added).check_code(0);
    // What an earlier run has left is not replaced unasked.
    let refused = place.run(&added).check_code(2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    place.run(&["bench", "fill", "--records", "7", "--existing", "--yes"]).check_code(0);

    assert_eq!(place.run(&["get", "mine"]).check_code(0).text(), "precious\n");
    let keys = place.run(&["scan", "--keyspace", "lsm-bench", "--keys", "--hex"]).check_code(0);
    assert_eq!(keys.text().lines().count(), 7);
}
