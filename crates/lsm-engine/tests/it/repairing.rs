//! What a repair makes of a damaged directory, held against a model: whatever differs is told as lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lsm_engine::{
    Db, ErrorKind, KeyspaceOptions, Options, Reads, RepairOptions, RepairReport, Step,
    VerifyOptions, WriteBatch, repair, verify_with,
};
use lsm_io::{CrashPolicy, Fs, Identity, OpenMode, SEAL_BYTES, Sealer, SimFs, every};
use lsm_manifest::Manifest;
use lsm_wal::PreparedSegment;

use crate::{key, open, tiny_options};

/// Every keyspace's records.
type Model = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

/// How a test's database is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Closed,
    /// The process was killed, so the newest writes are in the log alone.
    Killed,
}

/// A database of two keyspaces with tables in several levels, tombstones, and batches in the log.
fn database(left: Left) -> (SimFs, Model) {
    let fs = SimFs::new(7);
    let db = open(&fs);
    let users = db.keyspace_with("users", tiny_options(&fs).keyspace).expect("creates");
    let mut model = Model::new();
    model.insert("default".into(), BTreeMap::new());
    model.insert("users".into(), BTreeMap::new());
    let put = |model: &mut Model, n: u32, value: String| {
        db.put(key(n), &value).expect("writes");
        model.get_mut("default").expect("is there").insert(key(n), value.into());
    };
    for n in 0..120 {
        put(&mut model, n, format!("first of {n}"));
    }
    for n in 0..20 {
        users.put(key(n), "user").expect("writes");
        model.get_mut("users").expect("is there").insert(key(n), b"user".to_vec());
    }
    db.flush().expect("flushes");
    db.compact_range::<&[u8]>(..).expect("compacts");
    for n in (0..120).step_by(7) {
        db.delete(key(n)).expect("writes");
        model.get_mut("default").expect("is there").remove(&key(n));
    }
    for n in (3..120).step_by(10) {
        put(&mut model, n, format!("second of {n}"));
    }
    db.flush().expect("flushes");
    for n in (5..60).step_by(9) {
        put(&mut model, n, format!("third of {n}"));
    }
    db.flush().expect("flushes");
    while db.step(Step::Log).expect("works") {}
    let mut batch = WriteBatch::new();
    for n in 200..210 {
        batch.put(key(n), "in the log");
        model.get_mut("default").expect("is there").insert(key(n), b"in the log".to_vec());
    }
    batch.within(&users).put(key(3), "changed");
    model.get_mut("users").expect("is there").insert(key(3), b"changed".to_vec());
    db.write(&batch).expect("writes");
    for n in [1, 2, 203] {
        db.delete(key(n)).expect("writes");
        model.get_mut("default").expect("is there").remove(&key(n));
    }
    drop(users);
    match left {
        Left::Closed => {
            db.close().expect("closes");
            (fs, model)
        }
        Left::Killed => {
            let image = fs.crash_image(CrashPolicy::KeepEverything, 1);
            drop(db);
            (image, model)
        }
    }
}

fn repair_options(fs: &SimFs, dry_run: bool) -> RepairOptions {
    RepairOptions { dry_run, env: tiny_options(fs).env }
}

fn run_repair(fs: &SimFs) -> RepairReport {
    repair("db", repair_options(fs, false)).expect("repairs")
}

fn content(db: &Db) -> Model {
    let records = |name: &String| {
        let keyspace = db.keyspace(name).expect("is there");
        let records = keyspace.iter().map(|entry| {
            let (key, value) = entry.expect("reads");
            (key.to_vec(), value.to_vec())
        });
        (name.clone(), records.collect())
    };
    db.keyspaces().iter().map(records).collect()
}

fn disk(fs: &SimFs) -> BTreeMap<PathBuf, Vec<u8>> {
    fs.files().into_iter().map(|(path, _)| (path.clone(), fs.read_file(path))).collect()
}

/// Repairs, opens, and holds every record against the model; the database verifies clean, takes
/// writes, and keeps them. Nothing that was there is gone from the disk.
#[track_caller]
fn check_repaired(fs: &SimFs, model: &Model, what: &str) -> RepairReport {
    let before = disk(fs);
    let told = repair("db", repair_options(fs, true)).expect("tells");
    assert!(disk(fs) == before, "{what}: a dry run wrote something");
    let report = run_repair(fs);
    assert_eq!(told.losses, report.losses, "{what}: what a dry run tells is what is done");
    assert!(report.set_aside.starts_with(&told.set_aside), "{what}");
    if report.is_healthy {
        check_cut_newest(fs, model, &report, what);
        return report;
    }
    check_verifies(fs, what);
    let options = Options { create_if_missing: false, ..tiny_options(fs) };
    let db = Db::open_with("db", options).unwrap_or_else(|error| panic!("{what}: {error}"));
    let after = disk(fs);
    for (path, bytes) in &before {
        let is_kept = path.ends_with("LOCK") || after.values().any(|kept| kept == bytes);
        assert!(is_kept, "{what}: {} is gone", path.display());
    }
    check_content(&db, model, &report, what);
    db.put("after", "the repair").expect("takes writes");
    db.flush().expect("flushes");
    db.compact_range::<&[u8]>(..).expect("compacts");
    check_content(&db, model, &report, what);
    assert!(db.verify().expect("verifies").is_clean(), "{what}");
    db.close().expect("closes");
    assert!(run_repair(fs).is_healthy, "{what}: nothing is left to repair");
    assert_eq!(open(fs).get("after").expect("reads").as_deref(), Some(&b"the repair"[..]));
    report
}

/// What is damaged passes for the torn end that a crash leaves: at most the newest write, which nothing
/// proves to have been acknowledged, is cut off, and the report says that there is such an end.
#[track_caller]
fn check_cut_newest(fs: &SimFs, model: &Model, report: &RepairReport, what: &str) {
    assert!(!report.remarks.is_empty(), "{what}: {report:?}");
    let (mut found, mut model) = (content(&open(fs)), model.clone());
    for records in found.values_mut().chain(model.values_mut()) {
        records.remove(&key(203));
    }
    assert!(found == model, "{what}: {report:?}");
}

#[track_caller]
fn check_verifies(fs: &SimFs, what: &str) {
    let options = VerifyOptions { env: tiny_options(fs).env, ..VerifyOptions::default() };
    let verified = verify_with("db", &options, |_| {}).expect("verifies");
    assert!(verified.is_clean(), "{what}: {verified:?}");
}

#[track_caller]
fn check_content(db: &Db, model: &Model, report: &RepairReport, what: &str) {
    let found = content(db);
    for (keyspace, records) in model {
        let nothing = BTreeMap::new();
        let there = found.get(keyspace).unwrap_or(&nothing);
        for key in records.keys().chain(there.keys()).filter(|key| *key != b"after") {
            let is_right = records.get(key) == there.get(key);
            assert!(
                is_right || report.may_have_lost(keyspace, key),
                "{what}: {keyspace} {} is {:?}, not {:?}, and not among the losses {:#?}",
                key.escape_ascii(),
                there.get(key),
                records.get(key),
                report.losses
            );
        }
    }
}

#[track_caller]
fn check_nothing_lost(report: &RepairReport, what: &str) {
    assert!(report.losses.is_empty(), "{what}: {:#?}", report.losses);
}

/// Some places in a file of so many bytes; ten times as many with `LSM_SWEEP=full`.
fn places(bytes: usize, count: usize) -> impl Iterator<Item = usize> {
    let is_full = std::env::var("LSM_SWEEP").is_ok_and(|sweep| sweep == "full");
    let count = if is_full { count * 10 } else { count };
    (0..bytes).step_by((bytes / count).max(1))
}

/// The database's files of a kind, or all that count.
fn files(fs: &SimFs, ending: &str) -> Vec<PathBuf> {
    let is_it = |path: &PathBuf| match ending {
        "CURRENT" => path.ends_with("CURRENT"),
        _ => path.extension().is_some_and(|found| found == ending),
    };
    fs.files().into_iter().map(|(path, _)| path).filter(is_it).collect()
}

#[test]
fn a_healthy_database_is_left_as_it_is() {
    for left in [Left::Closed, Left::Killed] {
        let (fs, model) = database(left);
        let before = disk(&fs);
        let report = run_repair(&fs);
        assert!(report.is_healthy && report.losses.is_empty(), "{report:?}");
        let mut after = disk(&fs);
        after.insert("db/LOCK".into(), before[Path::new("db/LOCK")].clone());
        assert!(after == before, "{left:?}: something was changed");
        assert_eq!(content(&open(&fs)), model);
    }
}

/// Makes a file's footer, its last `footer_bytes`, one of the next version, under a right checksum.
fn write_as_a_newer_program(fs: &SimFs, path: &Path, footer_bytes: usize) {
    fs.damage(path, |bytes| {
        let at = bytes.len() - footer_bytes;
        let footer = &mut bytes[at..];
        footer[8] += 1;
        let identity = Identity::from_bytes(footer[32..].first_chunk().expect("24 bytes"));
        let (sealed, seal) = footer.split_at_mut(footer_bytes - SEAL_BYTES);
        seal.copy_from_slice(&Sealer::new(identity).seal(at as u64, sealed).to_le_bytes());
    });
}

#[test]
fn what_a_newer_program_has_written_is_left_as_it_is() {
    for (ending, footer_bytes) in [("sst", 128), ("blob", 80)] {
        let fs = SimFs::new(7);
        let blob_threshold_bytes = Some(64);
        let keyspace = KeyspaceOptions { blob_threshold_bytes, ..tiny_options(&fs).keyspace };
        let db = Db::open_with("db", Options { keyspace, ..tiny_options(&fs) }).expect("opens");
        db.put("key", [1; 100]).expect("writes");
        db.close().expect("closes");
        write_as_a_newer_program(&fs, &files(&fs, ending)[0], footer_bytes);
        let before = disk(&fs);
        let refusal = repair("db", repair_options(&fs, false)).expect_err("refused");
        let told =
            "format is version 2, this program reads version 1; it has to be repaired by a program";
        assert!(refusal.to_string().contains(told), "{refusal}");
        let mut after = disk(&fs);
        after.insert("db/LOCK".into(), before[Path::new("db/LOCK")].clone());
        assert!(after == before, "{ending}: something was changed");
    }
}

#[test]
fn an_open_database_is_busy_and_an_empty_directory_is_none() {
    let (fs, _) = database(Left::Closed);
    let _db = open(&fs);
    let refusal = repair("db", repair_options(&fs, false)).expect_err("refused");
    assert_eq!(refusal.kind(), ErrorKind::Busy);
    fs.create_dir_all(Path::new("empty")).expect("creates");
    for path in ["empty", "nowhere"] {
        let refusal = repair(path, repair_options(&fs, false)).expect_err("refused");
        assert_eq!(refusal.kind(), ErrorKind::Invalid, "{refusal}");
    }
}

#[test]
fn without_current_or_manifest_nothing_is_lost() {
    for left in [Left::Closed, Left::Killed] {
        for kinds in [&["CURRENT"][..], &["manifest"], &["CURRENT", "manifest"]] {
            let (fs, model) = database(left);
            for path in kinds.iter().flat_map(|kind| files(&fs, kind)) {
                fs.remove_file(&path).expect("removes");
            }
            let what = format!("{left:?} without {kinds:?}");
            check_nothing_lost(&check_repaired(&fs, &model, &what), &what);
        }
    }
}

#[test]
fn a_damaged_or_shortened_current_or_manifest_loses_nothing() {
    for left in [Left::Closed, Left::Killed] {
        for kind in ["CURRENT", "manifest"] {
            let (original, model) = database(left);
            let path = files(&original, kind).remove(0);
            let bytes = original.read_file(&path).len();
            for at in places(bytes, 6) {
                let (fs, _) = database(left);
                fs.damage(&path, |bytes| bytes[at] ^= 0x10);
                let what = format!("{left:?}, {} flipped at {at}", path.display());
                check_nothing_lost(&check_repaired(&fs, &model, &what), &what);
                let (fs, _) = database(left);
                fs.damage(&path, |bytes| bytes.truncate(at));
                let what = format!("{left:?}, {} cut to {at}", path.display());
                check_nothing_lost(&check_repaired(&fs, &model, &what), &what);
            }
        }
    }
}

#[test]
fn a_missing_table_is_named_and_its_range_is_told() {
    for left in [Left::Closed, Left::Killed] {
        let (original, model) = database(left);
        for path in files(&original, "sst") {
            let (fs, _) = database(left);
            fs.remove_file(&path).expect("removes");
            let what = format!("{left:?} without {}", path.display());
            let report = check_repaired(&fs, &model, &what);
            let name = path.file_name().expect("has one").to_str().expect("is text");
            assert!(report.missing.iter().any(|file| file.name == name), "{what}: {report:?}");
            assert!(report.losses.iter().all(|loss| loss.keys.is_some()), "{what}: {report:?}");
        }
    }
}

#[test]
fn a_damaged_table_loses_no_more_than_the_damaged_block() {
    let (original, model) = database(Left::Killed);
    for path in files(&original, "sst") {
        let bytes = original.read_file(&path).len();
        for at in places(bytes, 8).chain([bytes - 1]) {
            for with_manifest in [true, false] {
                let (fs, _) = database(Left::Killed);
                fs.damage(&path, |bytes| bytes[at] ^= 0x40);
                if !with_manifest {
                    fs.remove_file(&files(&fs, "manifest")[0]).expect("removes");
                }
                let what = format!("{} flipped at {at}, manifest {with_manifest}", path.display());
                let report = check_repaired(&fs, &model, &what);
                assert!(report.losses.len() <= 1, "{what}: {:#?}", report.losses);
            }
        }
    }
}

#[test]
fn a_shortened_table_loses_its_range_and_no_more() {
    let (original, model) = database(Left::Closed);
    for path in files(&original, "sst") {
        let bytes = original.read_file(&path).len();
        for length in [0, 1, bytes / 2, bytes - 1] {
            for with_manifest in [true, false] {
                let (fs, _) = database(Left::Closed);
                fs.damage(&path, |bytes| bytes.truncate(length));
                if !with_manifest {
                    fs.remove_file(&files(&fs, "manifest")[0]).expect("removes");
                }
                let what = format!("{} cut to {length}, {with_manifest}", path.display());
                let report = check_repaired(&fs, &model, &what);
                assert_eq!(report.losses.len(), 1, "{what}: {:#?}", report.losses);
            }
        }
    }
}

#[test]
fn damage_to_the_log_is_told_by_its_sequence_numbers() {
    for left in [Left::Closed, Left::Killed] {
        let (original, model) = database(left);
        for path in files(&original, "log") {
            let used = original.read_file(&path).iter().rposition(|byte| *byte != 0).unwrap_or(0);
            for at in places(used, 8) {
                for with_manifest in [true, false] {
                    for cut in [true, false] {
                        let (fs, _) = database(left);
                        fs.damage(&path, |bytes| match cut {
                            true => bytes.truncate(at),
                            false => bytes[at] ^= 4,
                        });
                        if !with_manifest {
                            fs.remove_file(&files(&fs, "manifest")[0]).expect("removes");
                        }
                        let what = format!(
                            "{left:?}, {} at {at}, cut {cut}, manifest {with_manifest}",
                            path.display()
                        );
                        check_repaired(&fs, &model, &what);
                    }
                }
            }
        }
    }
}

/// Puts a segment behind the others as a writer prepares it ahead, which a crash or a close leaves.
fn prepare_segment(fs: &SimFs) {
    let (shared, dir) = (fs.shared(), Path::new("db"));
    let database_id = Manifest::read(&shared, dir).expect("reads").state.database_id;
    let identity = Identity { database_id, file_number: 99 };
    PreparedSegment::prepare(&shared, dir, identity, 64 << 10, None).expect("prepares");
}

#[test]
fn a_segment_that_was_prepared_ahead_changes_nothing_about_what_is_lost() {
    for left in [Left::Closed, Left::Killed] {
        for is_log_damaged in [false, true] {
            let report = |has_spare: bool| {
                let (fs, model) = database(left);
                fs.damage(&files(&fs, "sst")[0], |bytes| bytes[30] ^= 1);
                if is_log_damaged {
                    let newest = files(&fs, "log").pop().expect("there is one");
                    fs.damage(&newest, |bytes| {
                        let last = bytes.iter().rposition(|byte| *byte != 0).expect("is used");
                        bytes[last] ^= 1;
                    });
                }
                if has_spare {
                    prepare_segment(&fs);
                }
                let what = format!("{left:?}, damaged log {is_log_damaged}, spare {has_spare}");
                format!("{:#?}", check_repaired(&fs, &model, &what).losses)
            };
            assert_eq!(report(true), report(false), "{left:?}, damaged log {is_log_damaged}");
        }
    }
}

#[test]
fn a_missing_log_is_told() {
    for left in [Left::Closed, Left::Killed] {
        let (fs, model) = database(left);
        for path in files(&fs, "log") {
            fs.remove_file(&path).expect("removes");
        }
        let report = check_repaired(&fs, &model, &format!("{left:?} without a log"));
        assert!(!report.losses.is_empty());
    }
}

#[test]
fn swapped_tables_are_found_under_each_others_names() {
    for with_manifest in [true, false] {
        let (fs, model) = database(Left::Killed);
        let tables = files(&fs, "sst");
        let (first, second) = (fs.read_file(&tables[0]), fs.read_file(&tables[1]));
        fs.damage(&tables[0], |bytes| bytes.clone_from(&second));
        fs.damage(&tables[1], |bytes| bytes.clone_from(&first));
        if !with_manifest {
            fs.remove_file(&files(&fs, "manifest")[0]).expect("removes");
        }
        let what = format!("swapped tables, manifest {with_manifest}");
        check_nothing_lost(&check_repaired(&fs, &model, &what), &what);
    }
}

#[test]
fn any_two_files_may_be_swapped() {
    let (original, model) = database(Left::Killed);
    let names: Vec<PathBuf> = ["sst", "log", "manifest", "CURRENT"]
        .iter()
        .flat_map(|kind| files(&original, kind))
        .collect();
    for (index, one) in names.iter().enumerate() {
        for other in &names[index + 1..] {
            let (fs, _) = database(Left::Killed);
            let (first, second) = (fs.read_file(one), fs.read_file(other));
            fs.damage(one, |bytes| bytes.clone_from(&second));
            fs.damage(other, |bytes| bytes.clone_from(&first));
            let what = format!("{} and {} swapped", one.display(), other.display());
            check_repaired(&fs, &model, &what);
        }
    }
}

/// A database in which a merge has happened, with the files that it replaced there still, as after
/// a crash before they were removed: a put and the tombstone that hid it are in the inputs, and neither
/// is in the output.
fn with_inputs_beside_outputs(with_outputs_edit: bool) -> (SimFs, Model) {
    let fs = SimFs::new(3);
    let db = open(&fs);
    let mut expected = BTreeMap::new();
    for n in 0..40 {
        db.put(key(n), "kept").expect("writes");
        expected.insert(key(n), b"kept".to_vec());
    }
    db.flush().expect("flushes");
    for n in (0..40).step_by(2) {
        db.delete(key(n)).expect("writes");
        expected.remove(&key(n));
    }
    db.flush().expect("flushes");
    let inputs: Vec<_> = files(&fs, "sst").into_iter().map(|p| (fs.read_file(&p), p)).collect();
    let manifest = files(&fs, "manifest").remove(0);
    let before = fs.read_file(&manifest);
    db.compact_range::<&[u8]>(..).expect("compacts");
    while db.step(Step::Log).expect("works") {}
    let image = fs.crash_image(CrashPolicy::KeepEverything, 1);
    for (bytes, path) in inputs {
        if !image.exists(&path).expect("looks") {
            let file = image.open(&path, OpenMode::CreateNew).expect("creates");
            file.write_at(0, &bytes).expect("writes");
            file.sync().expect("syncs");
        }
    }
    if !with_outputs_edit {
        image.damage(&manifest, |bytes| bytes.clone_from(&before));
    }
    image.sync_dir(Path::new("db")).expect("syncs");
    (image, Model::from([("default".into(), expected)]))
}

#[test]
fn an_input_is_never_used_beside_the_output_made_from_it() {
    for with_outputs_edit in [true, false] {
        let inputs = files(&with_inputs_beside_outputs(with_outputs_edit).0, "sst");
        // With all of them, and with each of them missing or damaged in turn.
        for gone in std::iter::once(None).chain(inputs.iter().map(Some)) {
            for is_damaged in [true, false] {
                for with_manifest in [true, false] {
                    let (fs, model) = with_inputs_beside_outputs(with_outputs_edit);
                    fs.remove_file(Path::new("db/CURRENT")).expect("removes");
                    if !with_manifest {
                        fs.remove_file(&files(&fs, "manifest")[0]).expect("removes");
                    }
                    match gone {
                        Some(path) if is_damaged => fs.damage(path, |bytes| bytes.truncate(99)),
                        Some(path) => fs.remove_file(path).expect("removes"),
                        None => {}
                    }
                    let what = format!(
                        "without {gone:?} ({is_damaged}), manifest {with_manifest}, edit \
                         {with_outputs_edit}"
                    );
                    check_repaired(&fs, &model, &what);
                }
            }
        }
    }
}

#[test]
fn a_table_names_what_its_inputs_were_made_of_while_that_is_there() {
    let fs = SimFs::new(5);
    let db = open(&fs);
    let mut expected = BTreeMap::new();
    for n in 0..30 {
        db.put(key(n), "old").expect("writes");
        expected.insert(key(n), b"old".to_vec());
    }
    db.flush().expect("flushes");
    let first = files(&fs, "sst").remove(0);
    let bytes = fs.read_file(&first);
    db.put(key(3), "new").expect("writes");
    expected.insert(key(3), b"new".to_vec());
    db.flush().expect("flushes");
    // Files that were replaced go in the background, which does not get its turn here.
    db.compact_range::<&[u8]>(..).expect("compacts");
    let merged = files(&fs, "sst").pop().expect("the output");
    db.delete(key(7)).expect("writes");
    expected.remove(&key(7));
    db.flush().expect("flushes");
    db.compact_range::<&[u8]>(..).expect("compacts");
    let image = fs.crash_image(CrashPolicy::KeepEverything, 1);
    assert_eq!(image.read_file(&first), bytes, "the first table is there still");
    image.remove_file(&merged).expect("the first to go");
    for path in files(&image, "manifest").iter().chain(&files(&image, "log")) {
        image.remove_file(path).expect("removes");
    }
    let model = Model::from([("default".into(), expected.clone())]);
    check_repaired(&image, &model, "a grandparent beside its grandchild");
    assert_eq!(content(&open(&image))["default"].get(&key(7)), None);
}

/// What is done to a database, and in words.
type Damage = (&'static str, fn(&SimFs));

#[test]
fn a_repair_that_crashes_anywhere_can_be_made_again() {
    let damage: [Damage; 3] = [
        ("a damaged table", |fs| {
            let table = files(fs, "sst").remove(0);
            fs.damage(&table, |bytes| bytes[30] ^= 1);
        }),
        ("no manifest", |fs| {
            for path in files(fs, "manifest") {
                fs.remove_file(&path).expect("removes");
            }
        }),
        ("a damaged table and no CURRENT", |fs| {
            let table = files(fs, "sst").pop().expect("there is one");
            fs.damage(&table, |bytes| bytes[30] ^= 1);
            fs.remove_file(Path::new("db/CURRENT")).expect("removes");
        }),
    ];
    for (what, damage) in damage {
        let damaged = || {
            let (fs, model) = database(Left::Killed);
            damage(&fs);
            fs.sync_dir(Path::new("db")).expect("syncs");
            (fs, model)
        };
        let (fs, model) = damaged();
        let losses = repair("db", repair_options(&fs, true)).expect("tells").losses;
        let steps = fs.count_steps(|fs| drop(run_repair(fs)));
        for step in 0..steps {
            for policy in [CrashPolicy::LoseUnsynced, CrashPolicy::KeepEverything] {
                let (fs, _) = damaged();
                let before = disk(&fs);
                let fs = fs.crash_at(fs.steps() + step);
                repair("db", repair_options(&fs, false)).expect_err("the machine crashes");
                let fs = fs.crash_image(policy, step);
                let what = format!("{what}, crash at {step} of {steps}, {policy:?}");
                // Whoever opens it now may not lose what the repair wanted to set aside.
                let mut report = run_repair(&fs);
                if report.is_healthy {
                    report.losses.clone_from(&losses);
                }
                assert_eq!(report.losses, losses, "{what}");
                check_verifies(&fs, &what);
                check_content(&open(&fs), &model, &report, &what);
                let after = disk(&fs);
                for (path, bytes) in before {
                    let is_damaged = path.extension().is_some_and(|ending| ending == "sst");
                    let is_kept = after.values().any(|kept| *kept == bytes);
                    assert!(is_kept || !is_damaged, "{what}: {} is gone", path.display());
                }
            }
        }
    }
}

#[test]
fn a_repair_says_durably_which_files_are_its_own_before_it_writes_the_first() {
    let (fs, _) = database(Left::Killed);
    fs.remove_file(Path::new("db/CURRENT")).expect("removes");
    std::thread::scope(|scope| {
        let hold = fs.hold(every().create_of("*.sst"));
        let repairing = scope.spawn(|| run_repair(&fs));
        hold.wait_for(1);
        let image = fs.crash_image(CrashPolicy::LoseUnsynced, 0);
        hold.release();
        repairing.join().expect("no panic");
        assert_eq!(files(&image, "tmp").len(), 1, "the mark");
    });
}

#[test]
fn options_of_a_keyspace_survive_with_the_manifest_and_are_default_without() {
    for with_manifest in [true, false] {
        let (fs, model) = database(Left::Closed);
        let kind = if with_manifest { "CURRENT" } else { "manifest" };
        fs.remove_file(&files(&fs, kind)[0]).expect("removes");
        let report = check_repaired(&fs, &model, kind);
        assert!(report.keyspaces.iter().all(|k| k.is_from_manifest == with_manifest), "{report:?}");
        let options = open(&fs).keyspace("users").expect("is there").options();
        let expected = if with_manifest { 512 } else { KeyspaceOptions::default().block_bytes };
        assert_eq!(options.block_bytes, expected);
    }
}
