//! Trees as text: what edits make of them, and what pictures are taken for.

use expect_test::{Expect, expect};
use lsm_version::{Version, VersionEdit};

use crate::support::{add, place, remove, table, table_of};

/// Applies edits one after the other, and holds the pictures in between against the expected ones.
#[track_caller]
#[allow(clippy::needless_pass_by_value)] // An `Expect` is written in place.
fn check_history(edits: &[VersionEdit], expected: Expect) {
    let mut version = Version::empty();
    let mut pictures = Vec::new();
    for edit in edits {
        version = version.apply(edit).expect("the edit fits");
        pictures.push(version.picture());
    }
    expected.assert_eq(&pictures.join("--\n"));
}

#[test]
fn flushes_come_first_and_a_merge_takes_their_place_below() {
    check_history(
        &[
            add(&[(place(0, 1), table(1, "c", "k"))]),
            add(&[(place(0, 2), table(2, "a", "f"))]),
            VersionEdit {
                removed: vec![(place(0, 1), 1), (place(0, 2), 2)],
                added: vec![
                    (place(1, 3), table_of(4, "g", "k", 80)),
                    (place(1, 3), table_of(3, "a", "f", 90)),
                ],
                ..VersionEdit::default()
            },
            add(&[(place(0, 5), table(5, "b", "d"))]),
        ],
        expect![[r#"
            L0: c-k
            --
            L0: a-f c-k
            --
            L1: a-f:90 g-k:80
            --
            L0: b-d
            L1: a-f:90 g-k:80
        "#]],
    );
}

#[test]
fn a_table_moves_without_being_written_again() {
    let moved = table(1, "a", "f");
    check_history(
        &[
            add(&[(place(0, 1), moved.clone()), (place(3, 0), table(2, "m", "p"))]),
            VersionEdit {
                removed: vec![(place(0, 1), 1)],
                added: vec![(place(3, 0), moved)],
                ..VersionEdit::default()
            },
        ],
        expect![[r#"
            L0: a-f
            L3: m-p
            --
            L3: a-f m-p
        "#]],
    );
}

#[test]
fn a_level_of_many_runs_shows_the_newest_first() {
    check_history(
        &[
            add(&[(place(2, 7), table(1, "a", "z"))]),
            add(&[(place(2, 9), table(3, "m", "p")), (place(2, 9), table(2, "b", "k"))]),
            add(&[(place(2, 8), table(4, "c", "x"))]),
            remove(&[(place(2, 8), 4)]),
        ],
        expect![[r#"
            L2: a-z
            --
            L2: b-k m-p | a-z
            --
            L2: b-k m-p | c-x | a-z
            --
            L2: b-k m-p | a-z
        "#]],
    );
}

#[test]
fn a_picture_is_read_with_the_newest_run_first() {
    let version = Version::parse(
        "L0: a-f c-k:250
         L2: a-c e | b-d",
    );
    let mut read = String::new();
    for (place, table) in version.tables() {
        let bounds = [&table.lower, &table.upper].map(|key| String::from_utf8_lossy(key));
        read += &format!(
            "level {}, run {}: table {} from {} to {}, {} bytes\n",
            place.level, place.run, table.number, bounds[0], bounds[1], table.bytes
        );
    }
    expect![[r#"
        level 0, run 999: table 1 from a to f, 100 bytes
        level 0, run 998: table 2 from c to k, 250 bytes
        level 2, run 997: table 3 from a to c, 100 bytes
        level 2, run 997: table 4 from e to e, 100 bytes
        level 2, run 996: table 5 from b to d, 100 bytes
    "#]]
    .assert_eq(&read);
}

#[test]
fn the_empty_version_is_an_empty_picture() {
    assert_eq!(Version::default().picture(), "");
    assert_eq!(Version::parse("\n  \n"), Version::empty());
}
