//! Loading: the acknowledgements, and what a load that is cut off leaves.

use crate::program::{Place, Writer, start};

fn input(records: std::ops::Range<u64>) -> String {
    records.map(|n| format!("key{n:08}\tvalue {n}\n")).collect()
}

/// How many records there are, after checking that they are the first ones of [`input`].
#[track_caller]
fn prefix_length(place: &Place) -> u64 {
    let scan = place.run(&["scan"]);
    let text = scan.text();
    let length = text.lines().count() as u64;
    let expected = input(0..length);
    assert!(text == expected, "the {length} records are not the first ones");
    length
}

#[test]
fn acknowledgements_count_up_to_the_last_record_and_nothing_else_is_printed() {
    let place = Place::new();
    let file = place.write("in.tsv", input(0..2_345));
    let run = place.run(&["load", "--ack", "--batch", "100", file.to_str().unwrap()]).check_code(0);
    let acknowledged: Vec<u64> = run
        .text()
        .lines()
        .map(|line| line.strip_prefix("acked ").expect(line).parse().expect(line))
        .collect();
    assert!(acknowledged.is_sorted_by(|one, next| one < next), "{acknowledged:?}");
    assert!(acknowledged.len() >= 23);
    assert_eq!(acknowledged.last(), Some(&2_345));
    assert_eq!(prefix_length(&place), 2_345);
    assert!(run.stderr.contains("loaded 2,345 records"), "{}", run.stderr);
}

#[test]
fn standard_input_is_acknowledged_as_it_comes() {
    let place = Place::new();
    let mut writer = Writer::start(&place);
    // Fewer than a group each time: whoever waits for the acknowledgement must get it.
    writer.write(&input(0..3), 3);
    writer.write(&input(3..4), 4);
    writer.kill();
    assert_eq!(prefix_length(&place), 4);
}

#[test]
fn a_killed_load_leaves_a_prefix_that_holds_all_that_was_acknowledged() {
    for wanted in [1, 5_000, 20_000] {
        let place = Place::new();
        let mut writer = Writer::start(&place);
        let records = input(0..200_000);
        let feeder = std::thread::spawn({
            let mut stdin = writer.take_stdin();
            // Breaks off when the reader is killed.
            move || drop(std::io::Write::write_all(&mut stdin, records.as_bytes()))
        });
        let mut acknowledged = 0;
        while acknowledged < wanted {
            acknowledged = writer.acknowledged();
        }
        writer.kill();
        feeder.join().unwrap();
        let found = prefix_length(&place);
        assert!(found >= acknowledged, "{found} records of {acknowledged} acknowledged");
        assert!(found < 200_000, "the kill came too late to show anything");
    }
}

#[test]
fn a_line_that_is_no_record_is_named_and_what_stands_before_it_is_loaded() {
    let place = Place::new();
    let file = place.write("in.tsv", format!("{}oops\n{}", input(0..7), input(7..9)));
    let run = place.run(&["load", "--ack", file.to_str().unwrap()]).check_code(2);
    assert_eq!(run.text(), "acked 7\n");
    assert!(run.stderr.contains("line 8: \"oops\" has no tab"), "{}", run.stderr);
    assert!(run.stderr.contains("the first 7 records are loaded"), "{}", run.stderr);
    assert_eq!(prefix_length(&place), 7);
}

#[test]
fn a_file_that_is_not_there_leaves_no_database_behind() {
    let place = Place::new();
    let run = place.run(&["load", "nowhere.tsv"]).check_code(2);
    assert!(run.stderr.contains("could not open nowhere.tsv"), "{}", run.stderr);
    assert!(!place.db().exists());
}

#[test]
fn acknowledgements_that_nobody_reads_are_a_failure() {
    let place = Place::new();
    let mut child = start(&mut place.command(&["load", "--ack", "--batch", "10", "-"]));
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let _ = std::io::Write::write_all(&mut stdin, input(0..5_000).as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("could not print an acknowledgement"), "{stderr}");
}

#[test]
fn a_load_tells_what_it_did() {
    let place = Place::new();
    let file = place.write("in.tsv", input(0..1_000));
    let run = place.run(&["load", "--json", file.to_str().unwrap()]).check_code(0);
    let [report] = run.json_lines().try_into().unwrap();
    assert_eq!(report["records"], 1_000);
    let amplification = report["work"]["write_amplification"].as_f64().unwrap();
    assert!((1.5..5.0).contains(&amplification), "{amplification}");
}

#[test]
fn sorted_records_are_loaded_together_or_not_at_all() {
    let place = Place::new();
    let file = place.write("in.tsv", "a\t1\nb\t2\nc\t3\n");
    let loaded = place.run(&["load", "--sorted", file.to_str().unwrap()]).check_code(0);
    assert!(loaded.stderr.contains("3 records"), "{}", loaded.stderr);
    let wrong = place.write("wrong.tsv", "d\t4\nf\t6\ne\t5\n");
    let refused = place.run(&["load", "--sorted", wrong.to_str().unwrap()]).check_code(2);
    assert!(refused.stderr.contains("\"e\" comes after \"f\""), "{}", refused.stderr);
    assert_eq!(place.run(&["scan"]).check_code(0).text(), "a\t1\nb\t2\nc\t3\n");
}

#[test]
fn what_is_exported_is_brought_into_another_keyspace() {
    let place = Place::new();
    let file = place.write("in.tsv", "a\t1\nb\t2\nc\t3\n");
    place.run(&["load", file.to_str().unwrap()]).check_code(0);
    let tables = place.write("unused", "").with_file_name("tables");
    let tables = tables.to_str().unwrap();
    let exported = place.run(&["export", tables, "--from", "b", "--json"]).check_code(0);
    assert!(exported.text().contains("\"entries\":2"), "{}", exported.text());
    place.run(&["export", tables]).check_code(2);
    place.run(&["ingest", "nowhere.sst"]).check_code(2);
    let brought = place.run(&["ingest", tables, "--keyspace", "copy"]).check_code(0);
    assert!(brought.text().contains("2 records"), "{}", brought.text());
    assert_eq!(place.run(&["scan", "--keyspace", "copy"]).check_code(0).text(), "b\t2\nc\t3\n");
}
