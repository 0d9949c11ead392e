//! Which plan a tree leads to, as pictures.

use expect_test::{Expect, expect};
use lsm_compaction::{
    Action, CompactionPolicy, FifoOptions, LeveledOptions, Plan, PlanInput, Policy, RangePlan,
    Traffic, plan_blobs, plan_collapse, plan_overdue_blobs, plan_range,
};
use lsm_version::picture::picture_table;
use lsm_version::{BlobRecord, BlobShare, TableRecord, Version, VersionEdit};

fn show(plan: Option<Plan>) -> String {
    let Some(plan) = plan else { return "nothing to do\n".into() };
    let verb = match plan.action {
        Action::Merge => "merge",
        Action::Move => "move",
        Action::Drop => "drop",
    };
    let inputs = plan.inputs.iter().flat_map(|input| {
        let name = |table: &_| format!("L{} {}", input.level, picture_table(table));
        input.tables.iter().map(move |table| name(table)).collect::<Vec<_>>()
    });
    let inputs: Vec<_> = inputs.collect();
    format!("{verb} {} into L{}\nbecause {}\n", inputs.join(", "), plan.output.level, plan.reason)
}

/// What there is to plan for a tree to which nothing is written.
fn at_rest(version: &Version) -> PlanInput<'_> {
    PlanInput { version, running: &[], snapshots: &[], now_ms: 0, traffic: Traffic::Rest }
}

#[track_caller]
fn check_plan(policy: &str, picture: &str, expected: &Expect) {
    check_plan_at(Traffic::Rest, policy, picture, expected);
}

#[track_caller]
fn check_plan_at(traffic: Traffic, policy: &str, picture: &str, expected: &Expect) {
    let version = Version::parse(picture);
    let policy: CompactionPolicy = policy.parse().expect("a policy");
    let input = PlanInput { traffic, ..at_rest(&version) };
    expected.assert_eq(&show(policy.as_policy().plan(&input)));
}

/// Leveled, small enough for pictures: tables of 100 bytes, a base of 300.
const LEVELED: &str = "leveled(level_zero_runs=2, base_bytes=300, size_ratio=4, table_bytes=100)";

#[test]
fn a_full_level_zero_merges_with_what_it_overlaps() {
    check_plan(
        LEVELED,
        "L0: a-f c-k
         L6: a-e g-m p-t",
        &expect![[r#"
            merge L0 a-f, L0 c-k, L6 a-e, L6 g-m into L6
            because level 0 holds 2 runs and its limit is 2
        "#]],
    );
}

#[test]
fn level_zero_holds_more_while_nobody_reads_it() {
    let policy = "leveled(level_zero_runs=2, table_bytes=100)";
    let nine = "L0: a-b b-c c-d d-e e-f f-g g-h h-i i-j
         L6: a-z:900";
    let nothing = expect!["nothing to do\n"];
    check_plan_at(Traffic::WritesAlone, policy, nine, &nothing);
    check_plan_at(
        Traffic::WritesAndReads,
        policy,
        nine,
        &expect![[r#"
        merge L0 a-b, L0 b-c, L0 c-d, L0 d-e, L0 e-f, L0 f-g, L0 g-h, L0 h-i, L0 i-j, L6 a-z:900 into L6
        because level 0 holds 9 runs and its limit is 2
    "#]],
    );
    check_plan_at(
        Traffic::WritesAlone,
        policy,
        "L0: a-b b-c c-d d-e e-f f-g g-h h-i i-j j-k
         L6: a-z:900",
        &expect![[r#"
            merge L0 a-b, L0 b-c, L0 c-d, L0 d-e, L0 e-f, L0 f-g, L0 g-h, L0 h-i, L0 i-j, L0 j-k, L6 a-z:900 into L6
            because level 0 holds 10 runs and its limit is 10
        "#]],
    );
    check_plan_at(
        Traffic::WritesAlone,
        policy,
        "L0: a-b:1600 b-c:1600
         L6: a-z:900",
        &expect![[r#"
            merge L0 a-b:1600, L0 b-c:1600, L6 a-z:900 into L6
            because level 0 holds 3200 bytes and its limit is 3200 while nobody reads it
        "#]],
    );
    // One run is not merged with itself, however large.
    check_plan_at(
        Traffic::WritesAlone,
        policy,
        "L0: a-b:3200
         L6: a-z:900",
        &nothing,
    );
}

#[test]
fn no_more_than_twenty_runs_gather_unless_as_many_are_wanted() {
    for (wanted, limit) in [(3, 15), (5, 20), (30, 30)] {
        let policy: CompactionPolicy =
            format!("leveled(level_zero_runs={wanted})").parse().expect("a policy");
        let plan = |runs: usize| {
            let version =
                Version::parse(&format!("L0: {}\nL6: a-z", ["a-f"; 30][..runs].join(" ")));
            let input = PlanInput { traffic: Traffic::WritesAlone, ..at_rest(&version) };
            policy.as_policy().plan(&input).map(|plan| plan.reason)
        };
        assert_eq!(plan(limit - 1), None);
        let reason = format!("level 0 holds {limit} runs and its limit is {limit}");
        assert_eq!(plan(limit), Some(reason));
    }
}

#[test]
fn a_level_zero_of_few_runs_is_merged_for_its_space_once_nothing_is_written() {
    let policy = "leveled(level_zero_runs=4, slack_percent=15, table_bytes=100)";
    let picture = "L0: a-f c-k
         L6: a-z:900";
    check_plan_at(
        Traffic::Rest,
        policy,
        picture,
        &expect![[r#"
            merge L0 a-f, L0 c-k, L6 a-z:900 into L6
            because level 0 holds 200 bytes, over 15 % of the bottom's 900
        "#]],
    );
    check_plan_at(Traffic::WritesAndReads, policy, picture, &expect!["nothing to do\n"]);
}

#[test]
fn a_run_that_overlaps_nothing_is_moved() {
    check_plan(
        LEVELED,
        "L0: n-o c-k
         L6: a-b l-m",
        &expect![[r#"
            move L0 c-k into L6
            because the oldest run of level 0 overlaps nothing in level 6
        "#]],
    );
}

#[test]
fn level_zero_is_never_merged_past_what_lies_between() {
    check_plan(
        LEVELED,
        "L0: a-f c-k
         L3: d-e
         L6: a-e",
        &expect![[r#"
            merge L0 a-f, L0 c-k, L3 d-e into L3
            because level 0 holds 2 runs and its limit is 2
        "#]],
    );
}

#[test]
fn a_level_above_its_target_moves_the_table_that_meets_the_least() {
    check_plan(
        LEVELED,
        "L5: a-d f-g p-t:900
         L6: a-b:400 c-e:400 f-h:50 i-z:900",
        &expect![[r#"
            merge L5 f-g, L6 f-h:50 into L6
            because level 5 holds 1100 bytes and its target is 437
        "#]],
    );
}

#[test]
fn several_runs_where_one_should_be_become_one() {
    check_plan(
        LEVELED,
        "L2: a-f | c-k",
        &expect![[r#"
            merge L2 a-f, L2 c-k into L2
            because level 2 holds 2 runs and should hold one
        "#]],
    );
}

#[test]
fn a_full_tier_becomes_one_run_of_the_next() {
    check_plan(
        "tiered(runs=3)",
        "L0: a-f c-k d-e
         L1: a-z",
        &expect![[r#"
            merge L0 a-f, L0 c-k, L0 d-e into L1
            because level 0 holds 3 runs and its limit is 3
        "#]],
    );
}

#[test]
fn a_tree_in_shape_is_left_alone() {
    for policy in [LEVELED, "tiered", "lazy_leveled", "fifo"] {
        check_plan(policy, "L0: a-f\nL6: a-z:900", &expect!["nothing to do\n"]);
    }
}

#[test]
fn the_lazy_bottom_takes_a_full_level_between() {
    check_plan(
        "lazy_leveled(runs=2)",
        "L5: a-f | c-k
         L6: a-b g-h x-z",
        &expect![[r#"
            merge L5 a-f, L5 c-k, L6 a-b, L6 g-h into L6
            because level 5 holds 2 runs and its limit is 2
        "#]],
    );
}

#[test]
fn fifo_drops_the_oldest_run_first() {
    let fifo = FifoOptions { bytes_max: 250, ..FifoOptions::default() };
    check_plan(
        &CompactionPolicy::Fifo(fifo).to_string(),
        "L0: a-f c-k
         L6: a-b",
        &expect![[r#"
            drop L6 a-b into L6
            because there are 300 bytes and the limit is 250
        "#]],
    );
}

#[test]
fn fifo_counts_the_large_values_of_its_tables() {
    let version = Version::parse("L0: a-f c-k");
    let (place, table) =
        version.tables().next().map(|(place, table)| (place, table.clone())).unwrap();
    let share = BlobShare { file: 9, values: 1, value_bytes: 100 };
    let edit = VersionEdit {
        removed: vec![(place, table.number)],
        added: vec![(place, TableRecord { blobs: vec![share], ..(*table).clone() }.into())],
        blobs: vec![
            BlobRecord {
                number: 9,
                bytes: 180,
                values: 1,
                value_bytes: 100,
                ..BlobRecord::default()
            }
            .into(),
        ],
    };
    let version = version.apply(&edit).expect("fits");
    let fifo = FifoOptions { bytes_max: 379, ..FifoOptions::default() };
    let input = at_rest(&version);
    let plan = fifo.plan(&input).expect("it is too much");
    assert_eq!(plan.reason, "there are 380 bytes and the limit is 379");
}

#[test]
fn a_blob_file_of_half_garbage_is_given_up_table_by_table() {
    let version = Version::parse("L3: a-f g-k");
    let tables: Vec<_> = version.tables().map(|(place, table)| (place, table.clone())).collect();
    let version_of = |live: u64| {
        let share = BlobShare { file: 9, values: 1, value_bytes: live };
        let edit = VersionEdit {
            removed: vec![(tables[1].0, tables[1].1.number)],
            added: vec![(
                tables[1].0,
                TableRecord { blobs: vec![share], ..(*tables[1].1).clone() }.into(),
            )],
            blobs: vec![
                BlobRecord {
                    number: 9,
                    values: 2,
                    value_bytes: 100,
                    created_ms: 1000,
                    ..BlobRecord::default()
                }
                .into(),
            ],
        };
        version.apply(&edit).expect("fits")
    };
    let plan_of = |live| plan_blobs(&version_of(live), &[], 100);
    let overdue =
        |live, by_ms| plan_overdue_blobs(&version_of(live), &[], 100, by_ms).map(|it| it.reason);
    let reason = "blob file 9 holds 100 bytes, 1 of them garbage";
    assert_eq!(overdue(99, Some(1000)).as_deref(), Some(reason));
    assert_eq!(overdue(99, Some(999)), None, "it is younger");
    assert_eq!(overdue(100, Some(1000)), None, "there is no garbage in it");
    assert_eq!(overdue(50, None), None, "there is no limit");
    assert_eq!(plan_of(51), None);
    expect![[r#"
        merge L3 g-k into L3
        because blob file 9 holds 100 bytes, 50 of them garbage
    "#]]
    .assert_eq(&show(plan_of(50)));
}

#[test]
fn a_range_takes_every_table_that_hangs_over_its_ends() {
    let version = Version::parse("L0: a-c\nL3: b-f h-k\nL6: e-g m-p");
    let plan = match plan_range(&version, &[], b"c", Some(b"c"), 100) {
        RangePlan::Merge(plan) => Some(*plan),
        _ => None,
    };
    expect![[r#"
        merge L0 a-c, L3 b-f, L6 e-g into L6
        because somebody asked for it
    "#]]
    .assert_eq(&show(plan));
}

#[test]
fn runs_are_merged_once_reading_them_apart_has_cost_as_much() {
    // 600 bytes: 1200 ns to merge, 600 ns for a lookup in three runs.
    let version = Version::parse("L0: a-f c-k\nL6: a-e g-m p-t x-z");
    let input = PlanInput { traffic: Traffic::WritesAndReads, ..at_rest(&version) };
    assert_eq!(plan_collapse(&input, 1, 100), None);
    expect![[r#"
        merge L0 a-f, L0 c-k, L6 a-e, L6 g-m, L6 p-t, L6 x-z into L6
        because 2 lookups in 3 runs have cost what merging their 600 bytes does
    "#]]
    .assert_eq(&show(plan_collapse(&input, 2, 100)));
    assert!(plan_collapse(&at_rest(&version), 1, 100).is_some(), "300 ns while nothing is written");
    let running = [plan_collapse(&input, 2, 100).expect("worth it").as_running()];
    let busy = PlanInput { running: &running, ..input };
    assert_eq!(plan_collapse(&busy, u64::MAX, 100), None, "one after the other");
    let one_run = Version::parse("L6: a-e g-m");
    let input = PlanInput { version: &one_run, ..input };
    assert_eq!(plan_collapse(&input, u64::MAX, 100), None);
}

#[test]
fn a_running_plan_is_waited_for() {
    let version = Version::parse("L0: a-f c-k\nL6: a-e");
    let policy = CompactionPolicy::Leveled(LeveledOptions {
        level_zero_runs: 2,
        ..LeveledOptions::default()
    });
    let input = at_rest(&version);
    let running = [policy.as_policy().plan(&input).expect("level 0 is full").as_running()];
    let again = PlanInput { running: &running, ..input };
    assert_eq!(policy.as_policy().plan(&again), None);
    assert_eq!(plan_range(&version, &running, b"", None, 100), RangePlan::Wait);
    assert_eq!(plan_range(&version, &running, b"x", None, 100), RangePlan::Nothing);
}

#[test]
fn tombstones_at_the_bottom_go_when_no_snapshot_needs_them() {
    let mut version = Version::parse("L6: a-f g-k");
    let edit = {
        let (place, table) = version.tables().next().expect("a table");
        let dirty = lsm_version::TableRecord { tombstones: 3, ..(**table).clone() };
        lsm_version::VersionEdit {
            removed: vec![(place, table.number)],
            added: vec![(place, dirty.into())],
            ..lsm_version::VersionEdit::default()
        }
    };
    version = version.apply(&edit).expect("fits");
    let policy = CompactionPolicy::default();
    let plan = |snapshots: &[u64]| {
        let input = PlanInput { snapshots, ..at_rest(&version) };
        policy.as_policy().plan(&input)
    };
    assert_eq!(plan(&[1]), None, "a snapshot may still see what they hide");
    expect![[r#"
        merge L6 a-f into L6
        because 3 tombstones have nothing below them to hide
    "#]]
    .assert_eq(&show(plan(&[])));
}

#[test]
fn what_stands_in_newer_runs_of_a_level_keeps_no_tombstone_of_its_oldest() {
    // Else a table with tombstones would be written anew without end.
    let version = Version::parse("L5: a-f\nL5: a-f");
    let (place, table) = version.tables().last().expect("two tables");
    let dirty = lsm_version::TableRecord { tombstones: 3, ..(**table).clone() };
    let edit = lsm_version::VersionEdit {
        removed: vec![(place, table.number)],
        added: vec![(place, dirty.into())],
        ..lsm_version::VersionEdit::default()
    };
    let version = version.apply(&edit).expect("fits");
    let policy: CompactionPolicy = "lazy_leveled".parse().expect("a policy");
    let input = at_rest(&version);
    let plan = policy.as_policy().plan(&input).expect("there are tombstones to drop");
    assert_eq!(plan.inputs[0].tables[0].number, 2);
    assert!(plan.nothing_older(b"c"));
}
