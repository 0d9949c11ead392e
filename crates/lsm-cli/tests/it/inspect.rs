//! Looking inside: stats, shape, history, explain, dump, compact.

use lsm_engine::{Db, KeyspaceOptions, Options};

use crate::program::{Place, lsm, run};

fn load(place: &Place, records: std::ops::Range<u32>) {
    let lines: String = records.map(|n| format!("key{n:06}\tvalue of {n}\n")).collect();
    let input = place.write("in.tsv", lines);
    place.run(&["load", input.to_str().unwrap()]).check_code(0);
}

#[test]
fn the_history_of_a_key_is_every_version_newest_first() {
    let place = Place::new();
    place.run(&["put", "k", "one"]).check_code(0);
    place.run(&["put", "k", "two"]).check_code(0);
    place.run(&["delete", "k", "--yes"]).check_code(0);
    let lines = place.run(&["history", "k", "--json"]).check_code(0).json_lines();
    let versions: Vec<_> = lines
        .iter()
        .map(|line| (line["kind"].as_str().unwrap(), line["value"].as_str().unwrap()))
        .collect();
    assert_eq!(versions, [("delete", ""), ("put", "two"), ("put", "one")]);
    assert!(lines.is_sorted_by_key(|line| std::cmp::Reverse(line["seq_no"].as_u64())));
    assert!(lines.iter().all(|line| line["place"]["level"] == 0), "{lines:?}");
    assert!(place.run(&["history", "k"]).check_code(0).text().contains("level 0, table"));
    place.run(&["history", "other"]).check_code(1);
}

#[test]
fn explain_shows_the_path_of_a_read() {
    let place = Place::new();
    load(&place, 0..1_000);
    let [found] = place.run(&["explain", "key000500", "--json"]).json_lines().try_into().unwrap();
    assert_eq!(found["value"], "value of 500");
    let steps = found["steps"].as_array().unwrap();
    assert_eq!(steps[0]["place"]["memtable"], "active");
    let last = steps.last().unwrap();
    assert!(last["outcome"].as_str().unwrap().contains("found"), "{last}");
    assert!(last["block"]["stored_bytes"].as_u64().unwrap() > 0, "{last}");
    let missing = place.run(&["explain", "key0005005"]).check_code(0);
    assert!(missing.text().contains("no value"), "{}", missing.text());
}

#[test]
fn stats_count_what_is_there() {
    let place = Place::new();
    load(&place, 0..1_000);
    load(&place, 500..1_500);
    place.run(&["delete", "--prefix", "key0000", "--yes"]).check_code(0);
    let run = place.run(&["stats", "--count", "--json"]).check_code(0);
    let [stats] = run.json_lines().try_into().unwrap();
    let keyspace = &stats["keyspaces"][0];
    assert_eq!(keyspace["records"], 1_400);
    assert_eq!(keyspace["total"]["entries"], 2_000);
    assert_eq!(keyspace["total"]["tombstones"], 0, "one range delete stands for them");
    assert_eq!(stats["recovery"]["closed_cleanly"], true);
    assert_eq!(stats["files"]["tables"]["files"], 3);
    assert!(keyspace["space_amplification"].as_f64().unwrap() > 1.0);
    assert!(stats["room_bytes"].as_u64().unwrap() > 0);
    assert_eq!(stats["files"]["reserve"]["files"], u64::from(place.db().join("RESERVE").exists()));
    let text = place.run(&["stats"]).check_code(0).text();
    assert!(text.contains("  the disk has room for "), "{text}");
    assert!(text.contains("keyspace default: leveled("), "{text}");
}

#[test]
fn the_shape_is_drawn_in_the_terminal_and_as_a_picture() {
    let place = Place::new();
    load(&place, 0..1_000);
    load(&place, 400..600);
    let svg = place.path("tree.svg");
    let run =
        place.run(&["shape", "--svg", svg.to_str().unwrap(), "--columns", "80"]).check_code(0);
    assert!(run.text().lines().all(|line| line.contains("tree.svg") || line.chars().count() <= 80));
    assert!(run.text().contains("key000000") && run.text().contains("L0  "), "{}", run.text());
    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!(svg.matches("<title>").count(), 2);
    let [shape] = place.run(&["shape", "--json"]).json_lines().try_into().unwrap();
    assert_eq!(shape["runs"][0]["tables"][0]["lower"], "key000400");
}

#[test]
fn compacting_leaves_one_version_of_each_record_and_no_tombstones() {
    let place = Place::new();
    load(&place, 0..1_000);
    load(&place, 0..1_000);
    place.run(&["delete", "--prefix", "key0009", "--yes"]).check_code(0);
    let before = place.run(&["scan"]).check_code(0).stdout;
    let text = place.run(&["compact"]).check_code(0).text();
    assert!(text.contains("Before:") && text.contains("After:"), "{text}");
    let [stats] = place.run(&["stats", "--json"]).json_lines().try_into().unwrap();
    assert_eq!(stats["keyspaces"][0]["total"]["entries"], 900);
    assert_eq!(stats["keyspaces"][0]["total"]["tombstones"], 0);
    assert_eq!(place.run(&["scan"]).check_code(0).stdout, before);
    let [report] = place.run(&["compact", "--json"]).json_lines().try_into().unwrap();
    assert!(report["bytes_written"].is_u64());
}

#[test]
fn the_policy_of_a_keyspace_is_switched_for_good() {
    let place = Place::new();
    load(&place, 0..1_000);
    for policy in ["tiered", "lazy-leveled", "leveled(size_ratio=4)"] {
        place.run(&["compact", "--policy", policy]).check_code(0);
        let [line] = place.run(&["keyspaces", "--json"]).json_lines().try_into().unwrap();
        let name = policy.split('(').next().unwrap().replace('-', "_");
        assert!(line["policy"].as_str().unwrap().starts_with(&name), "{line}");
    }
    assert_eq!(place.run(&["scan"]).check_code(0).text().lines().count(), 1_000);
}

#[test]
fn dumps_show_what_is_in_each_kind_of_file() {
    let place = Place::new();
    place.run(&["put", "k", "value"]).check_code(0);
    place.run(&["delete", "k", "--yes"]).check_code(0);
    let dump = |kind: &str, ending: &str, rest: &[&str]| {
        let files = place.files(ending);
        let mut lines = Vec::new();
        for file in files {
            let run = run(lsm().args(["dump", kind]).arg(file).arg("--json").args(rest));
            lines.extend(run.check_code(0).json_lines());
        }
        lines
    };
    let deletes = dump("table", "sst", &["--kind", "delete"]);
    assert_eq!(deletes.len(), 1);
    assert_eq!(deletes[0]["key"], "k");
    let tables = dump("table", "sst", &[]);
    for wanted in ["properties", "block", "entry"] {
        assert!(tables.iter().any(|line| line["type"] == wanted), "{wanted}: {tables:?}");
    }
    let log = dump("wal", "log", &[]);
    assert!(log.iter().any(|line| line["frame"] == "close"), "{log:?}");
    let manifest = dump("manifest", "manifest", &[]);
    assert!(manifest.iter().any(|line| line["type"] == "snapshot"), "{manifest:?}");
    let text = run(lsm().args(["dump", "manifest"]).arg(&place.files("manifest")[0]));
    assert!(text.text().contains("create keyspace 0 \"default\""), "{}", text.text());
    run(lsm().args(["dump", "table"]).arg(place.db())).check_code(2);
}

#[test]
fn large_values_are_counted_and_dumped() {
    let place = Place::new();
    let options = Options {
        keyspace: KeyspaceOptions { blob_threshold_bytes: Some(100), ..KeyspaceOptions::default() },
        ..Options::default()
    };
    let db = Db::open_with(place.db(), options).unwrap();
    db.put("short", "value").unwrap();
    db.put("long", [b'v'; 100]).unwrap();
    db.close().unwrap();
    let [stats] = place.run(&["stats", "--json"]).json_lines().try_into().unwrap();
    assert_eq!(stats["blobs"]["live_values"], 1, "{stats}");
    assert_eq!(stats["blobs"]["live_bytes"], 100);
    assert_eq!(stats["files"]["large values"]["files"], 1);
    let text = place.run(&["stats"]).check_code(0).text();
    assert!(text.contains("1 of 100 B in 1 blob file, and 0 B that nothing"), "{text}");
    let metrics = place.run(&["stats", "--prometheus"]).check_code(0).text();
    assert!(metrics.contains("\nlsm_blob_live_bytes 100\n"), "{metrics}");
    let dump = |kind: &str, ending: &str| {
        let run = run(lsm().args(["dump", kind]).arg(&place.files(ending)[0]).arg("--json"));
        run.check_code(0).json_lines()
    };
    let [properties, value] = dump("blob", "blob").try_into().unwrap();
    assert_eq!(value["value"], "v".repeat(100));
    let number = &properties["number"];
    let table = dump("table", "sst");
    let long = table.iter().find(|line| line["key"] == "long").unwrap();
    assert_eq!(long["value"]["blob"], *number);
    let manifest = dump("manifest", "manifest");
    let text = serde_json::to_string(&manifest).unwrap();
    assert!(text.contains("\"add_blob\"") && text.contains("\"refer\""), "{text}");
}

#[test]
fn stats_print_what_prometheus_reads() {
    let place = Place::new();
    load(&place, 0..1_000);
    let text = place.run(&["stats", "--prometheus"]).check_code(0).text().to_owned();
    assert!(text.contains("# TYPE lsm_level_entries gauge\n"), "{text}");
    assert!(text.contains("lsm_level_entries{level=\"0\"} 1000\n"), "{text}");
}
