//! Views, snapshots and `visible`: a reader beside a flush that drops what nobody sees any more.

use lsm_engine::{Durability, Reads};
use lsm_memtable::modelled::explore;

use crate::{Rig, beside};

/// Writes a second version and flushes both away, beside `read`, which must see one or the other.
fn check_beside_flush(name: &str, read: impl Fn(&Rig) + Copy + Send + Sync + 'static) {
    explore(name, Some(3), move || {
        let rig = Rig::new(false);
        rig.put("k", "1", Durability::Memory).expect("writes");
        let reader = beside(&rig, move |rig| read(rig));
        rig.put("k", "2", Durability::Memory).expect("writes");
        rig.db.flush().expect("flushes");
        reader.join().unwrap();
        assert_eq!(rig.get("k").as_deref(), Some("2"));
    });
}

#[test]
fn a_point_read_beside_a_flush_finds_a_version() {
    check_beside_flush("get beside flush", |rig| {
        assert!(rig.get("k").is_some(), "a version was visible, and is gone");
    });
}

#[test]
fn point_reads_never_go_back() {
    check_beside_flush("gets beside flush", |rig| {
        let first = rig.get("k");
        assert!(rig.get("k") >= first);
    });
}

#[test]
fn a_snapshot_taken_beside_a_flush_sees_one_moment() {
    check_beside_flush("snapshot beside flush", |rig| {
        let snapshot = rig.db.snapshot();
        let first = snapshot.get("k").expect("reads").expect("a version was visible").to_vec();
        let again = snapshot.get("k").expect("reads").expect("it is kept").to_vec();
        assert_eq!(first, again);
        let now = rig.db.get("k").expect("reads").expect("a version is visible").to_vec();
        assert!(now >= first);
    });
}

#[test]
fn a_scan_begun_beside_a_flush_finds_a_version() {
    check_beside_flush("scan beside flush", |rig| assert_eq!(rig.db.iter().count(), 1));
}

#[test]
fn a_batch_is_seen_whole_by_a_snapshot() {
    explore("batch and snapshot", Some(3), || {
        let rig = Rig::new(false);
        let reader = beside(&rig, |rig| {
            let snapshot = rig.db.snapshot();
            let first = snapshot.contains_key("a").expect("reads");
            assert_eq!(snapshot.contains_key("b").expect("reads"), first);
        });
        let mut batch = lsm_engine::WriteBatch::new();
        batch.put("a", "1");
        batch.put("b", "1");
        rig.db.write_with(&batch, Durability::Memory.into()).expect("writes");
        reader.join().unwrap();
    });
}

/// Whoever is told that a sequence number is visible finds what was written under it.
fn check_counted_is_found(name: &str, durability: Durability) {
    explore(name, None, move || {
        let rig = Rig::new(false);
        let before = rig.db.snapshot().seq_no();
        let reader = beside(&rig, move |rig| {
            let snapshot = rig.db.snapshot();
            let is_found = snapshot.contains_key("a").expect("reads");
            assert_eq!(is_found, snapshot.seq_no() > before);
        });
        rig.put("a", "1", durability).expect("writes");
        reader.join().unwrap();
    });
}

#[test]
fn what_a_snapshot_counts_is_found_once_it_is_durable() {
    check_counted_is_found("visible when durable", Durability::Disk);
}

#[test]
fn what_a_snapshot_counts_is_found_at_once_if_it_need_not_be_durable() {
    check_counted_is_found("visible at once", Durability::Memory);
}
