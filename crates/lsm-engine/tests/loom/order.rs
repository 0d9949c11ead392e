//! The commit queue: who leads, what becomes visible when, and who is woken.

use lsm_engine::{Durability, ErrorKind};
use lsm_io::{SimFs, nth};
use lsm_memtable::modelled::explore;

use crate::{Rig, beside};

#[test]
fn what_two_durable_writers_are_told_is_on_the_disk_and_seen() {
    explore("two durable writers", Some(3), || {
        let rig = Rig::new(false);
        let other = beside(&rig, |rig| {
            rig.put("a", "1", Durability::Disk).expect("writes");
            assert_eq!(rig.left_by_a_power_cut(&["a"]), [true]);
            assert!(rig.get("a").is_some(), "acknowledged, and so visible");
        });
        rig.put("b", "1", Durability::Disk).expect("writes");
        assert_eq!(rig.left_by_a_power_cut(&["b"]), [true]);
        assert!(rig.get("b").is_some(), "acknowledged, and so visible");
        other.join().unwrap();
    });
}

#[test]
fn what_is_seen_of_a_durable_write_is_on_the_disk() {
    explore("durable before visible", None, || {
        let rig = Rig::new(false);
        let reader = beside(&rig, |rig| {
            if rig.get("a").is_some() {
                assert_eq!(rig.left_by_a_power_cut(&["a"]), [true]);
            }
        });
        rig.put("a", "1", Durability::Disk).expect("writes");
        reader.join().unwrap();
    });
}

/// A weaker write beside a durable one; whatever is seen obeys the order and the durabilities.
fn check_weaker_beside_durable(name: &'static str, weaker: Durability, map_log: bool) {
    explore(name, Some(3), move || {
        let rig = Rig::new(map_log);
        let other = beside(&rig, move |rig| {
            let seq_no = rig.put("weak", "1", weaker).expect("writes");
            assert!(rig.get("weak").is_some(), "acknowledged, and so visible");
            if weaker == Durability::Os {
                assert_eq!(rig.left_by_a_kill(&["weak"]), [true]);
            }
            // What is visible behind a durable commit proves that one durable.
            (seq_no, rig.get("durable").is_some(), rig.left_by_a_power_cut(&["durable"])[0])
        });
        let seq_no = rig.put("durable", "1", Durability::Disk).expect("writes");
        assert_eq!(rig.left_by_a_power_cut(&["durable"]), [true]);
        let (weak_seq_no, durable_seen, durable_kept) = other.join().unwrap();
        assert!(!durable_seen || durable_kept);
        assert!(weak_seq_no < seq_no || durable_seen, "a later commit was visible before");
        assert!(rig.get("weak").is_some() && rig.get("durable").is_some());
    });
}

#[test]
fn a_write_to_the_system_beside_a_durable_one_keeps_the_order() {
    check_weaker_beside_durable("os beside disk", Durability::Os, false);
}

#[test]
fn a_stored_write_beside_a_durable_one_keeps_the_order() {
    check_weaker_beside_durable("stored beside disk", Durability::Os, true);
}

#[test]
fn a_write_to_memory_beside_a_durable_one_keeps_the_order() {
    check_weaker_beside_durable("memory beside disk", Durability::Memory, false);
}

#[test]
fn three_writers_in_two_rounds_are_all_woken() {
    explore("three writers", Some(2), || {
        let rig = Rig::new(false);
        let one = beside(&rig, |rig| rig.put("a", "1", Durability::Disk).map(drop));
        let two = beside(&rig, |rig| rig.put("b", "1", Durability::Os).map(drop));
        rig.put("c", "1", Durability::Disk).expect("writes");
        assert_eq!(rig.left_by_a_power_cut(&["c"]), [true]);
        one.join().unwrap().expect("writes");
        two.join().unwrap().expect("writes");
        assert_eq!(rig.left_by_a_power_cut(&["a"]), [true]);
    });
}

#[test]
fn a_failed_sync_ends_every_wait_and_shows_nothing() {
    explore("failed sync", Some(3), || {
        // The first sync of a log prepares its segment; the second is the first group's.
        let rig = Rig::on(SimFs::new(0).fail(nth(2).sync_of("*.log")), false);
        let other = beside(&rig, |rig| rig.put("a", "1", Durability::Disk));
        let own = rig.put("b", "1", Durability::Disk);
        let other = other.join().unwrap();
        assert!(own.is_err() || other.is_err(), "one of the two led, or both shared the sync");
        for (key, result) in [("a", other), ("b", own)] {
            match result {
                Ok(_) => assert_eq!(rig.left_by_a_power_cut(&[key]), [true]),
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::Io), "{error}");
                    assert_eq!(rig.get(key), None, "never durable, so never visible");
                }
            }
        }
    });
}

#[test]
fn closing_beside_a_writer_keeps_what_was_acknowledged() {
    explore("closing", Some(3), || {
        let rig = Rig::new(false);
        let writer = beside(&rig, |rig| rig.put("a", "1", Durability::Disk));
        let closed = rig.db.clone().close();
        let written = writer.join().unwrap();
        closed.expect("closes");
        match written {
            Ok(_) => assert_eq!(rig.left_by_a_power_cut(&["a"]), [true]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error}"),
        }
    });
}
