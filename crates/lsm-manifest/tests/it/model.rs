//! What is read back is what the edits add up to in memory.

use std::path::Path;

use lsm_manifest::{Manifest, ManifestEdit, ManifestState};
use lsm_version::{Place, VersionEdit};

use crate::{DIR, add_table, create, disk, read, start};

/// A random edit that fits the state.
fn random_edit(state: &ManifestState, random: &mut impl FnMut(u64) -> u64) -> ManifestEdit {
    let ids: Vec<u32> = state.keyspaces.iter().map(|keyspace| keyspace.id).collect();
    if ids.is_empty() || random(8) == 0 {
        let id = state.next_keyspace_id;
        return create(id, &format!("keyspace {id}"));
    }
    let id = ids[random(ids.len() as u64) as usize];
    let tables: Vec<_> = state.keyspace(id).expect("is there").version.tables().collect();
    match random(10) {
        0 => ManifestEdit { drop_keyspaces: vec![id], ..ManifestEdit::default() },
        1 => ManifestEdit {
            set_options: vec![(id, format!("option {}", random(100)))],
            options: Some(format!("database option {}", random(100))),
            takes_operands: if random(3) == 0 { vec![id] } else { Vec::new() },
            ..ManifestEdit::default()
        },
        2 => ManifestEdit {
            log_number: Some(state.log_number + random(3)),
            log_first_seq_no: Some(state.log_first_seq_no + random(50)),
            database_time_ms: Some(state.database_time_ms + random(1000)),
            leased_until_ms: (random(2) == 0)
                .then_some(state.database_time_ms + 1000 + random(1000)),
            writer_epoch: Some(state.writer_epoch + 1),
            ingested: (0..random(3)).map(|n| state.log_first_seq_no + 20 * n).collect(),
            ..ManifestEdit::default()
        },
        3..5 if !tables.is_empty() => {
            // A table moves down.
            let (place, table) = tables[random(tables.len() as u64) as usize];
            let to = Place { level: place.level.max(1), run: table.number };
            let edit = VersionEdit {
                removed: vec![(place, table.number)],
                added: vec![(to, std::sync::Arc::clone(table))],
                ..VersionEdit::default()
            };
            ManifestEdit { tables: vec![(id, edit)], ..ManifestEdit::default() }
        }
        _ => add_table(id, state.next_file_number),
    }
}

#[test]
fn what_is_read_back_is_what_the_edits_add_up_to() {
    for seed in 1..60u64 {
        let mut state = seed;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let fs = disk(seed);
        let mut manifest = start(&fs.shared()).expect("starts");
        let mut model = manifest.state().clone();
        for step in 0..80 {
            let edit = random_edit(&model, &mut random);
            model.apply(&edit).expect("made to fit");
            let number = manifest.append(edit).expect("appends");
            assert_eq!(number, model.edit_number);
            assert_eq!(manifest.state(), &model, "seed {seed}, step {step}");
            if random(20) == 0 {
                manifest.roll(1_000_000 + step).expect("rolls");
            }
            if random(10) == 0 {
                let found = read(&fs).expect("reads");
                assert_eq!(found.state, model, "seed {seed}, step {step}");
                assert!(found.cut.is_none() && !found.closed_cleanly);
            }
        }
        manifest.close().expect("closes");
        let found = read(&fs).expect("reads");
        assert!(found.closed_cleanly);
        assert_eq!(found.state, model);
    }
}

#[test]
fn an_edit_that_does_not_fit_is_refused_and_nothing_is_written() {
    let fs = disk(0);
    let mut manifest = start(&fs.shared()).expect("starts");
    manifest.append(create(0, "users")).expect("appends");
    manifest.append(add_table(0, 7)).expect("appends");
    let (steps, bytes) = (fs.steps(), manifest.bytes());
    for (edit, said) in [
        (create(0, "again"), "keyspace number 0 was used before"),
        (create(1, "users"), "there is a keyspace \"users\" already"),
        (add_table(0, 7), "table 7 is live already"),
        (add_table(3, 8), "there is no keyspace 3"),
        (
            ManifestEdit { last_seq_no: Some(1), ..ManifestEdit::default() },
            "last_seq_no would go back from 7 to 1",
        ),
    ] {
        let error = manifest.append(edit).expect_err("refused");
        assert!(error.to_string().contains(said), "{error}");
    }
    assert_eq!((fs.steps(), manifest.bytes()), (steps, bytes));
    manifest.append(add_table(0, 8)).expect("the manifest stays usable");
}

#[test]
fn a_lease_of_the_time_goes_with_the_next_edit_that_does_not_say_it() {
    let fs = disk(0);
    let mut manifest = start(&fs.shared()).expect("starts");
    let time = |time_ms, leased_until_ms| ManifestEdit {
        database_time_ms: Some(time_ms),
        leased_until_ms,
        ..ManifestEdit::default()
    };
    let leased = |manifest: &Manifest| {
        let found = read(&fs).expect("reads").state;
        assert_eq!(&found, manifest.state());
        (found.database_time_ms, found.leased_until_ms)
    };
    manifest.append(time(1000, Some(1200))).expect("appends");
    assert_eq!(leased(&manifest), (1000, 1200));
    manifest.append(create(0, "users")).expect("appends");
    assert_eq!(leased(&manifest), (1000, 1200), "that edit tells no time");
    manifest.roll(7).expect("rolls");
    assert_eq!(leased(&manifest), (1000, 1200));
    manifest.append(time(1100, None)).expect("appends");
    assert_eq!(leased(&manifest), (1100, 0));
    manifest.roll(8).expect("rolls");
    assert_eq!(leased(&manifest), (1100, 0));
}

#[test]
fn a_manifest_that_grows_is_begun_anew_and_the_old_one_goes() {
    let fs = disk(0);
    let mut manifest = start(&fs.shared()).expect("starts");
    manifest.append(create(0, "users")).expect("appends");
    let mut number = 10;
    while !manifest.should_roll() {
        number += 1;
        let options = ManifestEdit {
            set_options: vec![(0, format!("option {number} {}", "x".repeat(1000)))],
            ..ManifestEdit::default()
        };
        manifest.append(options).expect("appends");
    }
    let before = manifest.state().clone();
    manifest.roll(number + 1).expect("rolls");
    assert_eq!(manifest.state(), &before);
    assert_eq!(read(&fs).expect("reads").state, before);
    let manifests = fs.files().into_iter().filter(|(path, _)| path.extension().is_some());
    assert_eq!(manifests.count(), 1, "{:?}", fs.files());
}

#[test]
fn without_current_there_is_no_manifest() {
    let fs = disk(0);
    let error = read(&fs).expect_err("nothing there");
    assert_eq!(error.io_kind(), Some(std::io::ErrorKind::NotFound));
    let _ = Manifest::read(&fs.shared(), Path::new(DIR));
}
