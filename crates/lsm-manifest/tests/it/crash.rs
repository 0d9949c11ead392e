//! The power is cut at every I/O call, under every policy.

use lsm_io::{CrashPolicy, SharedFs, SimFs};
use lsm_manifest::ManifestState;

use crate::{add_table, create, disk, read, start};

/// Appends, rolls and closes; returns every state that was acknowledged, and the one under way.
fn work(fs: &SharedFs) -> (Vec<ManifestState>, Option<ManifestState>) {
    let mut acknowledged = Vec::new();
    let Ok(mut manifest) = start(fs) else { return (acknowledged, None) };
    acknowledged.push(manifest.state().clone());
    let edits = [create(0, "a"), create(1, "b"), add_table(0, 5), add_table(1, 6), add_table(0, 7)];
    for (index, edit) in edits.into_iter().enumerate() {
        let mut next = manifest.state().clone();
        next.apply(&edit).expect("fits");
        if manifest.append(edit).is_err() {
            return (acknowledged, Some(next));
        }
        acknowledged.push(next);
        if index == 3 && manifest.roll(2).is_err() {
            return (acknowledged, None);
        }
    }
    let _ = manifest.close();
    (acknowledged, None)
}

/// Appends to a disk that is full time and again, so that edits and whole manifests are cut short.
fn work_on_a_full_disk(fs: &SimFs) -> (Vec<ManifestState>, Option<ManifestState>) {
    let mut acknowledged = Vec::new();
    let shared = fs.shared();
    let Ok(mut manifest) = start(&shared) else { return (acknowledged, None) };
    acknowledged.push(manifest.state().clone());
    for number in 0..4 {
        let used: u64 = fs.files().iter().map(|(_, bytes)| bytes).sum();
        fs.limit_bytes(used + 150);
        // Longer than those that follow it, so that its end would stand behind theirs.
        let refused = manifest.append(create(number, &"refused".repeat(40)));
        assert!(refused.is_err(), "there is no room");
        assert!(number % 2 == 0 || manifest.roll(u64::from(number) + 2).is_err());
        fs.unlimit();
        let edit = create(number, "taken after all");
        let edit = if number == 0 { edit } else { add_table(0, u64::from(number) + 9) };
        let mut next = manifest.state().clone();
        next.apply(&edit).expect("fits");
        if manifest.append(edit).is_err() {
            return (acknowledged, Some(next));
        }
        acknowledged.push(next);
        if number == 2 && manifest.roll(9).is_err() {
            return (acknowledged, None);
        }
    }
    let used: u64 = fs.files().iter().map(|(_, bytes)| bytes).sum();
    fs.limit_bytes(used + 150);
    assert!(manifest.append(create(7, &"refused".repeat(40))).is_err(), "there is no room");
    fs.unlimit();
    let _ = manifest.close();
    (acknowledged, None)
}

#[test]
fn no_acknowledged_edit_is_lost_and_recovery_says_the_same_twice() {
    check_every_crash(|fs| work(&fs.shared()));
}

#[test]
fn no_edit_is_lost_and_none_is_torn_where_the_disk_was_full_meanwhile() {
    check_every_crash(work_on_a_full_disk);
    let fs = disk(0);
    let (acknowledged, under_way) = work_on_a_full_disk(&fs);
    assert_eq!((acknowledged.len(), under_way), (5, None), "it went on each time");
    for policy in CrashPolicy::ALL {
        let found = read(&fs.crash_image(policy, 0)).expect("reads");
        assert!(found.closed_cleanly && found.cut.is_none(), "{policy}");
        assert_eq!(Some(&found.state), acknowledged.last());
    }
}

fn check_every_crash(work: impl Fn(&SimFs) -> (Vec<ManifestState>, Option<ManifestState>)) {
    let steps = {
        let fs = disk(0);
        fs.count_steps(|fs| drop(work(fs)))
    };
    assert!(steps > 20, "{steps} steps are too few to tell");
    let before = disk(0).steps();
    for step in before..before + steps {
        for policy in CrashPolicy::ALL {
            let fs = disk(0).crash_at(step);
            let (acknowledged, under_way) = work(&fs);
            // Several throws: of two names that are not durable either may be kept alone.
            for seed in 0..8 {
                let image = fs.crash_image(policy, seed);
                let place = format!("step {step}, {policy:?}, seed {seed}");
                check(&image, &acknowledged, under_way.as_ref(), &place);
            }
        }
    }
}

fn check(
    image: &SimFs,
    acknowledged: &[ManifestState],
    under_way: Option<&ManifestState>,
    place: &str,
) {
    let Some(last) = acknowledged.last() else { return };
    let found = read(image).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert!(
        found.state == *last || Some(&found.state) == under_way,
        "{place}: found edit {} after {} were acknowledged",
        found.state.edit_number,
        last.edit_number
    );
    let again = read(image).expect("reads again");
    assert_eq!(again.state, found.state, "{place}");
}
