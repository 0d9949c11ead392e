//! Merge operands of one stripe become one entry, and every reader sees what it saw before.

use std::sync::Arc;

use lsm_compaction::{MergeOperator, MergeStats, Retention, fold_operands, for_each_survivor};
use lsm_entry::{Cursor, Entry, OwnedEntry, SeqNo, Tag, ValueKind, VecCursor};

use crate::divided::Divided;
use crate::rng::Rng;

/// Puts operands behind the value: what comes of it tells their order.
pub(crate) struct Append {
    pub(crate) is_associative: bool,
}

impl MergeOperator for Append {
    fn name(&self) -> &str {
        "append"
    }

    fn merge(
        &self,
        _key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, String> {
        if operands.contains(&b"bad".as_slice()) {
            return Err("bad is bad".into());
        }
        Ok([base.unwrap_or(b"0"), &operands.concat()].concat())
    }

    fn combine(&self, _key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        self.is_associative.then(|| operands.concat())
    }
}

/// What a reader at `seq_no` sees of a key.
fn seen(entries: &[OwnedEntry], key: &[u8], seq_no: SeqNo, append: &Append) -> Option<Vec<u8>> {
    let mut versions: Vec<&OwnedEntry> =
        entries.iter().filter(|entry| entry.key == key && entry.seq_no <= seq_no).collect();
    versions.sort_by_key(|entry| std::cmp::Reverse(entry.seq_no));
    let is_operand = |entry: &&&OwnedEntry| entry.tag.kind() == ValueKind::Merge;
    let mut operands: Vec<&[u8]> =
        versions.iter().take_while(is_operand).map(|entry| entry.value.as_slice()).collect();
    operands.reverse();
    let base = versions.iter().find(|entry| entry.tag.kind() != ValueKind::Merge);
    let base = base.filter(|base| !base.tag.is_tombstone()).map(|base| base.value.clone());
    if operands.is_empty() {
        return base;
    }
    Some(append.merge(key, base.as_deref(), &operands).expect("no operand is bad"))
}

fn survivors(
    entries: Vec<OwnedEntry>,
    retention: &mut Retention,
    nothing_older: impl Fn(&[u8]) -> bool,
) -> (Vec<OwnedEntry>, MergeStats) {
    let mut kept = Vec::new();
    let mut cursor = VecCursor::new(entries);
    let Ok(()) = cursor.seek_first();
    let take = |entry: Entry<'_>| {
        kept.push(OwnedEntry::from(entry));
        Ok::<(), std::convert::Infallible>(())
    };
    let stats = for_each_survivor(&mut cursor, None, retention, nothing_older, &|| false, take);
    (kept, stats.expect("memory does not fail"))
}

#[test]
fn every_reader_sees_after_operands_are_folded_what_it_saw_before() {
    let keys = [b"a", b"b", b"c"];
    let mut folded = 0;
    for seed in 0..6000 {
        let mut rng = Rng(seed);
        let append = Append { is_associative: rng.below(2) == 0 };
        let mut entries = Vec::new();
        for seq_no in 1..=1 + rng.below(30) {
            let key = keys[rng.below(3) as usize].to_vec();
            let tag = match rng.below(8) {
                0 => Tag::DELETE,
                1..3 => Tag::PUT,
                _ => Tag::MERGE,
            };
            let value =
                if tag == Tag::DELETE { Vec::new() } else { format!("{seq_no},").into_bytes() };
            entries.push(OwnedEntry { key, seq_no, tag, value });
        }
        let Divided { newest, below, merged, snapshots, .. } =
            Divided::at_random(&entries, &mut rng);

        let operator = Arc::new(Append { ..append });
        let mut retention = Retention::new(snapshots.clone(), 0).folding(Some(operator));
        let nothing_older = |key: &[u8]| !below.iter().any(|older| older.key == key);
        let (mut kept, stats) = survivors(merged, &mut retention, nothing_older);
        folded += stats.operands_folded;
        if append.is_associative && snapshots.is_empty() {
            for key in keys {
                let versions = kept.iter().filter(|entry| entry.key == key).count();
                assert!(versions <= 2, "seed {seed}: an operand and its base are enough");
            }
        }
        kept.extend(below);
        for key in keys {
            for &reader in snapshots.iter().chain([&newest]) {
                assert_eq!(
                    seen(&kept, key, reader, &append),
                    seen(&entries, key, reader, &append),
                    "seed {seed}, key {key:?} at {reader}, snapshots {snapshots:?}"
                );
            }
        }
    }
    assert!(folded > 10_000, "{folded}");
}

/// Writes entries "kind@number=value" of one key, newest first, and says what survives.
#[track_caller]
fn check_survivors(entries: &str, nothing_older: bool, expected: &str) {
    check_survivors_of(entries, &[], nothing_older, expected);
}

#[track_caller]
fn check_survivors_of(entries: &str, snapshots: &[SeqNo], nothing_older: bool, expected: &str) {
    let parse = |word: &str| {
        let (kind, rest) = word.split_once('@').expect("kind@number");
        let (seq_no, value) = rest.split_once('=').unwrap_or((rest, ""));
        let (tag, value) = match kind {
            "put" => (Tag::PUT, value.as_bytes().to_vec()),
            "dying" => {
                let expiry: u64 = value.parse().expect("an expiry");
                (Tag::PUT.with_expiry(), [&expiry.to_le_bytes()[..], b"v"].concat())
            }
            "delete" => (Tag::DELETE, Vec::new()),
            _ => (Tag::MERGE, value.as_bytes().to_vec()),
        };
        OwnedEntry { key: b"k".to_vec(), seq_no: seq_no.parse().expect("a number"), tag, value }
    };
    let entries = entries.split_whitespace().map(parse).collect();
    let operator = Arc::new(Append { is_associative: true });
    let mut retention = Retention::new(snapshots.to_vec(), 1000).folding(Some(operator));
    let (kept, _) = survivors(entries, &mut retention, |_| nothing_older);
    let show = |entry: &OwnedEntry| {
        let kind = match entry.tag.kind() {
            ValueKind::Put if entry.tag.has_expiry() => "dying",
            ValueKind::Put => "put",
            ValueKind::Merge => "merge",
            _ => "delete",
        };
        let value = entry.as_entry().user_value().escape_ascii().to_string();
        format!("{kind}@{}={value}", entry.seq_no)
    };
    let kept: Vec<String> = kept.iter().map(show).collect();
    assert_eq!(kept.join(" "), expected);
}

#[test]
fn operands_and_their_base_become_a_put_under_the_newest_number() {
    check_survivors("merge@9=y merge@7=x put@5=b", false, "put@9=bxy");
    check_survivors("merge@9=y merge@7=x delete@5", false, "put@9=0xy");
    check_survivors("merge@9=y merge@7=x", true, "put@9=0xy");
}

#[test]
fn operands_without_a_known_base_become_one_operand() {
    check_survivors("merge@9=y merge@7=x", false, "merge@9=xy");
    check_survivors_of("merge@9=y merge@7=x put@5=b", &[6], true, "merge@9=xy put@5=b");
    check_survivors_of("merge@9=y merge@7=x put@5=b", &[8], true, "merge@9=y put@7=bx");
}

#[test]
fn operands_are_not_folded_onto_what_may_still_expire() {
    check_survivors("merge@9=y merge@7=x dying@5=1001", true, "merge@9=xy dying@5=v");
    check_survivors("merge@9=y merge@7=x dying@5=1000", true, "put@9=0xy");
    check_survivors_of("merge@9=y dying@5=1000", &[20], true, "merge@9=y dying@5=v");
}

#[test]
fn operands_that_the_operator_refuses_stay_as_they_are() {
    check_survivors("merge@9=bad put@5=b", true, "merge@9=bad put@5=b");
}

#[test]
fn an_operand_that_comes_twice_counts_once() {
    check_survivors("merge@9=y merge@9=y merge@7=x merge@7=x put@5=b", false, "put@9=bxy");
}

#[test]
fn an_operator_that_panics_is_one_that_fails() {
    struct Panics;
    impl MergeOperator for Panics {
        fn name(&self) -> &str {
            "panics"
        }
        fn merge(&self, _: &[u8], _: Option<&[u8]>, _: &[&[u8]]) -> Result<Vec<u8>, String> {
            panic!("on purpose")
        }
    }
    assert_eq!(fold_operands(&Panics, b"k", None, &[b"x"]), Err("it panicked".into()));
}
