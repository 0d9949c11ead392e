//! Records in and out, as text, as hexadecimal digits, as JSON.

use std::io::Read;

use crate::program::{Place, start};

#[test]
fn what_is_put_is_got_and_what_is_deleted_is_not() {
    let place = Place::new();
    place.run(&["put", "user:1", "Ada"]).check_code(0);
    assert_eq!(place.run(&["get", "user:1"]).check_code(0).text(), "Ada\n");
    place.run(&["delete", "user:1", "--yes"]).check_code(0);
    let gone = place.run(&["get", "user:1"]).check_code(1);
    assert_eq!((gone.text(), gone.stderr), (String::new(), String::new()));
    place.run(&["delete", "user:1"]).check_code(0);
}

#[test]
fn what_is_merged_is_added_by_the_keyspaces_operator() {
    let place = Place::new();
    let get = |keyspace: &str, key: &str| {
        place.run(&["get", "--hex", "--keyspace", keyspace, key]).check_code(0).text()
    };
    place.run(&["merge", "--keyspace", "hits", "--operator", "counter", "61", "5"]).check_code(0);
    place.run(&["merge", "--keyspace", "hits", "61", "-7", "1"]).check_code(0);
    assert_eq!(get("hits", "3631"), "ffffffffffffffff\n");
    let hits = |options: &[&str]| {
        place.run(&[&["get", "--keyspace", "hits", "61"], options].concat()).check_code(0)
    };
    assert_eq!(hits(&[]).text(), "-1\n");
    assert_eq!(hits(&["--raw"]).stdout, [0xFF; 8]);
    assert_eq!(hits(&["--json"]).json_lines()[0]["number"], -1);
    place.run(&["merge", "--keyspace", "log", "--operator", "append", "k", "ab"]).check_code(0);
    place.run(&["merge", "--keyspace", "log", "k", "c", "d"]).check_code(0);
    assert_eq!(place.run(&["get", "--keyspace", "log", "k"]).check_code(0).text(), "abcd\n");
    let set = ["merge", "--keyspace", "tags", "--operator", "set-union", "k", "b", "a", "b"];
    place.run(&set).check_code(0);
    assert_eq!(get("tags", "6b"), "01000000610100000062\n");
}

#[test]
fn what_was_written_is_told_as_far_back_as_the_log_goes() {
    let place = Place::new();
    place.run(&["put", "a", "1"]).check_code(0);
    place.run(&["put", "b", "2"]).check_code(0);
    let gone = place.run(&["tail"]).check_code(5);
    assert!(gone.stderr.contains("the oldest that is there is 2; --since 1"), "{}", gone.stderr);
    let told = place.run(&["tail", "--since", "1"]).check_code(0).json_lines();
    let entry = &told[0]["entries"][0];
    assert_eq!(
        (&entry["kind"], &entry["key"], &entry["value"]),
        (&"put".into(), &"b".into(), &"2".into())
    );
    assert_eq!((told.len(), &told[0]["last"]), (1, &2.into()));
}

#[test]
fn nothing_is_merged_without_an_operator_or_against_it() {
    let place = Place::new();
    place.run(&["put", "key", "value"]).check_code(0);
    let without = place.run(&["merge", "key", "1"]).check_code(2);
    assert!(without.stderr.contains("has no merge operator"), "{}", without.stderr);
    place.run(&["merge", "--keyspace", "hits", "--operator", "counter", "k", "1"]).check_code(0);
    let word = place.run(&["merge", "--keyspace", "hits", "k", "one"]).check_code(2);
    assert!(word.stderr.contains("\"one\" is not a number"), "{}", word.stderr);
    let other = ["merge", "--keyspace", "hits", "--operator", "append", "k", "1"];
    let other = place.run(&other).check_code(2);
    assert!(other.stderr.contains("lsm.counter"), "{}", other.stderr);
}

#[test]
fn a_put_can_depend_on_what_is_there() {
    let place = Place::new();
    let value = || place.run(&["get", "lock"]).check_code(0).text();
    place.run(&["put", "lock", "mine", "--if-absent"]).check_code(0);
    let held = place.run(&["put", "lock", "yours", "--if-absent"]).check_code(1);
    assert_eq!(held.stderr, "lsm: key \"lock\" has a value; nothing was written\n");
    let other = place.run(&["put", "lock", "ours", "--expect", "yours", "--json"]).check_code(1);
    assert!(other.stderr.contains("has another value"), "{}", other.stderr);
    let [told] = other.json_lines().try_into().unwrap();
    assert_eq!((&told["seq_no"], &told["found"]), (&serde_json::Value::Null, &"mine".into()));
    assert_eq!(value(), "mine\n");
    place.run(&["put", "lock", "ours", "--expect", "mine"]).check_code(0);
    place.run(&["put", "lock", "--hex", "7468", "--expect", "6f757273"]).check_code(2);
    place.run(&["put", "--hex", "6c6f636b", "7468", "--expect", "6f757273"]).check_code(0);
    assert_eq!(value(), "th\n");
    let absent = place.run(&["put", "key", "value", "--expect", ""]).check_code(1);
    assert!(absent.stderr.contains("has no value"), "{}", absent.stderr);
    place.run(&["put", "key", "value", "--if-absent", "--ttl", "1ms"]).check_code(0);
    std::thread::sleep(std::time::Duration::from_millis(2));
    place.run(&["put", "key", "value", "--if-absent"]).check_code(0);
    place.run(&["put", "key", "value", "--if-absent", "--expect", "value"]).check_code(2);
}

#[test]
fn a_value_is_expected_only_where_there_is_something() {
    let place = Place::new();
    place.run(&["put", "key", "value", "--expect", "old"]).check_code(2);
    assert!(!place.db().exists());
    place.run(&["put", "key", "value"]).check_code(0);
    let missing = ["put", "--keyspace", "new", "key", "value", "--expect", "old"];
    assert!(place.run(&missing).check_code(2).stderr.contains("there is no keyspace"));
}

#[test]
fn a_delete_that_nobody_confirms_deletes_nothing() {
    let place = Place::new();
    place.run(&["put", "user:1", "Ada"]).check_code(0);
    place.run(&["put", "user:2", "Grace"]).check_code(0);
    let refused = place.run(&["delete", "user:1"]).check_code(2);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    place.run(&["delete", "--prefix", "user:"]).check_code(2);
    place.run(&["get", "user:1"]).check_code(0);
    let deleted = place.run(&["delete", "--prefix", "user:", "--yes", "--json"]).check_code(0);
    assert_eq!(deleted.text(), "{\"deleted\":2}\n");
    place.run(&["scan"]).check_code(1);
}

#[test]
fn a_scan_prints_what_was_loaded_in_key_order() {
    let place = Place::new();
    let file = place.write("in.tsv", "b\t2\na\t1\nab\ttab\there\nc\t\n");
    place.run(&["load", file.to_str().unwrap()]).check_code(0);
    let scan = |words: &[&str]| place.run(&[&["scan"], words].concat()).check_code(0).text();
    assert_eq!(scan(&[]), "a\t1\nab\ttab\\x09here\nb\t2\nc\t\n");
    assert_eq!(scan(&["--reverse", "--limit", "2", "--keys"]), "c\nb\n");
    assert_eq!(scan(&["--prefix", "a", "--keys"]), "a\nab\n");
    assert_eq!(scan(&["--from", "ab", "--to", "c", "--keys"]), "ab\nb\n");
    assert_eq!(scan(&["--prefix", "a", "--from", "aa"]), "ab\ttab\\x09here\n");
    place.run(&["scan", "--prefix", "x"]).check_code(1);
    place.run(&["scan", "--from", "c", "--to", "a"]).check_code(1);
}

#[test]
fn any_bytes_go_in_and_out_as_hexadecimal_digits() {
    let place = Place::new();
    place.run(&["put", "--hex", "00ff", "DEADbeef"]).check_code(0);
    assert_eq!(place.run(&["get", "--hex", "00FF"]).check_code(0).text(), "deadbeef\n");
    assert_eq!(place.run(&["scan", "--hex"]).check_code(0).text(), "00ff\tdeadbeef\n");
    assert_eq!(place.run(&["scan"]).check_code(0).text(), "\\x00\\xff\t\\xde\\xad\\xbe\\xef\n");
    let raw = place.run(&["get", "--raw", "key"]).check_code(1);
    assert!(raw.stdout.is_empty());
    place.run_with_input(&["put", "key", "-"], b"\x00 raw\n").check_code(0);
    assert_eq!(place.run(&["get", "--raw", "key"]).check_code(0).stdout, b"\x00 raw\n");
    let wrong = place.run(&["get", "--hex", "xyz"]).check_code(2);
    assert!(wrong.stderr.contains("the key \"xyz\" is not hexadecimal"), "{}", wrong.stderr);
}

#[test]
fn json_lines_hold_every_record_and_can_be_loaded_again() {
    let place = Place::new();
    let input =
        place.write("in.tsv", b"text\twith \"quotes\" and \xC3\xA9\n\xFF\xFE\t\x00\nc\td\n");
    place.run(&["load", input.to_str().unwrap()]).check_code(0);
    let scan = place.run(&["scan", "--json"]).check_code(0);
    let lines = scan.json_lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1]["value"], "with \"quotes\" and é");
    assert_eq!(lines[2]["key"]["hex"], "fffe");
    let again = Place::new();
    let copy = again.write("copy.jsonl", &scan.stdout);
    again.run(&["load", copy.to_str().unwrap()]).check_code(0);
    assert_eq!(again.run(&["scan", "--json"]).check_code(0).stdout, scan.stdout);
    let hex = place.run(&["scan", "--json", "--hex", "--limit", "1"]).check_code(0);
    assert_eq!(hex.json_lines()[0]["key"]["hex"], "63");
}

#[test]
fn keyspaces_are_apart_from_each_other() {
    let place = Place::new();
    place.run(&["put", "k", "default"]).check_code(0);
    place.run(&["put", "--keyspace", "users", "k", "user"]).check_code(0);
    assert_eq!(place.run(&["get", "k"]).check_code(0).text(), "default\n");
    assert_eq!(place.run(&["get", "--keyspace", "users", "k"]).check_code(0).text(), "user\n");
    let lines = place.run(&["keyspaces", "--json"]).check_code(0).json_lines();
    let names: Vec<&str> = lines.iter().map(|line| line["keyspace"].as_str().unwrap()).collect();
    assert_eq!(names, ["default", "users"]);
    let missing = place.run(&["get", "--keyspace", "nobody", "k"]).check_code(2);
    assert!(missing.stderr.contains("it has: default, users"), "{}", missing.stderr);
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_scan_quietly() {
    let place = Place::new();
    let lines: String = (0..50_000).map(|n| format!("key{n:06}\t{n}\n")).collect();
    let input = place.write("in.tsv", lines);
    place.run(&["load", input.to_str().unwrap()]).check_code(0);
    let mut child = start(&mut place.command(&["scan"]));
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
