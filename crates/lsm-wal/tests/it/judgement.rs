//! What a replay makes of a log that does not simply end: pictures of logs, and what is said of them.

use std::fmt::Write;

use expect_test::{Expect, expect};
use lsm_io::{Fs, Identity, OpenMode, SimFs};
use lsm_wal::{
    Cut, FrameKind, FrameReader, FrameRef, FrameStep, FrameWriter, RecoveryMode, replay,
};

use crate::support::{DATABASE_ID, Owner, Start, Written, dir, disk, path, prepare, read};

/// Writes the log that a picture shows. Words: `abc` a batch, `mark`, `sync`, `write`, `next` a new
/// segment, `close`, `spare` a prepared segment that is not used.
fn draw(picture: &str) -> Owner {
    let fs = disk(0);
    let mut owner = Owner::start(&fs, 1, 1, 400).expect("an empty disk");
    for word in picture.split_whitespace() {
        match word {
            "mark" => owner.mark(),
            "sync" => owner.sync().expect("synced"),
            "write" => owner.write().expect("written"),
            "next" => owner.rotate().expect("rotated"),
            "close" => owner.close().expect("closed"),
            "spare" => {
                prepare(&fs, owner.next_number, 400, None).expect("prepared");
            }
            text => owner.batch(text),
        }
    }
    owner
}

/// Where frame `index`, counted from 0, marks and closings included, stands in a segment.
fn place(fs: &SimFs, segment: u64, index: usize) -> (usize, usize) {
    let mut reader = FrameReader::open(&fs.shared(), &path(segment), None).expect("sound so far");
    let mut at = 0;
    while let FrameStep::Frame(frame) = reader.next().expect("read") {
        if at == index {
            return (frame.offset as usize, frame.end() as usize);
        }
        at += 1;
    }
    panic!("there are {at} frames");
}

/// Flips the last bit of a frame.
fn tear(fs: &SimFs, segment: u64, index: usize) {
    let (_, end) = place(fs, segment, index);
    fs.damage(path(segment), |bytes| bytes[end - 1] ^= 1);
}

/// Overwrites a frame with zeros, as a sector is that never reached the disk.
fn blank(fs: &SimFs, segment: u64, index: usize) {
    let (offset, end) = place(fs, segment, index);
    fs.damage(path(segment), |bytes| bytes[offset..end].fill(0));
}

fn texts(frames: &[Written]) -> String {
    let texts = frames.iter().map(|frame| String::from_utf8_lossy(&frame.payload));
    texts.collect::<Vec<_>>().join(" ")
}

fn describe(cut: &Cut) -> String {
    format!(
        "{} at {}: {} ({} bytes, {} frames)",
        cut.segment, cut.offset, cut.reason, cut.bytes_discarded, cut.frames_discarded
    )
}

/// What each mode says of a damaged log.
#[track_caller]
#[allow(clippy::needless_pass_by_value)] // Reads better where it is called.
fn check(picture: &str, damage: impl FnOnce(&SimFs), expected: Expect) {
    let owner = draw(picture);
    damage(&owner.fs);
    let mut said = String::new();
    for (name, mode) in [
        ("default ", RecoveryMode::Default),
        ("absolute", RecoveryMode::Absolute),
        ("salvage ", RecoveryMode::Salvage),
    ] {
        match read(&owner.fs, owner.start, mode) {
            Err(error) => writeln!(said, "{name}: {error}").expect("a string"),
            Ok((frames, report)) => {
                let end = if report.closed_cleanly { "closed" } else { "ends" };
                let unmarked = report.unmarked_frames;
                writeln!(said, "{name}: {} ({end}, {unmarked} unmarked)", texts(&frames))
                    .expect("a string");
                for loss in &report.losses {
                    writeln!(said, "          lost {}", describe(loss)).expect("a string");
                }
                if let Some(cut) = &report.cut {
                    writeln!(said, "          cut {}", describe(cut)).expect("a string");
                }
            }
        }
    }
    expected.assert_eq(&said);
}

#[test]
fn a_log_that_was_not_closed_simply_ends() {
    check(
        "one sync mark two sync three write",
        |_| {},
        expect![[r#"
        default : one two three (ends, 2 unmarked)
        absolute: one two three (ends, 2 unmarked)
        salvage : one two three (ends, 2 unmarked)
    "#]],
    );
}

#[test]
fn a_closed_log_proves_everything_durable() {
    check(
        "one sync mark two close",
        |_| {},
        expect![[r#"
        default : one two (closed, 0 unmarked)
        absolute: one two (closed, 0 unmarked)
        salvage : one two (closed, 0 unmarked)
    "#]],
    );
}

#[test]
fn a_torn_frame_above_the_newest_mark_is_cut() {
    check(
        "one sync mark two three sync",
        |fs| tear(fs, 1, 3),
        expect![[r#"
        default : one two (ends, 1 unmarked)
                  cut 1 at 162: the frame's checksum does not match (29 bytes, 0 frames)
        absolute: db/000001.log at byte 162: the frame's checksum does not match
        salvage : one two (ends, 1 unmarked)
                  cut 1 at 162: the frame's checksum does not match (29 bytes, 0 frames)
    "#]],
    );
}

#[test]
fn whole_frames_behind_a_torn_one_are_cut_with_it() {
    check(
        "one sync mark two three four sync",
        |fs| tear(fs, 1, 2),
        expect![[r#"
        default : one (ends, 0 unmarked)
                  cut 1 at 135: the frame's checksum does not match (84 bytes, 2 frames)
        absolute: db/000001.log at byte 135: the frame's checksum does not match
        salvage : one three four (ends, 2 unmarked)
                  lost 1 at 135: the frame's checksum does not match; sequence number 2 is lost (27 bytes, 0 frames)
    "#]],
    );
}

#[test]
fn a_hole_above_the_newest_mark_is_cut_with_what_follows_it() {
    check(
        "one sync mark two three sync",
        |fs| blank(fs, 1, 2),
        expect![[r#"
            default : one (ends, 0 unmarked)
                      cut 1 at 135: zeros instead of a frame (56 bytes, 1 frames)
            absolute: db/000001.log at byte 135: zeros instead of a frame
            salvage : one three (ends, 1 unmarked)
                      lost 1 at 135: zeros instead of a frame; sequence number 2 is lost (27 bytes, 0 frames)
        "#]],
    );
}

#[test]
fn a_torn_mark_is_cut_like_any_frame() {
    check(
        "one sync mark two sync",
        |fs| tear(fs, 1, 1),
        expect![[r#"
        default : one (ends, 1 unmarked)
                  cut 1 at 103: the frame's checksum does not match (59 bytes, 1 frames)
        absolute: db/000001.log at byte 103: the frame's checksum does not match
        salvage : one two (ends, 2 unmarked)
                  lost 1 at 103: the frame's checksum does not match (32 bytes, 0 frames)
    "#]],
    );
}

#[test]
fn a_torn_frame_below_the_newest_mark_is_damage() {
    check(
        "one sync two sync mark three sync",
        |fs| tear(fs, 1, 1),
        expect![[r#"
            default : db/000001.log at byte 103: the frame's checksum does not match; durable data should be here
            absolute: db/000001.log at byte 103: the frame's checksum does not match; durable data should be here
            salvage : one three (ends, 1 unmarked)
                      lost 1 at 103: the frame's checksum does not match; sequence number 2 is lost (27 bytes, 0 frames)
        "#]],
    );
}

#[test]
fn a_hole_below_the_newest_mark_is_damage() {
    check(
        "one two three sync mark four sync",
        |fs| blank(fs, 1, 1),
        expect![[r#"
            default : db/000001.log at byte 103: zeros instead of a frame; durable data should be here
            absolute: db/000001.log at byte 103: zeros instead of a frame; durable data should be here
            salvage : one three four (ends, 1 unmarked)
                      lost 1 at 103: zeros instead of a frame; sequence number 2 is lost (27 bytes, 0 frames)
        "#]],
    );
}

#[test]
fn damage_to_the_very_first_frame_is_noticed() {
    check(
        "one sync mark two sync",
        |fs| tear(fs, 1, 0),
        expect![[r#"
            default : db/000001.log at byte 76: the frame's checksum does not match; durable data should be here
            absolute: db/000001.log at byte 76: the frame's checksum does not match; durable data should be here
            salvage : two (ends, 1 unmarked)
                      lost 1 at 76: the frame's checksum does not match; sequence number 1 is lost (27 bytes, 0 frames)
        "#]],
    );
}

#[test]
fn a_mark_in_a_later_segment_convicts_too() {
    check(
        "one two sync next mark three sync",
        |fs| tear(fs, 1, 1),
        expect![[r#"
            default : db/000001.log at byte 103: the frame's checksum does not match; durable data should be here
            absolute: db/000001.log at byte 103: the frame's checksum does not match; durable data should be here
            salvage : one three (ends, 1 unmarked)
                      lost 1 at 103: the frame's checksum does not match; sequence number 2 is lost (27 bytes, 0 frames)
        "#]],
    );
}

#[test]
fn a_later_segment_without_a_mark_is_cut_with_the_rest() {
    check(
        "one sync mark two next three four sync",
        |fs| tear(fs, 1, 2),
        expect![[r#"
        default : one (ends, 0 unmarked)
                  cut 1 at 135: the frame's checksum does not match (116 bytes, 2 frames)
        absolute: db/000001.log at byte 135: the frame's checksum does not match
        salvage : one three four (ends, 2 unmarked)
                  lost 1 at 135: the frame's checksum does not match; sequence number 2 is lost (27 bytes, 0 frames)
    "#]],
    );
}

#[test]
fn a_torn_rotation_is_cut() {
    check(
        "one sync mark two next three sync",
        |fs| tear(fs, 1, 3),
        expect![[r#"
        default : one two (ends, 1 unmarked)
                  cut 1 at 162: the frame's checksum does not match (61 bytes, 1 frames)
        absolute: db/000001.log at byte 162: the frame's checksum does not match
        salvage : one two three (ends, 2 unmarked)
                  lost 1 at 162: the frame's checksum does not match (32 bytes, 0 frames)
    "#]],
    );
}

#[test]
fn the_closing_frame_convicts_everything_before_it() {
    check(
        "one sync two close",
        |fs| tear(fs, 1, 1),
        expect![[r#"
            default : db/000001.log at byte 103: the frame's checksum does not match; durable data should be here
            absolute: db/000001.log at byte 103: the frame's checksum does not match; durable data should be here
            salvage : one (closed, 0 unmarked)
                      lost 1 at 103: the frame's checksum does not match; sequence number 2 is lost (27 bytes, 0 frames)
        "#]],
    );
}

#[test]
fn a_torn_closing_frame_leaves_a_log_that_was_not_closed() {
    check(
        "one sync mark two close",
        |fs| tear(fs, 1, 3),
        expect![[r#"
        default : one two (ends, 1 unmarked)
                  cut 1 at 162: the frame's checksum does not match (32 bytes, 0 frames)
        absolute: db/000001.log at byte 162: the frame's checksum does not match
        salvage : one two (ends, 1 unmarked)
                  cut 1 at 162: the frame's checksum does not match (32 bytes, 0 frames)
    "#]],
    );
}

#[test]
fn a_prepared_segment_that_was_not_used_is_no_part_of_the_log() {
    check(
        "one sync spare",
        |_| {},
        expect![[r#"
        default : one (ends, 1 unmarked)
        absolute: one (ends, 1 unmarked)
        salvage : one (ends, 1 unmarked)
    "#]],
    );
}

#[test]
fn a_prepared_segment_that_was_not_finished_is_no_part_of_the_log() {
    let damage = |fs: &SimFs| fs.damage(path(2), |bytes| bytes[..100].fill(0));
    check(
        "one sync spare",
        damage,
        expect![[r#"
        default : one (ends, 1 unmarked)
        absolute: one (ends, 1 unmarked)
        salvage : one (ends, 1 unmarked)
    "#]],
    );
}

#[test]
fn a_segment_that_a_closing_frame_names_has_to_be_there() {
    let damage = |fs: &SimFs| fs.remove_file(&path(2)).expect("it was there");
    check(
        "one sync next two next three sync",
        damage,
        expect![[r#"
        default : db/000002.log at byte 0: the segment is missing from the log
        absolute: db/000002.log at byte 0: the segment is missing from the log
        salvage : one three (ends, 2 unmarked)
                  lost 2 at 0: db/000002.log at byte 0: the segment is missing from the log (0 bytes, 0 frames)
                  lost 3 at 76: frames are missing here; sequence number 2 is lost (0 bytes, 0 frames)
    "#]],
    );
}

#[test]
fn several_damaged_places_are_several_losses() {
    let damage = |fs: &SimFs| {
        blank(fs, 1, 3);
        tear(fs, 1, 1);
        tear(fs, 2, 0);
    };
    check(
        "one two three four five next six seven close",
        damage,
        expect![[r#"
            default : db/000001.log at byte 103: the frame's checksum does not match; durable data should be here
            absolute: db/000001.log at byte 103: the frame's checksum does not match; durable data should be here
            salvage : one three five seven (closed, 0 unmarked)
                      lost 1 at 103: the frame's checksum does not match; sequence number 2 is lost (27 bytes, 0 frames)
                      lost 1 at 159: no frame is whole here; sequence number 4 is lost (28 bytes, 0 frames)
                      lost 2 at 76: the frame's checksum does not match; sequence number 6 is lost (27 bytes, 0 frames)
        "#]],
    );
}

#[test]
fn what_lies_in_other_directories_and_files_does_not_matter() {
    let damage = |fs: &SimFs| {
        for name in ["db/2.log", "db/000003.sst", "db/+00009.log", "db/notes", "db/x.log"] {
            let file = fs.open(name.as_ref(), OpenMode::CreateNew).expect("created");
            file.write_at(0, b"nothing of ours").expect("written");
        }
    };
    check(
        "one sync",
        damage,
        expect![[r#"
        default : one (ends, 1 unmarked)
        absolute: one (ends, 1 unmarked)
        salvage : one (ends, 1 unmarked)
    "#]],
    );
}

#[test]
fn a_frame_in_the_wrong_place_is_damage_even_at_the_end() {
    // The frame of sequence number 2 is taken out, the third one moved into its place. It is whole,
    // so no crash did that.
    let damage = |fs: &SimFs| {
        let ((from, _), (next, end)) = (place(fs, 1, 1), place(fs, 1, 2));
        fs.damage(path(1), |bytes| {
            bytes.copy_within(next..end, from);
            bytes[from + end - next..end].fill(0);
        });
    };
    check(
        "one two three sync",
        damage,
        expect![[r#"
        default : db/000001.log at byte 103: the frame's sequence number does not follow the last one's
        absolute: db/000001.log at byte 103: the frame's sequence number does not follow the last one's
        salvage : one three (ends, 2 unmarked)
                  lost 1 at 103: the frame's sequence number does not follow the last one's; sequence number 2 is lost (0 bytes, 0 frames)
    "#]],
    );
}

#[test]
fn without_its_first_number_a_log_is_judged_by_what_is_certain() {
    let judge = |picture: &str| {
        let owner = draw(picture);
        tear(&owner.fs, 1, 0);
        let visit = &mut |_: FrameRef<'_>| Ok(());
        replay(&owner.fs.shared(), dir(), DATABASE_ID, 1, None, RecoveryMode::Default, visit)
            .map(|report| report.cut)
    };
    // The mark covers all that stands before the first whole frame: something durable is gone.
    assert!(judge("one sync mark two sync").is_err());
    assert!(judge("one two sync mark three sync").is_err());
    // No mark: this may be the one group that was never synced.
    assert!(judge("one two sync").expect("a torn end").is_some());
}

#[test]
fn a_copy_of_the_log_inside_a_payload_is_not_taken_for_the_log() {
    // Whoever backs the store up into itself writes frames into a frame. When the outer one is torn,
    // those in it are old news.
    let mut owner = draw("one sync mark two sync");
    let copy = owner.fs.read_file(path(1))[76..190].to_vec();
    owner.append(FrameKind::BATCH, 1, &copy).expect("appended");
    owner.sync().expect("synced");
    tear(&owner.fs, 1, 3);
    let (frames, report) = read(&owner.fs, owner.start, RecoveryMode::Default).expect("a torn end");
    assert_eq!(texts(&frames), "one two");
    assert_eq!(report.cut.map(|cut| cut.frames_discarded), Some(0));
    let (salvaged, _) = read(&owner.fs, owner.start, RecoveryMode::Salvage).expect("salvaged");
    assert_eq!(texts(&salvaged), "one two");
}

/// What the default mode says of a segment whose frames are whole, but are none that a log writes.
#[track_caller]
fn check_nonsense(frames: &[(FrameKind, u64, u32, u64)], expected: &str) {
    let fs = disk(0);
    let identity = Identity { database_id: DATABASE_ID, file_number: 1 };
    let mut writer = FrameWriter::create(&fs.shared(), &path(1), identity).expect("created");
    for &(kind, seq_start, count, number) in frames {
        writer.append(kind, 0, seq_start, count, &number.to_le_bytes()).expect("appended");
    }
    let start = Start { segment: 1, first_seq_no: 1 };
    let error = read(&fs, start, RecoveryMode::Default).expect_err("refused");
    assert_eq!(error.to_string(), format!("db/000001.log at byte {expected}"));
    let (salvaged, report) = read(&fs, start, RecoveryMode::Salvage).expect("salvaged");
    assert_eq!(salvaged.len(), 1);
    assert!(report.cut.is_some(), "{report:?}");
}

#[test]
fn whole_frames_that_no_log_writes_are_corruption() {
    let batch = (FrameKind::BATCH, 1, 1, 0);
    check_nonsense(&[batch, (FrameKind::MARK, 2, 0, 2)], "108: the mark tells of the future");
    check_nonsense(&[batch, (FrameKind::CLOSE, 2, 0, 1)], "108: the closing frame leads backwards");
    let follows = "108: the frame's sequence number does not follow the last one's";
    check_nonsense(&[batch, (FrameKind::IDENTITY, 0, 0, 0)], follows);
    check_nonsense(&[batch, (FrameKind::BATCH, 1, 1, 0)], follows);
    check_nonsense(&[batch, (FrameKind::MARK, 1, 0, 0)], follows);
}
