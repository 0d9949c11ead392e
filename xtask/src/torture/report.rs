//! The published table: what was done, what was found, over which seeds and in what time, and what
//! was exercised on the way; in Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::torture::harness::Harness;
use crate::torture::ledger::Entry;
use crate::torture::source::Source;

/// What the first table says of which figure. A figure that no row names stands in the last table.
const ROWS: &[(&str, &str)] = &[
    ("I/O calls crashed at", "crash.points"),
    ("crash images recovered", "crash.images"),
    ("– of them of a crash in the recovery from a crash", "crash.two_level"),
    ("real power cuts on ext4", "cut.cuts"),
    ("real disks filled, and resumed from", "full_disk.rounds"),
    ("real disks that failed a sync, and were mended", "failed_sync.rounds"),
    ("processes killed under load (SIGKILL)", "kill.cycles"),
    ("operations compared with the model", "model.operations"),
    ("histories run in one world more", "worlds.runs"),
    ("I/O calls made to fail", "faults.points"),
    ("bits flipped, mapped and cached reading each counted", "damage.bits"),
    ("lengths to which files were cut", "damage.truncations"),
    ("– of all damage: answered rightly", "damage.right"),
    ("– cut off as a crash would have, and reported", "damage.cut"),
    ("– refused with a typed error", "damage.typed"),
    ("executions that loom explored", "loom.executions"),
    ("histories of threads found linearizable", "linearizability.histories"),
    ("bugs planted", "planted.bugs"),
    ("– of them caught", "planted.caught"),
];

/// What must not be found, and what a failure has to say to be counted there. A failure that says
/// none of it is a wrong answer.
const FINDINGS: &[(&str, &str, &str)] = &[
    ("planted bugs that no test noticed", "overlooked", "went unnoticed"),
    ("acknowledged writes lost", "lost", "lost"),
    ("panics", "panics", "panicked at"),
    ("hangs", "hangs", "hang"),
    ("wrong answers", "wrong", ""),
];

/// The report over the entries of one state of the code.
pub(crate) fn markdown(source: &Source, harnesses: &[Harness], entries: &[&Entry]) -> String {
    let sums = sums(entries);
    let mut text = heading(source, entries);
    text += "\n| what was done | count | goal |\n|---|---:|---:|\n";
    for (what, figure) in ROWS {
        let goal = harnesses.iter().map(|harness| &harness.goal).find(|g| g.figure == *figure);
        let goal = goal.map_or_else(String::new, |goal| grouped(goal.count));
        row(&mut text, &[what, &grouped(count(&sums, figure)), &goal]);
    }
    text += "\n| what was found | count |\n|---|---:|\n";
    for (what, found) in findings(&sums, entries) {
        row(&mut text, &[what, &grouped(found)]);
    }
    text += "\n| harness | pieces | seeds | minutes | reached of its goal |\n|---|---:|---|---:|---:|\n";
    for harness in harnesses {
        let is_own = |entry: &&Entry| entry.harness == harness.name;
        let own: Vec<_> = entries.iter().copied().filter(is_own).collect();
        let minutes = seconds(&own) / 60.0;
        let share = harness.goal.share_reached(own.iter().copied());
        let cells = [
            harness.name.clone(),
            own.len().to_string(),
            seeds(own.iter().map(|entry| (entry.seed_from, entry.seed_to)).collect()),
            format!("{minutes:.1}"),
            format!("{:.0} %", share * 100.0),
        ];
        row(&mut text, &cells.each_ref().map(String::as_str));
    }
    text += "\n| what was exercised | count |\n|---|---:|\n";
    for (figure, count) in &sums {
        if !is_told_elsewhere(figure) {
            row(&mut text, &[figure, &grouped(*count)]);
        }
    }
    text
}

/// Commit, machines and time.
fn heading(source: &Source, entries: &[&Entry]) -> String {
    let changed = if source.is_dirty { ", with changes that are not committed" } else { "" };
    let machines: BTreeSet<_> = entries.iter().map(|entry| entry.machine.as_str()).collect();
    let machines: Vec<_> = machines.into_iter().collect();
    let hours = seconds(entries) / 3600.0;
    let commit = source.commit.get(..12).unwrap_or(&source.commit);
    format!(
        "Code of commit `{commit}`{changed}: {} pieces, {hours:.1} hours of work, on {}.\n",
        entries.len(),
        if machines.is_empty() { "no machine yet".to_owned() } else { machines.join("; ") }
    )
}

fn seconds(entries: &[&Entry]) -> f64 {
    entries.iter().fold(0.0, |sum, entry| sum + entry.seconds)
}

fn sums(entries: &[&Entry]) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (name, count) in entries.iter().flat_map(|entry| &entry.figures) {
        *sums.entry(name.clone()).or_default() += count;
    }
    sums
}

fn count(sums: &BTreeMap<String, u64>, figure: &str) -> u64 {
    sums.get(figure).copied().unwrap_or(0)
}

/// What harnesses counted of each finding themselves, and the pieces that failed with it.
fn findings(sums: &BTreeMap<String, u64>, entries: &[&Entry]) -> Vec<(&'static str, u64)> {
    let counted = |figure: &str| -> u64 {
        let own = sums.iter().filter(|(name, _)| last_word(name) == figure);
        own.map(|(_, count)| count).sum()
    };
    let mut findings: Vec<_> =
        FINDINGS.iter().map(|(what, figure, _)| (*what, counted(figure))).collect();
    for failure in entries.iter().filter_map(|entry| entry.failure.as_ref()) {
        let kind = FINDINGS.iter().position(|(_, _, said)| failure.contains(said));
        findings[kind.expect("the last kind takes every failure")].1 += 1;
    }
    findings
}

fn is_told_elsewhere(figure: &str) -> bool {
    ROWS.iter().any(|(_, own)| *own == figure)
        || FINDINGS.iter().any(|(_, own, _)| *own == last_word(figure))
}

fn last_word(figure: &str) -> &str {
    figure.rsplit('.').next().unwrap_or(figure)
}

/// Ranges of seeds, those that touch joined.
fn seeds(mut ranges: Vec<(u64, u64)>) -> String {
    ranges.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (from, to) in ranges {
        match joined.last_mut() {
            Some(last) if from <= last.1 + 1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    let text: Vec<_> = joined.iter().map(|(from, to)| format!("{from}–{to}")).collect();
    text.join(", ")
}

fn row(text: &mut String, cells: &[&str]) {
    writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes everything");
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torture::harness;
    use crate::torture::tests::{entry, source};

    #[test]
    fn counts_of_all_pieces_are_added_up_and_set_beside_their_goal() {
        let pieces = [
            entry("kill", 0, &[("kill.cycles", 700), ("kill.snapshots", 0), ("lost", 0)]),
            entry("kill", 1, &[("kill.cycles", 800), ("kill.snapshots", 0), ("lost", 0)]),
        ];
        let entries: Vec<_> = pieces.iter().collect();
        let text = markdown(&source(), &harness::all(), &entries);
        for line in [
            "| processes killed under load (SIGKILL) | 1,500 | 2,000 |",
            "| acknowledged writes lost | 0 |",
            "| kill | 2 | 0–1 | 2.0 | 75 % |",
            "| kill.snapshots | 0 |",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_piece_that_failed_is_counted_by_what_it_found() {
        let check = |failure: &str, expected: &str| {
            let failed = Entry { failure: Some(failure.to_owned()), ..entry("kill", 0, &[]) };
            let text = markdown(&source(), &harness::all(), &[&failed]);
            assert!(text.contains(&format!("| {expected} | 1 |")), "{failure}\n{text}");
        };
        check("kill 3 of seed 1: lost: 5 commits", "acknowledged writes lost");
        check("thread 'main' panicked at src", "panics");
        check("hang: it did not end", "hangs");
        check("expected 1, found 2", "wrong answers");
        check("1 of 5 planted bugs went unnoticed", "planted bugs that no test noticed");
    }

    #[test]
    fn numbers_and_seeds_are_short_to_read() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(999), "999");
        assert_eq!(seeds(vec![(10, 19), (0, 9), (30, 39)]), "0–19, 30–39");
    }
}
