//! The writing end: what goes where, what is synced in which order, and what is refused.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lsm_io::{Fs, SimFs, every, nth};
use lsm_wal::{
    FrameKind, Log, MARK_EXTRA_BYTES_MAX, Pending, RecoveryMode, SegmentInfo, hash_payload,
};

use crate::support::{Owner, dir, disk, path, prepare, read};

fn owner(segment_bytes: u64) -> Owner {
    Owner::start(&disk(0), 1, 1, segment_bytes).expect("an empty disk")
}

#[test]
fn appending_touches_no_file() {
    let mut owner = owner(4096);
    let steps = owner.fs.steps();
    owner.batch("one");
    owner.log.append_mark(1, b"extra");
    let pending = owner.log.take_pending(Pending::Sync);
    assert_eq!(pending.bytes(), 24 + 3 + 24 + 8 + 5);
    assert_eq!(owner.log.buffered_bytes(), 0);
    assert_eq!(owner.fs.steps(), steps);
}

#[test]
fn appending_goes_on_while_a_sync_is_under_way() {
    let mut owner = owner(4096);
    owner.batch("one");
    let hold = owner.fs.hold(every().sync_of("*.log"));
    let mut pending = owner.log.take_pending(Pending::Sync);
    let syncing = std::thread::spawn(move || {
        pending.write()?;
        pending.sync()?;
        Ok::<_, lsm_io::Error>(pending)
    });
    while hold.waiting() == 0 {
        std::thread::yield_now();
    }
    owner.batch("two");
    assert_eq!(owner.log.next_seq_no(), 3);
    hold.release();
    let mut pending = syncing.join().expect("no panic").expect("synced");
    owner.log.note_written(&mut pending);
    owner.sync().expect("synced");
    let (found, _) = read(&owner.fs, owner.start, RecoveryMode::Absolute).expect("a sound log");
    assert_eq!(found, owner.written);
}

#[test]
fn a_segment_that_was_only_written_is_covered_by_the_next_sync() {
    let mut owner = owner(4096);
    owner.batch("one");
    owner.write().expect("written");
    owner.rotate().expect("rotated");
    owner.fs.reset_counters();
    owner.batch("two");
    owner.sync().expect("synced");
    assert_eq!((owner.fs.synced("000001.log"), owner.fs.synced("000002.log")), (1, 1));
    // And none is synced twice for nothing.
    owner.batch("three");
    owner.sync().expect("synced");
    assert_eq!((owner.fs.synced("000001.log"), owner.fs.synced("000002.log")), (1, 2));
}

#[test]
fn older_segments_are_synced_first() {
    let mut owner = owner(4096);
    owner.batch("one");
    owner.rotate().expect("rotated");
    owner.batch("two");
    owner.fs.fail(nth(1).sync_of("000001.log"));
    owner.fs.reset_counters();
    owner.sync().expect_err("the first sync fails");
    assert_eq!(owner.fs.synced("000002.log"), 0, "a newer one was synced before");
}

#[test]
fn an_empty_log_has_nothing_to_write_and_nothing_to_sync() {
    let mut owner = owner(4096);
    assert!(owner.log.take_pending(Pending::Sync).is_empty());
    owner.batch("one");
    assert!(!owner.log.take_pending(Pending::Write).is_empty());
    let pending = owner.log.take_pending(Pending::Sync);
    assert!(!pending.is_empty(), "the file still waits for its sync");
    assert_eq!(pending.bytes(), 0);
}

#[test]
fn a_segment_takes_frames_to_the_last_byte() {
    let mut owner = owner(300);
    let room = 300 - 76 - 32 - 24;
    assert!(owner.log.fits(room) && !owner.log.fits(room + 1));
    owner.append(FrameKind::BATCH, 1, &vec![7; room]).expect("appended");
    owner.write().expect("written");
    assert_eq!(owner.fs.read_file(path(1)).len(), 300, "written beyond the end");
    owner.rotate().expect("rotated");
    owner.batch("two");
    owner.close().expect("closed");
    assert_eq!(owner.fs.read_file(path(1)).len(), 300, "written beyond the end");
    let (found, report) = read(&owner.fs, owner.start, RecoveryMode::Absolute).expect("sound");
    assert_eq!(found, owner.written);
    assert!(report.closed_cleanly);
}

#[test]
fn an_oversized_frame_gets_a_segment_of_its_own_length() {
    let mut owner = owner(300);
    owner.batch("small");
    let large = vec![9; 100_000];
    assert!(!owner.log.fits(large.len()));
    owner.segment_bytes = 100_200;
    owner.append(FrameKind::BATCH, 1, &large).expect("appended");
    owner.close().expect("closed");
    let (found, _) = read(&owner.fs, owner.start, RecoveryMode::Absolute).expect("sound");
    assert_eq!(found, owner.written);
}

#[test]
fn a_recycled_segment_takes_the_name_and_the_length_it_is_given() {
    let fs = disk(0);
    prepare(&fs, 1, 4096, None).expect("prepared");
    let longer = prepare(&fs, 2, 8192, Some(1)).expect("made longer");
    assert_eq!((longer.number(), longer.bytes()), (2, 8192));
    assert!(!fs.exists(&path(1)).expect("asked"));
    assert_eq!(fs.read_file(path(2)).len(), 8192);
    prepare(&fs, 3, 4096, Some(2)).expect("made shorter");
    assert_eq!(fs.read_file(path(3)).len(), 4096);
}

#[test]
fn a_prepared_segment_is_durable_before_its_first_frame() {
    let fs = disk(0);
    let segment = prepare(&fs, 1, 4096, None).expect("prepared");
    let after = fs.crash_image(lsm_io::CrashPolicy::LoseUnsynced, 0);
    assert_eq!(after.read_file(path(1)), fs.read_file(path(1)));
    assert_eq!(segment.bytes(), 4096);
}

fn numbers(segments: &[SegmentInfo]) -> Vec<u64> {
    segments.iter().map(|segment| segment.number).collect()
}

#[test]
fn a_segment_stays_while_frames_are_on_their_way_to_it() {
    let mut owner = owner(4096);
    owner.batch("one");
    owner.rotate().expect("rotated");
    assert_eq!(owner.log.release_before(100), [], "its frames are in memory");
    let mut pending = owner.log.take_pending(Pending::Write);
    owner.batch("two");
    owner.rotate().expect("rotated");
    assert_eq!(owner.log.release_before(100), [], "its frames were taken");
    pending.write().expect("written");
    owner.log.note_written(&mut pending);
    assert_eq!(numbers(&owner.log.release_before(100)), [1], "those of the next are in memory");
    owner.write().expect("written");
    assert_eq!(numbers(&owner.log.release_before(100)), [2]);
}

#[test]
fn no_sync_covers_a_segment_that_was_released() {
    let mut owner = owner(4096);
    owner.batch("one");
    owner.rotate().expect("rotated");
    owner.batch("two");
    owner.write().expect("written");
    assert_eq!(numbers(&owner.log.release_before(2)), [1]);
    owner.fs.reset_counters();
    owner.sync().expect("synced");
    assert_eq!((owner.fs.synced("000001.log"), owner.fs.synced("000002.log")), (0, 1));
}

#[test]
fn segments_are_released_oldest_first_and_never_the_current_one() {
    let mut owner = owner(4096);
    for text in ["one", "two", "three"] {
        owner.batch(text);
        owner.rotate().expect("rotated");
    }
    owner.write().expect("written");
    assert_eq!(numbers(owner.log.segments()), [1, 2, 3, 4]);
    assert_eq!(numbers(&owner.log.release_before(1)), [0; 0]);
    assert_eq!(numbers(&owner.log.release_before(3)), [1, 2]);
    assert_eq!(numbers(&owner.log.release_before(100)), [3]);
    assert_eq!(numbers(owner.log.segments()), [4]);
}

#[test]
fn adopted_segments_are_released_like_others() {
    let mut owner = owner(4096);
    owner.batch("one");
    owner.rotate().expect("rotated");
    owner.batch("two");
    owner.sync().expect("synced");
    let (_, report) = read(&owner.fs, owner.start, RecoveryMode::Default).expect("a sound log");
    let described: Vec<_> = report
        .segments
        .iter()
        .map(|segment| (segment.number, segment.first_seq_no, segment.end_seq_no))
        .collect();
    assert_eq!(described, [(1, 1, 2), (2, 2, 3)]);
    let mut log = Log::start(prepare(&owner.fs, 3, 4096, None).expect("prepared"), 3);
    log.adopt(report.segments.clone());
    assert_eq!(log.segments().len(), 3);
    assert_eq!(log.release_before(2), report.segments[..1]);
}

#[track_caller]
fn check_panics(misuse: impl FnOnce(&mut Owner), message: &str) {
    let mut owner = owner(400);
    let panic = catch_unwind(AssertUnwindSafe(|| misuse(&mut owner))).expect_err("it panics");
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or(panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    assert!(said.contains(message), "{said}");
}

#[test]
fn misuse_panics_with_the_invariants_name() {
    let hash = hash_payload(b"");
    check_panics(
        |owner| owner.log.append(FrameKind::BATCH, 2, 1, b"", hash),
        "frames follow each other without a gap",
    );
    check_panics(
        |owner| owner.log.append(FrameKind::MARK, 1, 1, b"", hash),
        "have methods of their own",
    );
    check_panics(
        |owner| owner.log.append(FrameKind::BATCH, 1, 0, b"", hash),
        "the frame's type, length and count do not agree",
    );
    check_panics(
        |owner| owner.log.append(FrameKind::BATCH, 1, 1, &[0; 400], hash),
        "the caller rotates before the segment is full",
    );
    check_panics(|owner| owner.log.append_mark(1, b""), "nothing is durable before it is appended");
    check_panics(
        |owner| owner.log.append_mark(0, &[0; MARK_EXTRA_BYTES_MAX + 1]),
        "a mark is short",
    );
    check_panics(
        |owner| {
            owner.batch("one");
            owner.log.append_close();
        },
        "everything is durable before the closing frame is written",
    );
    check_panics(
        |owner| {
            owner.close().expect("closed");
            owner.batch("two");
        },
        "nothing follows the closing frame",
    );
    check_panics(
        |owner| {
            let elsewhere = disk(1);
            let _ = owner.log.rotate(prepare(&elsewhere, 1, 400, None).expect("prepared"));
        },
        "later segments have higher numbers",
    );
    check_panics(|owner| drop(prepare(&owner.fs, 0, 400, None)), "segments are numbered from 1");
}

#[test]
fn a_failed_write_of_the_log_is_told() {
    for is_short in [false, true] {
        let mut owner = owner(4096);
        owner.batch("one");
        owner.sync().expect("synced");
        owner.batch("two");
        let fault = lsm_io::once().write_of("*.log");
        owner.fs.fail(if is_short { fault.short() } else { fault });
        owner.sync().expect_err("not all of it was written");
    }
}

#[test]
fn a_full_disk_leaves_the_log_as_it_was() {
    let mut owner = owner(4096);
    owner.batch("one");
    owner.sync().expect("synced");
    owner.fs.limit_bytes(5000);
    let error = prepare(&owner.fs, 2, 4096, None).expect_err("there is no room");
    assert!(error.is_no_space());
    owner.fs.unlimit();
    let (found, report) = read(&owner.fs, owner.start, RecoveryMode::Absolute).expect("sound");
    assert_eq!((found, report.cut), (owner.written, None));
}

#[test]
fn the_real_disk_gives_the_same_log() {
    use lsm_io::StdFs;
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let unique =
        format!("lsm-wal-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let dir = std::env::temp_dir().join(unique);
    let fs = StdFs::shared();
    fs.create_dir_all(&dir).expect("created");
    let identity = |file_number| lsm_io::Identity { database_id: 3, file_number };
    let prepare = |number, recycle| {
        lsm_wal::PreparedSegment::prepare(&fs, &dir, identity(number), 4096, recycle)
    };
    let mut log = Log::start(prepare(1, None).expect("prepared"), 1);
    log.append(FrameKind::BATCH, 1, 1, b"one", hash_payload(b"one"));
    log.rotate(prepare(2, None).expect("prepared")).expect("rotated");
    let mut pending = log.take_pending(Pending::Sync);
    pending.write().and_then(|()| pending.sync()).expect("durable");
    log.release_before(2);
    log.rotate(prepare(3, Some(&dir.join("000001.log"))).expect("recycled")).expect("rotated");
    log.append(FrameKind::BATCH, 2, 1, b"two", hash_payload(b"two"));
    let mut pending = log.take_pending(Pending::Sync);
    pending.write().and_then(|()| pending.sync()).expect("durable");
    let mut found = Vec::new();
    let visit = &mut |frame: lsm_wal::FrameRef<'_>| {
        found.push(frame.payload.to_vec());
        Ok(())
    };
    let report = lsm_wal::replay(&fs, &dir, 3, 2, Some(2), RecoveryMode::Absolute, visit);
    fs.remove_dir_all(&dir).expect("removed");
    assert_eq!(report.expect("sound").segments.len(), 2);
    assert_eq!(found, [b"two"]);
}

#[test]
fn the_directory_is_not_asked_for_more_than_it_holds() {
    let error = read(
        &SimFs::new(0),
        crate::support::Start { segment: 1, first_seq_no: 1 },
        RecoveryMode::Default,
    );
    let expected =
        format!("{}/000001.log at byte 0: the segment is missing from the log", dir().display());
    assert_eq!(error.expect_err("nothing is there").to_string(), expected);
}

#[test]
fn nothing_is_stored_in_front_of_what_is_on_its_way() {
    let fs = disk(0);
    let mut owner = Owner::start(&fs, 1, 1, 400).expect("an empty disk");
    owner.batch("taken");
    let mut pending = owner.log.take_pending(Pending::Write);
    owner.batch("waits for it");
    assert!(!owner.log.store().expect("no failure"), "the process may be killed before the write");
    pending.write().expect("written");
    owner.log.note_written(&mut pending);
    assert!(owner.log.store().expect("no failure"));
    assert_eq!(owner.log.buffered_bytes(), 0);
    owner.rotate().expect("rotated");
    owner.batch("in the next segment");
    assert!(owner.log.store().expect("no failure"), "the closing frame was stored");
    let mut pending = owner.log.take_pending(Pending::Write);
    assert!(pending.bytes() == 0, "there is nothing to write");
    owner.log.note_written(&mut pending);
    owner.batch("not stored");
    owner.rotate().expect("rotated");
    owner.batch("in the one after");
    assert!(!owner.log.store().expect("no failure"), "what stands before it is not written");
    owner.write().expect("written");
    let (found, _) = read(&fs.kill_image(), owner.start, RecoveryMode::Absolute).expect("whole");
    assert_eq!(found, owner.written);
}

#[test]
fn whoever_ends_a_mapped_segment_is_given_its_mapping() {
    let fs = disk(0);
    let mut owner = Owner::start(&fs, 1, 1, 400).expect("an empty disk");
    owner.batch("stored");
    assert!(owner.log.store().expect("no failure"));
    let next = || prepare(&fs, 2, 400, None).expect("prepared");
    let retired = owner.log.rotate(next()).expect("rotated");
    let retired = retired.expect("a round of writing must not be what unmaps it");
    retired.store(399, &[7]).expect("it is mapped still");
    assert_eq!(fs.read_file(path(1))[399], 7, "and of the ended segment");
}

#[test]
fn a_log_can_be_closed_after_nothing_was_stored_behind_a_sync() {
    let fs = disk(0);
    let mut owner = Owner::start(&fs, 1, 1, 400).expect("an empty disk");
    owner.batch("acknowledged");
    // Whoever leads a round stores what came meanwhile, be it nothing.
    owner.sync_beside(Owner::store).expect("synced");
    owner.log.append_close();
    owner.sync().expect("synced");
    let (found, report) = read(&fs, owner.start, RecoveryMode::Absolute).expect("whole");
    assert!(report.closed_cleanly);
    assert_eq!(found, owner.written);
}
