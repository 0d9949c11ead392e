//! Edits that do not fit: each is refused with a sentence, and changes nothing.

use expect_test::{Expect, expect};
use lsm_version::{BlobRecord, LEVELS, Version, VersionEdit};

use crate::support::{add, place, referring, remove, table};

/// Applies an edit to a tree of one table in level 0 (number 1) and two in level 1 (2 and 3).
#[track_caller]
#[allow(clippy::needless_pass_by_value)] // An `Expect` is written in place.
fn check_refused(edit: &VersionEdit, expected: Expect) {
    let version = Version::empty().apply(&add(&[
        (place(0, 1), table(1, "a", "z")),
        (place(1, 5), table(2, "a", "f")),
        (place(1, 5), table(3, "g", "k")),
    ]));
    let version = version.expect("it fits the empty version");
    let before = version.clone();
    expected.assert_eq(&version.apply(edit).expect_err("it does not fit").to_string());
    assert_eq!(version, before);
}

#[test]
fn only_what_is_there_is_removed() {
    check_refused(&remove(&[(place(0, 1), 9)]), expect!["table 9 is not in level 0, run 1"]);
    check_refused(&remove(&[(place(1, 5), 1)]), expect!["table 1 is not in level 1, run 5"]);
    check_refused(&remove(&[(place(0, 2), 1)]), expect!["table 1 is not in level 0, run 2"]);
    check_refused(&remove(&[(place(LEVELS, 1), 1)]), expect!["table 1 is not in level 7, run 1"]);
    let twice = remove(&[(place(0, 1), 1), (place(0, 1), 1)]);
    check_refused(&twice, expect!["table 1 is not in level 0, run 1"]);
}

#[test]
fn a_table_is_live_once() {
    check_refused(&add(&[(place(2, 1), table(1, "a", "z"))]), expect!["table 1 is live already"]);
    let twice = add(&[(place(2, 1), table(4, "a", "b")), (place(3, 1), table(4, "a", "b"))]);
    check_refused(&twice, expect!["table 4 is live already"]);
}

#[test]
fn tables_refer_to_what_is_there_and_to_no_more() {
    let refer = |bytes| (place(2, 1), referring(4, ["a", "b"], bytes));
    check_refused(&add(&[refer(10)]), expect!["table 4 refers to blob file 9, which is not there"]);
    let blob = BlobRecord { number: 9, values: 1, value_bytes: 9, ..BlobRecord::default() };
    let too_much = VersionEdit { blobs: vec![blob.clone().into()], ..add(&[refer(10)]) };
    check_refused(&too_much, expect!["table 4 refers to more of blob file 9 than is in it"]);
    let twice = VersionEdit { blobs: vec![blob.clone().into(), blob.into()], ..add(&[refer(9)]) };
    check_refused(&twice, expect!["blob file 9 is live already"]);
}

#[test]
fn tables_of_one_run_share_no_key() {
    check_refused(
        &add(&[(place(1, 5), table(4, "k", "m"))]),
        expect!["tables 3 and 4 overlap in level 1, run 5"],
    );
    // Neither do those of a run that comes whole. Of several overlaps the first is told.
    check_refused(
        &add(&[
            (place(3, 1), table(4, "a", "c")),
            (place(3, 1), table(5, "b", "d")),
            (place(2, 1), table(6, "x", "y")),
            (place(2, 1), table(7, "x", "x")),
        ]),
        expect!["tables 6 and 7 overlap in level 2, run 1"],
    );
    // Nor does it matter in which order they came.
    check_refused(
        &add(&[(place(2, 1), table(7, "x", "x")), (place(2, 1), table(6, "x", "y"))]),
        expect!["tables 6 and 7 overlap in level 2, run 1"],
    );
}

#[test]
fn bounds_and_levels_make_sense() {
    check_refused(
        &add(&[(place(1, 1), table(4, "b", "a"))]),
        expect!["the lower bound of table 4 lies above its upper one"],
    );
    check_refused(
        &add(&[(place(LEVELS, 1), table(4, "a", "b"))]),
        expect!["level 7; levels are 0 to 6"],
    );
}
