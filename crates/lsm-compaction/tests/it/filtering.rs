//! What a filter decides holds for the present alone: every snapshot sees what it saw.

use std::sync::Arc;

use lsm_compaction::{
    CompactionFilter, FilterDecision, MergeStats, ReadTimes, Retention, for_each_survivor,
};
use lsm_entry::{BlobRef, Cursor, Entry, OwnedEntry, SeqNo, Tag, ValueKind, VecCursor};

use crate::divided::Divided;
use crate::folding::Append;
use crate::rng::Rng;

/// Removes values that begin with "r", and makes capitals of those that begin with "c".
struct ByLetter;

impl CompactionFilter for ByLetter {
    fn name(&self) -> &str {
        "by letter"
    }

    fn filter(&self, _key: &[u8], value: &[u8]) -> FilterDecision {
        match value.first() {
            Some(b'r') => FilterDecision::Remove,
            Some(b'c') => FilterDecision::Replace(value.to_ascii_uppercase()),
            Some(b'p') => panic!("on purpose"),
            _ => FilterDecision::Keep,
        }
    }
}

/// What a reader at `seq_no` sees of a key.
fn seen(entries: &[OwnedEntry], key: &[u8], seq_no: SeqNo) -> Option<Vec<u8>> {
    let versions = entries.iter().filter(|entry| entry.key == key && entry.seq_no <= seq_no);
    let newest = versions.max_by_key(|entry| entry.seq_no)?;
    (!newest.tag.is_tombstone()).then(|| newest.value.clone())
}

fn filtered(value: Option<Vec<u8>>) -> Option<Vec<u8>> {
    match value.as_ref().map(|value| ByLetter.filter(b"", value))? {
        FilterDecision::Keep => value,
        FilterDecision::Remove => None,
        FilterDecision::Replace(other) => Some(other),
    }
}

fn survivors(
    entries: Vec<OwnedEntry>,
    retention: Retention,
    nothing_older: impl Fn(&[u8]) -> bool,
) -> (Vec<OwnedEntry>, MergeStats) {
    let mut kept = Vec::new();
    let mut cursor = VecCursor::new(entries);
    let Ok(()) = cursor.seek_first();
    let take = |entry: Entry<'_>| {
        kept.push(OwnedEntry::from(entry));
        Ok::<(), std::convert::Infallible>(())
    };
    let mut retention = retention
        .filtering(Some(Arc::new(ByLetter)))
        .folding(Some(Arc::new(Append { is_associative: true })));
    let stats =
        for_each_survivor(&mut cursor, None, &mut retention, nothing_older, &|| false, take);
    (kept, stats.expect("memory does not fail"))
}

#[test]
fn a_filter_changes_nothing_for_snapshots_and_everything_merged_for_the_present() {
    let (mut removed, mut replaced) = (0, 0);
    for seed in 0..6000 {
        let mut rng = Rng(seed);
        let mut entries = Vec::new();
        for seq_no in 1..=1 + rng.below(30) {
            let key = vec![b'a' + rng.below(4) as u8];
            let is_delete = rng.below(5) == 0;
            let letter = ["r", "c", "k"][rng.below(3) as usize];
            let value = if is_delete { String::new() } else { format!("{letter}{seq_no}") };
            let tag = if is_delete { Tag::DELETE } else { Tag::PUT };
            entries.push(OwnedEntry { key, seq_no, tag, value: value.into_bytes() });
        }
        let Divided { newest, below, merged, snapshots, .. } =
            Divided::at_random(&entries, &mut rng);
        let nothing_older = |key: &[u8]| !below.iter().any(|older| older.key == key);
        let retention = Retention::new(snapshots.clone(), 0);
        let (mut kept, stats) = survivors(merged.clone(), retention, nothing_older);
        removed += stats.filter_removed;
        replaced += stats.filter_replaced;
        kept.extend(below);
        for key in [b"a", b"b", b"c", b"d"] {
            for &reader in &snapshots {
                assert_eq!(
                    seen(&kept, key, reader),
                    seen(&entries, key, reader),
                    "seed {seed}, key {key:?} at {reader}, snapshots {snapshots:?}"
                );
            }
            let last = entries.iter().rev().find(|entry| entry.key == key);
            let last_snapshot = snapshots.last().copied().unwrap_or(0);
            let is_asked = last.is_some_and(|last| {
                last.seq_no > last_snapshot && merged.iter().any(|entry| entry == last)
            });
            let before = seen(&entries, key, newest);
            let expected = if is_asked { filtered(before) } else { before };
            assert_eq!(seen(&kept, key, newest), expected, "seed {seed}, key {key:?} at present");
        }
    }
    assert!(removed > 1000 && replaced > 1000, "{removed} {replaced}");
}

/// Versions of one key, newest first, as "number=value"; a value "x@1000" expires then, and "+x" is a
/// merge operand.
#[track_caller]
fn check_survivors(entries: &str, snapshots: &[SeqNo], nothing_older: bool, expected: &str) {
    let parse = |word: &str| {
        let (seq_no, value) = word.split_once('=').expect("number=value");
        let (tag, value) = match value.split_once('@') {
            None if value.starts_with('+') => (Tag::MERGE, value.as_bytes()[1..].to_vec()),
            None => (Tag::PUT, value.as_bytes().to_vec()),
            Some((value, expiry)) => {
                let expiry: u64 = expiry.parse().expect("a time");
                (Tag::PUT.with_expiry(), [&expiry.to_le_bytes()[..], value.as_bytes()].concat())
            }
        };
        OwnedEntry { key: b"k".to_vec(), seq_no: seq_no.parse().expect("a number"), tag, value }
    };
    let entries = entries.split_whitespace().map(parse).collect();
    let times = snapshots.iter().map(|seq_no| (*seq_no, 1000)).collect();
    let retention = Retention::at(ReadTimes::new(times, 1000));
    let (kept, _) = survivors(entries, retention, |_| nothing_older);
    let show = |entry: &OwnedEntry| {
        let seq_no = entry.seq_no;
        if entry.tag.is_tombstone() {
            return format!("{seq_no} gone");
        }
        let entry = entry.as_entry();
        let value = entry.user_value().escape_ascii();
        match entry.expires_at_ms() {
            None if entry.kind() == ValueKind::Merge => format!("{seq_no}=+{value}"),
            None => format!("{seq_no}={value}"),
            Some(expiry) => format!("{seq_no}={value}@{expiry}"),
        }
    };
    let kept: Vec<String> = kept.iter().map(show).collect();
    assert_eq!(kept.join(" "), expected);
}

#[test]
fn what_is_removed_goes_on_hiding_what_may_lie_below() {
    check_survivors("9=r 7=k", &[], false, "9 gone");
    check_survivors("9=r 7=k", &[], true, "");
    check_survivors("9=r 7=k", &[8], true, "9 gone 7=k");
}

#[test]
fn a_value_that_a_snapshot_sees_is_not_asked_about() {
    check_survivors("9=r 7=r", &[8], true, "9 gone 7=r");
    check_survivors("9=c 7=c", &[9], true, "9=c");
}

#[test]
fn a_replacement_expires_when_the_value_would_have() {
    check_survivors("9=c@1001", &[], true, "9=C@1001");
}

#[test]
fn a_value_whose_time_is_over_is_not_asked_about() {
    check_survivors("9=p@1000", &[], false, "9=p@1000");
    check_survivors("9=c@1000", &[], false, "9=c@1000");
}

#[test]
fn a_filter_that_panics_keeps_the_value() {
    check_survivors("9=panic", &[], true, "9=panic");
}

#[test]
fn what_operands_come_to_is_asked_about_and_they_are_not() {
    check_survivors("9=+hange 7=c", &[], false, "9=CHANGE");
    check_survivors("9=+ 7=r", &[], false, "9 gone");
    check_survivors("9=+ 7=r", &[], true, "");
    check_survivors("9=+ 7=r", &[8], true, "9=+ 7=r");
    check_survivors("9=+r", &[], false, "9=+r");
    check_survivors("9=+r 8=+c", &[], false, "9=+cr");
}

#[test]
fn a_value_below_operands_is_not_asked_about() {
    check_survivors("9=+x 7=c@1001", &[], false, "9=+x 7=c@1001");
}

/// Goes by the key "k", and over others by the value.
struct ByKey;

impl CompactionFilter for ByKey {
    fn name(&self) -> &str {
        "by key"
    }

    fn filter_key(&self, key: &[u8]) -> Option<FilterDecision> {
        (key == b"k").then_some(FilterDecision::Remove)
    }

    fn filter(&self, key: &[u8], value: &[u8]) -> FilterDecision {
        ByLetter.filter(key, value)
    }
}

/// Has a filter look at a value that lies elsewhere, under `key`, where `fetched` is what is found.
#[track_caller]
fn check_large(key: &str, fetched: Option<&'static str>, expected: Option<Entry<'_>>) {
    let place = BlobRef { file: 1, offset: 2, bytes: 3 }.to_bytes();
    let large = Entry { key: key.as_bytes(), seq_no: 9, tag: Tag::PUT.with_blob(), value: &place };
    let expected = expected.map(|expected| Entry { key: key.as_bytes(), seq_no: 9, ..expected });
    let fetch = move |_: &Entry<'_>| fetched.map(|value| value.as_bytes().to_vec());
    let mut retention =
        Retention::new(Vec::new(), 0).filtering(Some(Arc::new(ByKey))).fetching(Arc::new(fetch));
    let mut cursor = VecCursor::new(vec![large.into()]);
    let Ok(()) = cursor.seek_first();
    let mut kept = None;
    let take = |entry: Entry<'_>| {
        kept = Some(OwnedEntry::from(entry));
        Ok::<(), std::convert::Infallible>(())
    };
    let stats = for_each_survivor(&mut cursor, None, &mut retention, |_| true, &|| false, take);
    let failures = stats.expect("memory does not fail").filter_failures;
    assert_eq!(kept, expected.map(OwnedEntry::from));
    assert_eq!(failures, u64::from(fetched.is_none() && key != "k"));
}

#[test]
fn a_value_that_lies_elsewhere_is_fetched_only_where_the_key_does_not_tell() {
    let place = BlobRef { file: 1, offset: 2, bytes: 3 }.to_bytes();
    let entry = |tag, value| Some(Entry { key: b"", seq_no: 9, tag, value });
    check_large("k", None, None);
    check_large("other", Some("keep"), entry(Tag::PUT.with_blob(), &place));
    check_large("other", Some("remove"), None);
    check_large("other", Some("change"), entry(Tag::PUT, b"CHANGE"));
    check_large("other", None, entry(Tag::PUT.with_blob(), &place));
}
