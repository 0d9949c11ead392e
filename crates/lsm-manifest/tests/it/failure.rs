//! Calls that fail: what goes on, and what is final.

use std::io::ErrorKind;
use std::path::PathBuf;

use lsm_io::{CrashPolicy, SimFs, nth, once};
use lsm_manifest::Manifest;

use crate::{add_table, create, disk, read, start};

fn begun() -> (SimFs, Manifest) {
    let fs = disk(0);
    let mut manifest = start(&fs.shared()).expect("starts");
    manifest.append(create(0, "users")).expect("appends");
    (fs, manifest)
}

fn manifests(fs: &SimFs) -> Vec<PathBuf> {
    let files = fs.files().into_iter().map(|(path, _)| path);
    files.filter(|path| path.extension().is_some()).collect()
}

#[test]
fn an_edit_that_could_not_be_written_is_not_there_and_the_next_one_is() {
    for whole in [true, false] {
        let (fs, mut manifest) = begun();
        let before = manifest.state().clone();
        let fault = once().write_of("*.manifest").with(ErrorKind::StorageFull);
        fs.fail(if whole { fault } else { fault.short() });
        let error = manifest.append(create(1, &"long".repeat(50))).expect_err("no room");
        assert!(error.is_no_space() && !manifest.is_poisoned(), "{error}");
        assert_eq!(manifest.state(), &before);
        assert_eq!(read(&fs).expect("reads").state, before);
        manifest.append(create(1, "b")).expect("there is room again");
        let found = read(&fs).expect("reads");
        assert_eq!((&found.state, found.cut), (manifest.state(), None));
    }
}

#[test]
fn a_torn_end_that_cannot_be_cut_off_is_tried_again() {
    let (fs, mut manifest) = begun();
    fs.fail(once().write_of("*.manifest").short());
    manifest.append(create(1, &"long".repeat(50))).expect_err("injected");
    fs.fail(once().write_of("*.manifest"));
    manifest.append(create(1, "b")).expect_err("the torn end cannot be cut off");
    manifest.append(create(1, "c")).expect("now it can");
    let found = read(&fs).expect("reads");
    assert_eq!((&found.state, found.cut), (manifest.state(), None));
}

#[test]
fn a_failed_sync_is_final() {
    let (fs, mut manifest) = begun();
    fs.fail(once().sync_of("*.manifest").losing_pages());
    manifest.append(create(1, "b")).expect_err("the sync failed");
    assert!(manifest.is_poisoned());
    let steps = fs.steps();
    assert!(manifest.append(create(1, "c")).is_err() && manifest.roll(9).is_err());
    assert_eq!(fs.steps(), steps, "nothing is tried again");
    manifest.close().expect("closes");
    assert!(!read(&fs).expect("reads").closed_cleanly, "and it is not called whole");
}

#[test]
fn a_manifest_that_cannot_be_begun_anew_goes_on_unless_nobody_knows_which_one_holds() {
    let mut poisoned = Vec::new();
    for call in 1.. {
        let (fs, mut manifest) = begun();
        fs.fail(nth(call).any_of("*"));
        let rolled = manifest.roll(2);
        fs.heal();
        if manifest.is_poisoned() {
            poisoned.push(rolled.expect_err("poisoned").to_string());
            continue;
        }
        let number = if rolled.is_ok() { 2 } else { 1 };
        assert_eq!(manifest.number(), number);
        // Only a removal that failed leaves anything behind.
        let left = manifests(&fs);
        let is_removal = rolled.is_ok() && left.len() == 2;
        assert!(left.len() == 1 || is_removal, "call {call}: {left:?}");
        manifest.append(add_table(0, 7)).expect("goes on");
        for policy in CrashPolicy::ALL {
            let found = read(&fs.crash_image(policy, 0)).expect("reads");
            assert_eq!(found.state, *manifest.state(), "call {call}, {policy}");
        }
        if rolled.is_ok() && !is_removal {
            break;
        }
    }
    // Before and after the swap of CURRENT the directory is synced.
    assert_eq!(poisoned.len(), 2, "{poisoned:?}");
    assert!(poisoned.iter().all(|error| error.contains("sync the names in db")), "{poisoned:?}");
}

#[test]
fn a_swap_that_fails_after_it_was_done_is_final() {
    // The call is carried out and then the machine answers no more: what CURRENT says is unknown.
    let steps = |fs: &SimFs, manifest: &mut Manifest| fs.count_steps(|_| drop(manifest.roll(2)));
    let (fs, mut manifest) = begun();
    let count = steps(&fs, &mut manifest);
    for step in 0..count {
        let (fs, mut manifest) = begun();
        let fs = fs.crash_at(fs.steps() + step);
        let is_done = manifest.roll(2).is_ok();
        assert!(manifest.is_poisoned() || is_done, "step {step}");
        assert!(fs.has_crashed());
    }
}
