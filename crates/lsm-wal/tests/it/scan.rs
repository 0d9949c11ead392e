//! The search behind a bad frame: it finds what is there, and takes bounded time over any content.

use std::time::{Duration, Instant};

use lsm_io::SimFs;
use lsm_wal::{FrameKind, RecoveryMode};

use crate::support::{Owner, Rng, disk, path, read};

const SEGMENT_BYTES: u64 = 64 << 20;

/// A log whose first frame is torn, whose 64 MiB behind it are `content`, bare, and which ends in a mark
/// that covers the torn frame.
fn torn_log(content: impl Fn(&mut [u8])) -> (SimFs, Owner) {
    let fs = disk(0);
    let mut owner = Owner::start(&fs, 1, 1, SEGMENT_BYTES).expect("an empty disk");
    owner.batch("torn");
    owner.sync().expect("synced");
    let mut bytes = vec![0; SEGMENT_BYTES as usize - 1000];
    content(&mut bytes);
    owner.append(FrameKind::BATCH, 1, &bytes).expect("appended");
    owner.mark();
    owner.sync().expect("synced");
    // The torn frame, and the content's own header.
    fs.damage(path(1), |bytes| {
        bytes[76] ^= 1;
        bytes[104..128].fill(0);
    });
    (fs, owner)
}

/// The mark at the end is found behind any content, in time.
#[track_caller]
fn check_convicted_soon(name: &str, content: impl Fn(&mut [u8])) {
    let (fs, owner) = torn_log(content);
    let begun = Instant::now();
    let error = read(&fs, owner.start, RecoveryMode::Default).expect_err("the mark convicts");
    let elapsed = begun.elapsed();
    println!("{name}: {elapsed:?}");
    assert!(error.to_string().contains("durable data should be here"), "{name}: {error}");
    // Measured: 15 to 250 ms when optimised. The bound leaves room for a busy machine and a build
    // that is not, and none for time that grows with the square of the length.
    assert!(elapsed < Duration::from_secs(6), "{name}: {elapsed:?}");
}

#[test]
fn a_mark_behind_a_long_blank_is_found_soon() {
    check_convicted_soon("blank", |_| {});
}

#[test]
fn a_mark_behind_noise_is_found_soon() {
    check_convicted_soon("noise", |bytes| {
        let mut rng = Rng::new(1);
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&rng.next().to_le_bytes());
        }
    });
}

#[test]
fn a_mark_behind_lookalikes_of_long_frames_is_found_soon() {
    // Each word might be the length, the type, the sequence number or the count of a huge batch.
    check_convicted_soon("lookalikes of long frames", |bytes| {
        for (index, word) in bytes.chunks_exact_mut(4).enumerate() {
            let length = if index % 2 == 0 { 1 } else { 0x0101_0000 };
            word.copy_from_slice(&u32::to_le_bytes(length));
        }
    });
}

#[test]
fn a_mark_behind_lookalikes_of_marks_is_found_soon() {
    // As many headers of marks as fit, each of the longest kind, all but for the checksum.
    check_convicted_soon("lookalikes of marks", |bytes| {
        for header in bytes.chunks_exact_mut(24) {
            header[4..8].copy_from_slice(&256_u32.to_le_bytes());
            header[8] = 2;
            header[12] = 3;
        }
    });
}

#[test]
fn salvage_of_hostile_content_ends_soon() {
    let (fs, owner) = torn_log(|bytes| {
        for (index, word) in bytes.chunks_exact_mut(4).enumerate() {
            word.copy_from_slice(&u32::to_le_bytes(1 + (index as u32 & 1) * 0x0101_0000));
        }
    });
    let begun = Instant::now();
    let (_, report) = read(&fs, owner.start, RecoveryMode::Salvage).expect("salvaged");
    assert!(!report.losses.is_empty());
    assert!(report.mark.is_some(), "the mark is found");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
}

#[test]
fn a_frame_is_found_wherever_it_stands() {
    // The search reads a mebibyte at a time: frames that lie across its borders are found, too.
    const WINDOW: usize = 1 << 20;
    let fs = disk(0);
    let mut owner = Owner::start(&fs, 1, 1, WINDOW as u64 + 1000).expect("an empty disk");
    owner.batch("a frame that stands in many places");
    owner.sync().expect("synced");
    let frame = fs.read_file(path(1))[76..76 + 58].to_vec();
    fs.damage(path(1), |bytes| bytes[76..].fill(0));
    // The first byte that is no zero, so that the log does not end at once.
    fs.damage(path(1), |bytes| bytes[76] = 1);
    for border in (76 + WINDOW - 80..76 + WINDOW + 10).chain(100..140) {
        fs.damage(path(1), |bytes| bytes[border..border + frame.len()].copy_from_slice(&frame));
        let (found, _) = read(&fs, owner.start, RecoveryMode::Salvage).expect("salvaged");
        assert_eq!(found, owner.written, "at {border}");
        fs.damage(path(1), |bytes| bytes[border..border + frame.len()].fill(0));
    }
}

#[test]
fn the_search_reads_each_byte_about_once() {
    let (fs, owner) = torn_log(|_| {});
    fs.reset_counters();
    read(&fs, owner.start, RecoveryMode::Default).expect_err("the mark convicts");
    assert!(fs.bytes_read() < SEGMENT_BYTES + (8 << 20), "{} bytes read", fs.bytes_read());
}
