//! Segments that cannot be prepared: what is left of them.

use std::path::PathBuf;

use lsm_io::{CrashPolicy, Fs, Identity, OpenMode, Result, SimFs, every, nth};
use lsm_wal::PreparedSegment;

use crate::support::{DATABASE_ID, dir, disk, path};

fn prepare(fs: &SimFs, number: u64, bytes: u64, recycle: Option<u64>) -> Result<PreparedSegment> {
    let identity = Identity { database_id: DATABASE_ID, file_number: number };
    let recycle = recycle.map(path);
    PreparedSegment::prepare(&fs.shared(), dir(), identity, bytes, recycle.as_deref())
}

fn files(fs: &SimFs) -> Vec<PathBuf> {
    fs.files().into_iter().map(|(path, _)| path).collect()
}

#[test]
fn a_segment_that_cannot_be_prepared_leaves_nothing_behind() {
    let mut failures = 0;
    for recycle in [None, Some(1)] {
        for call in 1.. {
            let fs = disk(0);
            prepare(&fs, 1, 4096, None).expect("prepared");
            fs.fail(nth(call).any_of("db"));
            fs.fail(nth(call).any_of("000002.log"));
            let made = prepare(&fs, 2, 4096, recycle);
            fs.heal();
            if made.is_ok() {
                assert_eq!(fs.read_file(path(2)).len(), 4096);
                break;
            }
            failures += 1;
            // The file to be used again may be there still, under its own name.
            let left = files(&fs);
            let is_old = left == [path(1)];
            assert!(is_old || (recycle.is_some() && left.is_empty()), "call {call}: {left:?}");
        }
    }
    assert!(failures >= 8, "{failures} failures are too few to tell");
}

#[test]
fn of_a_file_used_again_the_beginning_alone_is_made_durable() {
    let fs = disk(0);
    prepare(&fs, 1, 4096 * 4, None).expect("prepared");
    let old = fs.open(&path(1), OpenMode::ReadWrite).expect("opened");
    old.write_at(100, &[7; 16_000]).expect("written");
    prepare(&fs, 2, 4096 * 4, Some(1)).expect("prepared");
    let lost = fs.crash_image(CrashPolicy::LoseUnsynced, 0).read_file(path(2));
    let now = fs.read_file(path(2));
    assert_eq!(lost[..4096], now[..4096], "its identity survives every power cut");
    assert_eq!(lost[4096..], [0; 4096 * 3], "its old frames need not");
    assert_ne!(now[4096..], [0; 4096 * 3]);
}

#[test]
fn a_disk_that_stays_full_does_not_fill_with_unfinished_segments() {
    let fs = disk(0);
    fs.limit_bytes(5000);
    for number in 1..20 {
        let error = prepare(&fs, number, 8192, None).expect_err("there is no room");
        assert!(error.is_no_space(), "{error}");
        assert!(files(&fs).is_empty());
    }
    prepare(&fs, 20, 4096, None).expect("there is room for a smaller one");
}

#[test]
fn a_file_that_was_there_before_is_not_removed() {
    let fs = disk(0);
    fs.open(&path(1), OpenMode::CreateNew).expect("created");
    prepare(&fs, 1, 4096, None).expect_err("the number is taken");
    assert_eq!(files(&fs), [path(1)]);
}

#[test]
fn a_failed_sync_of_the_directory_is_told_apart() {
    let fs = disk(0);
    fs.fail(every().sync_of("*.log"));
    let error = prepare(&fs, 1, 4096, None).expect_err("the sync failed");
    assert!(!error.is_failed_dir_sync(), "{error}");
    fs.heal();
    fs.fail(every().dir_sync_of("db"));
    let error = prepare(&fs, 2, 4096, None).expect_err("the sync failed");
    assert!(error.is_failed_dir_sync(), "{error}");
}
