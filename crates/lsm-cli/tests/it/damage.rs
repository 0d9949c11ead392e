//! Damaged files are reported with file and offset, and with exit code 4.

use std::path::Path;

use crate::program::{Place, Run, flip, lsm, run};

/// A database whose records are in one table.
fn database() -> Place {
    let place = Place::new();
    let lines: String = (0..5_000).map(|n| format!("key{n:06}\tvalue of {n}\n")).collect();
    let input = place.write("in.tsv", lines);
    place.run(&["load", input.to_str().unwrap()]).check_code(0);
    place.run(&["compact"]).check_code(0);
    place.run(&["verify"]).check_code(0);
    place
}

#[track_caller]
fn check_damage(place: &Place, path: &Path) -> Run {
    let run = place.run(&["verify"]).check_code(4);
    let named = format!("{} at byte ", path.display());
    assert!(run.text().contains(&named), "{}{}", run.text(), run.stderr);
    run
}

#[test]
fn a_flipped_byte_anywhere_in_a_table_is_found() {
    let place = database();
    let table = place.files("sst").remove(0);
    let bytes = std::fs::read(&table).unwrap();
    let step = bytes.len() / 40 + 1;
    for offset in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
        flip(&table, offset);
        let run = check_damage(&place, &table);
        let report = place.run(&["verify", "--json"]).check_code(4).json_lines();
        assert_eq!(report[0]["path"], table.to_str().unwrap(), "{}", run.text());
        // The offset is that of the block or section that holds the byte.
        assert!(
            report[0]["offset"].as_u64().unwrap() <= offset as u64,
            "byte {offset}: {report:?}"
        );
        std::fs::write(&table, &bytes).unwrap();
    }
    place.run(&["verify"]).check_code(0);
}

#[test]
fn a_flipped_byte_in_the_log_or_the_manifest_is_found() {
    let place = Place::new();
    place.run(&["put", "k", "v"]).check_code(0);
    let segment = place.files("log").remove(0);
    // Behind the identity frame, 76 bytes, lies the first batch.
    flip(&segment, 110);
    check_damage(&place, &segment);
    flip(&segment, 110);
    place.run(&["verify"]).check_code(0);

    let manifest = place.files("manifest").remove(0);
    flip(&manifest, 120);
    check_damage(&place, &manifest);
    flip(&manifest, 120);
    place.run(&["verify"]).check_code(0);
}

#[test]
fn damage_in_one_file_does_not_hide_that_in_another() {
    let place = database();
    place.run(&["put", "key000001", "again"]).check_code(0);
    let tables = place.files("sst");
    assert_eq!(tables.len(), 2);
    for table in &tables {
        flip(table, 20);
    }
    let text = check_damage(&place, &tables[0]).text();
    assert!(text.contains(&tables[1].display().to_string()), "{text}");
    std::fs::remove_file(&tables[0]).unwrap();
    let text = check_damage(&place, &tables[1]).text();
    assert!(text.contains("not in the directory"), "{text}");
}

#[test]
fn a_read_that_meets_damage_says_where() {
    let place = database();
    let table = place.files("sst").remove(0);
    flip(&table, 100);
    let run = place.run(&["get", "key000000"]).check_code(4);
    assert!(run.stderr.contains(table.file_name().unwrap().to_str().unwrap()), "{}", run.stderr);
    // Other keys keep working.
    assert_eq!(place.run(&["get", "key004999"]).check_code(0).text(), "value of 4999\n");
    let scan = place.run(&["scan"]).check_code(4);
    assert!(scan.stderr.contains("at byte"), "{}", scan.stderr);
}

#[test]
fn a_dump_goes_as_far_as_the_file_is_whole() {
    let place = Place::new();
    for n in 0..10 {
        place.run_with_input(&["put", &format!("k{n}"), "-"], &[b'v'; 100]).check_code(0);
    }
    let manifest = place.files("manifest").remove(0);
    let whole = run(lsm().args(["dump", "manifest"]).arg(&manifest)).check_code(0);
    flip(&manifest, std::fs::metadata(&manifest).unwrap().len() as usize - 1);
    let cut = run(lsm().args(["dump", "manifest"]).arg(&manifest)).check_code(4);
    assert!(whole.text().starts_with(&cut.text()) && !cut.stdout.is_empty(), "{}", cut.text());
    assert!(cut.stderr.contains("at byte"), "{}", cut.stderr);
}

#[test]
fn a_damaged_database_is_repaired_and_the_loss_is_told() {
    let place = database();
    let table = place.files("sst").remove(0);
    flip(&table, 100);
    let told = place.run(&["repair", "--dry-run"]).check_code(4).text();
    assert!(told.contains("lost: keyspace \"default\", keys \"key000000\" to "), "{told}");
    // Nobody can be asked, so nothing is done.
    let refused = place.run(&["repair"]).check_code(2);
    assert!(refused.stderr.contains("--yes is needed"), "{}", refused.stderr);
    place.run(&["verify"]).check_code(4);

    let report = place.run(&["repair", "--yes", "--json"]).check_code(4).json_lines();
    assert_eq!(report[0]["losses"][0]["keyspace"], "default", "{report:?}");
    assert_eq!(report[0]["tables_written"], 1, "{report:?}");
    place.run(&["verify"]).check_code(0);
    place.run(&["get", "key000000"]).check_code(1);
    assert_eq!(place.run(&["get", "key004999"]).check_code(0).text(), "value of 4999\n");
    assert!(place.db().join("lost").join(table.file_name().unwrap()).exists());
    let again = place.run(&["repair", "--yes"]).check_code(0).text();
    assert_eq!(again, "nothing is wrong, and nothing was changed\n");
}

#[test]
fn an_open_that_meets_damage_names_repair() {
    let place = database();
    std::fs::remove_file(&place.files("sst")[0]).unwrap();
    let run = place.run(&["put", "k", "v"]).check_code(4);
    assert!(run.stderr.contains("`lsm repair` can make a database"), "{}", run.stderr);
    place.run(&["repair", "--yes"]).check_code(4);
    place.run(&["put", "k", "v"]).check_code(0);
}
