//! After a merge every reader sees what it saw before: at each live snapshot, and at the present.

use lsm_compaction::{DropReason, Retention, Verdict};
use lsm_entry::{Cursor, SeqNo};
use lsm_entry::{Entry, OwnedEntry, Tag, VecCursor};

use crate::divided::Divided;
use crate::rng::Rng;

/// What a reader at `seq_no` sees of a key.
fn seen(entries: &[OwnedEntry], key: &[u8], seq_no: SeqNo) -> Option<Vec<u8>> {
    let versions = entries.iter().filter(|entry| entry.key == key && entry.seq_no <= seq_no);
    let newest = versions.max_by_key(|entry| entry.seq_no)?;
    (!newest.tag.is_tombstone()).then(|| newest.value.clone())
}

#[test]
fn every_reader_sees_after_a_merge_what_it_saw_before() {
    for seed in 0..3000 {
        let mut rng = Rng(seed);
        let mut entries = Vec::new();
        for seq_no in 1..=1 + rng.below(30) {
            let key = vec![b'a' + rng.below(4) as u8];
            let tag = if rng.below(3) == 0 { Tag::DELETE } else { Tag::PUT };
            entries.push(OwnedEntry { key, seq_no, tag, value: vec![seq_no as u8] });
        }
        let Divided { split, newest, below, merged, snapshots } =
            Divided::at_random(&entries, &mut rng);

        let mut retention = Retention::new(snapshots.clone(), 0);
        let mut cursor = VecCursor::new(merged);
        let Ok(()) = cursor.seek_first();
        let mut kept = below.clone();
        while let Some(entry) = cursor.entry() {
            let nothing_older = !below.iter().any(|older| older.key == entry.key);
            if retention.judge(&entry, nothing_older).is_keep() {
                kept.push(entry.into());
            }
            let Ok(()) = cursor.next();
        }
        for key in [b"a", b"b", b"c", b"d"] {
            for &reader in snapshots.iter().chain([&newest]) {
                assert_eq!(
                    seen(&kept, key, reader),
                    seen(&entries, key, reader),
                    "seed {seed}, key {key:?} at {reader}, snapshots {snapshots:?}"
                );
            }
        }
        if snapshots.is_empty() {
            let merged = kept.iter().filter(|entry| entry.seq_no > split);
            for key in [b"a", b"b", b"c", b"d"] {
                let versions = merged.clone().filter(|entry| entry.key == key).count();
                assert!(versions <= 1, "seed {seed}: without snapshots one version is enough");
            }
        }
    }
}

#[test]
fn what_is_dropped_is_dropped_for_a_reason() {
    let mut retention = Retention::new(vec![5], 1000);
    let expired = [500u64.to_le_bytes().as_slice(), b"v"].concat();
    let expiring = Entry { tag: Tag::PUT.with_expiry(), ..Entry::put(b"e", 2, &expired) };
    assert_eq!(retention.judge(&Entry::put(b"a", 9, b""), true), Verdict::Keep);
    assert_eq!(
        retention.judge(&Entry::put(b"a", 8, b""), true),
        Verdict::Drop(DropReason::Shadowed)
    );
    assert_eq!(retention.judge(&Entry::put(b"a", 4, b""), true), Verdict::Keep, "seen at 5");
    assert_eq!(
        retention.judge(&Entry::delete(b"b", 4), true),
        Verdict::Drop(DropReason::Tombstone)
    );
    assert_eq!(
        retention.judge(&Entry::delete(b"c", 4), false),
        Verdict::Keep,
        "hides what is below"
    );
    assert_eq!(
        retention.judge(&Entry::delete(b"d", 6), true),
        Verdict::Keep,
        "5 sees what it hides"
    );
    assert_eq!(retention.judge(&expiring, true), Verdict::Keep, "5 may have seen it alive");
    let mut alone = Retention::new(Vec::new(), 1000);
    assert_eq!(alone.judge(&expiring, true), Verdict::Drop(DropReason::Expired));
    assert_eq!(alone.judge(&Entry::put(b"e", 1, b""), true), Verdict::Drop(DropReason::Shadowed));
}
