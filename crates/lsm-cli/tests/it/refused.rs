//! What is refused leaves nothing that was not there.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::program::{Place, flip, lsm, run};

/// A directory with an exported table in which a byte is wrong.
fn damaged_tables(place: &Place) -> PathBuf {
    let source = Place::new();
    source.run(&["put", "a", "1"]).check_code(0);
    let tables = place.path("tables");
    source.run(&["export", tables.to_str().unwrap()]).check_code(0);
    let mut files = std::fs::read_dir(&tables).unwrap().map(|file| file.unwrap().path());
    let table = files.find(|file| file.extension().is_some_and(|ending| ending == "sst"));
    flip(&table.expect("a table"), 20);
    tables
}

/// Runs what is refused where there is no database yet.
#[track_caller]
fn check_no_database(place: &Place, words: &[&str], code: i32) {
    let refused = place.run(words).check_code(code);
    assert!(!refused.stderr.contains("left"), "{}", refused.stderr);
    assert!(!place.db().exists(), "{words:?} left something behind");
}

/// Runs what is refused for a new keyspace of a database that is there.
#[track_caller]
fn check_no_keyspace(place: &Place, words: &[&str], code: i32) {
    place.run(&["put", "there", "before"]).check_code(0);
    let words = [words, &["--keyspace", "new"]].concat();
    let refused = place.run(&words).check_code(code);
    assert!(!refused.stderr.contains("left"), "{}", refused.stderr);
    let [keyspace] = place.run(&["keyspaces", "--json"]).json_lines().try_into().unwrap();
    assert_eq!(keyspace["keyspace"], "default", "{words:?} left something behind");
    assert_eq!(place.run(&["scan"]).check_code(0).text(), "there\tbefore\n");
    place.run(&["verify"]).check_code(0);
}

#[track_caller]
fn check_nothing_is_left(place: &Place, words: &[&str], code: i32) {
    check_no_database(place, words, code);
    check_no_keyspace(place, words, code);
}

#[test]
fn a_damaged_table_leaves_neither_database_nor_keyspace() {
    let place = Place::new();
    let tables = damaged_tables(&place);
    check_nothing_is_left(&place, &["ingest", tables.to_str().unwrap()], 4);
}

#[test]
fn records_out_of_order_leave_neither_database_nor_keyspace() {
    let place = Place::new();
    let file = place.write("in.tsv", "b\t2\na\t1\n");
    check_nothing_is_left(&place, &["load", "--sorted", file.to_str().unwrap()], 2);
}

#[test]
fn a_load_that_loads_no_record_leaves_neither_database_nor_keyspace() {
    let place = Place::new();
    let file = place.write("in.tsv", format!("{}\t1\n", "k".repeat(65_536)));
    check_nothing_is_left(&place, &["load", file.to_str().unwrap()], 2);
}

#[test]
fn a_record_that_is_refused_leaves_neither_database_nor_keyspace() {
    let long = "k".repeat(65_536);
    check_nothing_is_left(&Place::new(), &["put", &long, "value"], 2);
    check_nothing_is_left(&Place::new(), &["put", &long, "value", "--if-absent"], 2);
    let merge = ["merge", "--operator", "counter"];
    check_nothing_is_left(&Place::new(), &[&merge[..], &["key", "one"]].concat(), 2);
    check_nothing_is_left(&Place::new(), &[&merge[..], &[&long, "1"]].concat(), 2);
}

#[test]
fn a_keyspace_that_cannot_be_leaves_no_database() {
    let name = "n".repeat(256);
    check_no_database(&Place::new(), &["put", "--keyspace", &name, "key", "value"], 2);
}

#[test]
fn an_operand_that_is_refused_names_no_operator() {
    let place = Place::new();
    place.run(&["put", "other", "value"]).check_code(0);
    place.run(&["merge", "--operator", "counter", "key", "one"]).check_code(2);
    place.run(&["merge", "--operator", "counter", &"k".repeat(65_536), "1"]).check_code(2);
    place.run(&["merge", "--operator", "append", "key", "one"]).check_code(0);
}

#[test]
fn directories_are_as_they_were() {
    let place = Place::new();
    let tables = damaged_tables(&place);
    let ingest = |db: &PathBuf| run(lsm().arg("ingest").arg("--db").arg(db).arg(&tables));
    let above = place.path("above");
    ingest(&above.join("deep").join("my.db")).check_code(4);
    assert!(!above.exists(), "directories above it are left");
    std::fs::create_dir(&above).unwrap();
    ingest(&above.join("deep").join("my.db")).check_code(4);
    let before = std::fs::metadata(&above).unwrap().ino();
    ingest(&above).check_code(4);
    assert_eq!(std::fs::read_dir(&above).unwrap().count(), 0, "it was there, and empty");
    assert_eq!(std::fs::metadata(&above).unwrap().ino(), before, "it is another one");
}
