//! Options: shown, and set.

use serde_json::Value;

use crate::program::Place;

fn option(place: &Place, keyspace: &str, name: &str) -> String {
    let lines =
        place.run(&["options", "--json", "--keyspace", keyspace]).check_code(0).json_lines();
    let is_it = |line: &&Value| line["keyspace"] == *keyspace && line["option"] == *name;
    lines.iter().find(is_it).expect(name)["value"].as_str().unwrap().to_owned()
}

#[test]
fn options_show_what_a_database_has_chosen_and_what_looks_unwise() {
    let place = Place::new();
    place.run(&["put", "key", "value"]).check_code(0);
    let lines = place.run(&["options", "--json"]).check_code(0).json_lines();
    let find = |keyspace: Option<&str>, option: &str| {
        let is_it =
            |line: &&Value| line["keyspace"].as_str() == keyspace && line["option"] == option;
        lines.iter().find(is_it).unwrap_or_else(|| panic!("{option} in {lines:?}")).clone()
    };
    let memory = find(None, "memory_bytes");
    assert_eq!(memory["value"], memory["default"]);
    assert!(memory["does"].as_str().unwrap().contains("budget"), "{memory}");
    assert_eq!(find(Some("default"), "block_bytes")["value"], "4096");
    let text = place.run(&["options"]).check_code(0).text().to_owned();
    assert!(
        text.contains("\nkeyspace default\n") && text.contains("  block_bytes: 4096\n"),
        "{text}"
    );
    place.run(&["options", "--keyspace", "missing"]).check_code(2);
}

#[test]
fn options_of_a_keyspace_are_set_together_and_for_good() {
    let place = Place::new();
    place.run(&["put", "--keyspace", "cache", "before", "1"]).check_code(0);
    let set = ["options", "--keyspace", "cache", "--set", "ttl_ms=1", "--set"];
    let run = place.run(&[&set[..], &["compression=none zstd(3)"]].concat()).check_code(0);
    assert!(run.text().starts_with("keyspace cache\n"), "{}", run.text());
    assert!(run.text().contains("  ttl_ms: 1 (the default is none)\n"), "{}", run.text());
    assert!(!run.text().contains("block_bytes"), "{}", run.text());
    assert_eq!(option(&place, "cache", "ttl_ms"), "1");
    assert_eq!(option(&place, "cache", "compression"), "none zstd(3)");
    assert_eq!(option(&place, "default", "ttl_ms"), "none", "another keyspace");
    place.run(&["put", "--keyspace", "cache", "after", "2"]).check_code(0);
    std::thread::sleep(std::time::Duration::from_millis(2));
    let scan = place.run(&["scan", "--keyspace", "cache"]).check_code(0);
    assert_eq!(scan.text(), "before\t1\n", "what is put now expires");
    place.run(&["options", "--keyspace", "cache", "--set", "ttl_ms=none"]).check_code(0);
    assert_eq!(option(&place, "cache", "ttl_ms"), "none");
}

#[test]
fn large_values_leave_their_keys_once_a_threshold_is_set() {
    let place = Place::new();
    let set = ["options", "--set", "blob_threshold_bytes=100", "--set", "filter_bits_per_key=none"];
    place.run(&["put", "key", "short"]).check_code(0);
    let lines = place.run(&[&set[..], &["--json"]].concat()).check_code(0).json_lines();
    assert_eq!(lines.len(), 2);
    place.run(&["put", "key", &"long".repeat(100)]).check_code(0);
    assert_eq!(place.files("blob").len(), 1);
}

#[test]
fn what_cannot_be_set_is_answered_with_what_can_and_nothing_is_set() {
    let place = Place::new();
    place.run(&["put", "key", "value"]).check_code(0);
    let refused: [(&str, &str); 13] = [
        ("ttl=5", "no option ttl; it has: compaction, compression, filter_bits_per_key, "),
        (
            "memory_bytes=1",
            "by the program that opens the database, and not saved; a keyspace has: ",
        ),
        ("ttl_ms=soon", "option ttl_ms is \"soon\"; a number is accepted, or none"),
        ("ttl_ms=0", "option ttl_ms is 0; "),
        ("block_bytes=none", "option block_bytes is \"none\"; a number is accepted"),
        ("block_bytes=9", "option block_bytes is 9; 256 to 1048576 are accepted"),
        ("filter_bits_per_key=99", "1 to 64 are accepted, or none"),
        ("compression=brotli", "none, lz4 and zstd(LEVEL) are accepted"),
        ("compaction=levelled", "option compaction: "),
        ("compaction=fifo", "--yes"),
        ("merge_operator=mine", "counter, set-union and append are accepted"),
        ("compaction_filter=mine", "none is accepted"),
        ("tombstone_age_limit_ms", "NAME=VALUE is accepted"),
    ];
    for (change, expected) in refused {
        let words = ["options", "--set", "ttl_ms=7", "--set", change];
        let words =
            if change.starts_with("ttl_ms") { &["options", "--set", change] } else { &words[..] };
        let run = place.run(words).check_code(2);
        assert!(run.stderr.contains(expected), "{change}: {}", run.stderr);
        assert_eq!(option(&place, "default", "ttl_ms"), "none", "{change}");
    }
    let twice = ["options", "--set", "ttl_ms=7", "--set", "ttl_ms=8"];
    assert!(place.run(&twice).check_code(2).stderr.contains("set twice"));
    let missing = ["options", "--keyspace", "missing", "--set", "ttl_ms=7"];
    assert!(place.run(&missing).check_code(2).stderr.contains("it has: default"));
}

#[test]
fn policy_and_operator_are_options_too() {
    let place = Place::new();
    place.run(&["put", "other", "value"]).check_code(0);
    let set = ["options", "--yes", "--set", "compaction=fifo", "--set", "merge_operator=counter"];
    place.run(&set).check_code(0);
    assert!(option(&place, "default", "compaction").starts_with("fifo("));
    assert_eq!(option(&place, "default", "merge_operator"), "lsm.counter");
    place.run(&["merge", "key", "1"]).check_code(0);
    // It stays, and may be said again as it is shown.
    place.run(&["options", "--set", "merge_operator=lsm.counter"]).check_code(0);
    let run = place.run(&["options", "--set", "merge_operator=none"]).check_code(2);
    assert!(run.stderr.contains("which stays"), "{}", run.stderr);
}
