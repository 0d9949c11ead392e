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

#[test]
fn no_acknowledged_edit_is_lost_and_recovery_says_the_same_twice() {
    let steps = {
        let fs = disk(0);
        fs.count_steps(|fs| drop(work(&fs.shared())))
    };
    assert!(steps > 20, "{steps} steps are too few to tell");
    let before = disk(0).steps();
    for step in before..before + steps {
        for policy in CrashPolicy::ALL {
            let fs = disk(0).crash_at(step);
            let (acknowledged, under_way) = work(&fs.shared());
            let image = fs.crash_image(policy, step);
            check(&image, &acknowledged, under_way.as_ref(), &format!("step {step}, {policy:?}"));
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
