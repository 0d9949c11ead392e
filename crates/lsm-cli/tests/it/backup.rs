//! Checkpoints and restores from the command line, beside a writer and with damage.

use crate::program::{Place, Run, Writer, flip, lsm, run};

/// A database with a record in a table and one in the log.
fn database() -> Place {
    let place = Place::new();
    place.run(&["put", "in a table", "then"]).check_code(0);
    place.run(&["compact"]).check_code(0);
    place.run(&["put", "in the log", "then"]).check_code(0);
    place
}

fn checkpoint(place: &Place, more: &[&str]) -> Run {
    let target = place.path("monday");
    place.run(&[&["checkpoint", target.to_str().unwrap()], more].concat())
}

fn restore(place: &Place, more: &[&str]) -> Run {
    let source = place.path("monday");
    place.run(&[&["restore", source.to_str().unwrap()], more].concat())
}

#[track_caller]
fn check_value(dir: &std::path::Path, key: &str, expected: &str) {
    let found = run(lsm().arg("get").arg("--db").arg(dir).arg(key)).check_code(0);
    assert_eq!(found.text(), format!("{expected}\n"));
}

#[test]
fn a_checkpoint_and_a_restore_bring_back_what_was_there() {
    let place = database();
    let report = checkpoint(&place, &["--json"]).check_code(0).json_lines().remove(0);
    assert_eq!(report["seq_no"], 2);
    assert_eq!(report["tables"], 2, "{report}");
    place.run(&["put", "in a table", "now"]).check_code(0);
    place.run(&["delete", "in the log", "--yes"]).check_code(0);

    let refused = restore(&place, &[]).check_code(2);
    assert!(
        refused.stderr.contains("--yes") && refused.stderr.contains(".replaced"),
        "{}",
        refused.stderr
    );
    check_value(&place.db(), "in a table", "now");

    let restored = restore(&place, &["--yes"]).check_code(0);
    let replaced = place.path("my.db.replaced");
    assert!(restored.text().contains(replaced.to_str().unwrap()), "{}", restored.text());
    check_value(&place.db(), "in a table", "then");
    check_value(&place.db(), "in the log", "then");
    check_value(&replaced, "in a table", "now");
    place.run(&["verify"]).check_code(0);

    let refused = restore(&place, &["--yes"]).check_code(2);
    assert!(refused.stderr.contains("my.db.replaced is in the way"), "{}", refused.stderr);
    std::fs::remove_dir_all(&replaced).unwrap();
    let report = restore(&place, &["--yes", "--json", "--copy", "--remove-replaced"]).check_code(0);
    let report = report.json_lines().remove(0);
    assert!(report["replaced"].is_null() && !replaced.exists(), "{report}");
    assert_eq!(report["bytes_linked"], 0);
    assert!(report["bytes_verified"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn a_checkpoint_can_be_made_while_another_process_writes() {
    let place = database();
    let mut writer = Writer::start(&place);
    writer.write("more\tunflushed\n", 1);
    let text = checkpoint(&place, &[]).check_code(0).text();
    assert!(text.contains("sequence number 3"), "{text}");
    writer.write("later\tnot in it\n", 2);
    let busy = restore(&place, &["--yes"]).check_code(3);
    assert!(busy.stderr.contains(&writer.process_id().to_string()), "{}", busy.stderr);
    check_value(&place.path("monday"), "more", "unflushed");
    run(lsm().arg("get").arg("--db").arg(place.path("monday")).arg("later")).check_code(1);
    writer.kill();
}

#[test]
fn a_target_in_use_is_refused_and_a_missing_database_is_named() {
    let place = database();
    checkpoint(&place, &[]).check_code(0);
    let again = checkpoint(&place, &[]).check_code(2);
    assert!(again.stderr.contains("exists and is not empty"), "{}", again.stderr);
    let missing = Place::new();
    for run in [checkpoint(&missing, &[]), restore(&missing, &[])] {
        assert!(run.check_code(2).stderr.contains("there is no database at"));
    }
    assert!(!missing.path("monday").exists() && !missing.db().exists());
}

#[test]
fn a_damaged_checkpoint_is_not_restored() {
    let place = database();
    checkpoint(&place, &["--copy"]).check_code(0);
    place.run(&["put", "in a table", "now"]).check_code(0);
    let listing = std::fs::read_dir(place.path("monday")).unwrap();
    let mut files: Vec<_> = listing.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "sst"));
    flip(&files[0], 3);
    let refused = restore(&place, &["--yes"]).check_code(4);
    assert!(refused.stderr.contains(files[0].to_str().unwrap()), "{}", refused.stderr);
    check_value(&place.db(), "in a table", "now");
}
