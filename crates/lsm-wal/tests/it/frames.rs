//! Frames in a plain file: what a manifest, or any journal of edits, is.

use std::path::Path;

use lsm_io::{CrashPolicy, Fs, Identity, OpenMode, Result, SimFs};
use lsm_wal::{FrameKind, FrameReader, FrameStep, FrameWriter};

use crate::support::Rng;

const EDIT: FrameKind = FrameKind(65);
const IDENTITY: Identity = Identity { database_id: 5, file_number: 9 };

fn file() -> &'static Path {
    Path::new("000009.manifest")
}

/// The payloads up to the first bad frame, and what stands there.
fn read(fs: &SimFs) -> Result<(Vec<Vec<u8>>, String)> {
    let mut reader = FrameReader::open(&fs.shared(), file(), Some(5))?;
    let mut payloads = Vec::new();
    loop {
        match reader.next()? {
            FrameStep::Frame(frame) => {
                assert_eq!((frame.kind, frame.segment), (EDIT, 9));
                assert_eq!(frame.seq_start, payloads.len() as u64 + 1);
                payloads.push(frame.payload.to_vec());
            }
            FrameStep::End { offset } => return Ok((payloads, format!("end at {offset}"))),
            FrameStep::Bad { offset, reason } => {
                return Ok((payloads, format!("bad at {offset}: {reason}")));
            }
        }
    }
}

/// A file of edits with such lengths.
fn write(fs: &SimFs, lengths: &[usize]) -> Result<Vec<Vec<u8>>> {
    let mut writer = FrameWriter::create(&fs.shared(), file(), IDENTITY)?;
    let mut rng = Rng::new(1);
    let mut payloads = Vec::new();
    for (index, &length) in lengths.iter().enumerate() {
        payloads.push(rng.bytes(length as u64));
        writer.append(EDIT, 0, index as u64 + 1, 1, &payloads[index])?;
    }
    writer.sync()?;
    assert_eq!(writer.bytes(), fs.read_file(file()).len() as u64);
    Ok(payloads)
}

#[test]
fn frames_of_every_length_come_back() {
    let fs = SimFs::new(0);
    // Around the lengths in which a reader reads: 4 KiB at first, 1 MiB at most.
    let lengths = [0, 1, 23, 24, 3900, 4000, 4096, 70_000, 0, (1 << 20) - 24, 1 << 20, 3 << 20, 5];
    let payloads = write(&fs, &lengths).expect("written");
    let end = fs.read_file(file()).len();
    assert_eq!(read(&fs).expect("read"), (payloads, format!("end at {end}")));
    assert!(fs.bytes_read() < 3 * end as u64, "{} bytes read of {end}", fs.bytes_read());
}

#[test]
fn every_truncation_ends_the_file_at_a_frame() {
    let fs = SimFs::new(0);
    let payloads = write(&fs, &[10, 0, 30]).expect("written");
    let ends = [76, 110, 134, 188];
    assert_eq!(fs.read_file(file()).len(), 188);
    for length in 0..188 {
        let cut = fs.crash_image(CrashPolicy::KeepEverything, 0);
        cut.damage(file(), |bytes| bytes.truncate(length));
        let Ok((found, stop)) = read(&cut) else {
            assert!(length < 76, "cut to {length}");
            continue;
        };
        let whole = ends.iter().rposition(|end| *end <= length).expect("the identity is there");
        assert_eq!(found, payloads[..whole], "cut to {length}");
        let is_clean = stop == format!("end at {}", ends[whole]);
        assert_eq!(is_clean, ends.contains(&length), "cut to {length}: {stop}");
    }
}

#[test]
fn every_flipped_bit_ends_the_file_before_its_frame() {
    let fs = SimFs::new(0);
    let payloads = write(&fs, &[10, 0, 30]).expect("written");
    for bit in 0..188 * 8 {
        let flipped = fs.crash_image(CrashPolicy::KeepEverything, 0);
        flipped.damage(file(), |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
        match read(&flipped) {
            Err(error) => assert!(bit / 8 < 76 && error.is_corrupt(), "bit {bit}: {error}"),
            Ok((found, stop)) => {
                let whole = [110, 134, 188].iter().take_while(|end| **end <= bit / 8).count();
                assert_eq!(found, payloads[..whole], "bit {bit}");
                assert!(stop.starts_with("bad at"), "bit {bit}: {stop}");
            }
        }
    }
}

#[test]
fn zeros_behind_the_last_frame_are_an_end() {
    let fs = SimFs::new(0);
    let payloads = write(&fs, &[10]).expect("written");
    for zeros in 1..60 {
        let longer = fs.crash_image(CrashPolicy::KeepEverything, 0);
        longer.damage(file(), |bytes| bytes.resize(110 + zeros, 0));
        assert_eq!(read(&longer).expect("read"), (payloads.clone(), "end at 110".to_owned()));
    }
}

#[test]
fn a_length_beyond_the_file_is_refused_before_anything_is_allocated() {
    let fs = SimFs::new(0);
    write(&fs, &[10]).expect("written");
    fs.damage(file(), |bytes| bytes[80..84].copy_from_slice(&0xF000_0000_u32.to_le_bytes()));
    let (found, stop) = read(&fs).expect("read");
    assert!(found.is_empty());
    assert_eq!(stop, "bad at 76: the frame is longer than the rest of the file");
    assert!(fs.bytes_read() <= 8192, "{} bytes read", fs.bytes_read());
}

#[test]
fn another_databases_file_is_refused() {
    let fs = SimFs::new(0);
    write(&fs, &[10]).expect("written");
    let error = FrameReader::open(&fs.shared(), file(), Some(6)).expect_err("refused");
    let expected = "000009.manifest at byte 0: the file belongs to another database";
    assert_eq!(error.to_string(), expected);
    let reader = FrameReader::open(&fs.shared(), file(), None).expect("asked without an id");
    assert_eq!(reader.identity(), IDENTITY);
    assert_eq!((reader.path(), reader.file_bytes()), (file(), 110));
}

#[test]
fn an_existing_file_is_not_written_over() {
    let fs = SimFs::new(0);
    write(&fs, &[10]).expect("written");
    let again = FrameWriter::create(&fs.shared(), file(), IDENTITY).expect_err("it is there");
    assert_eq!(again.io_kind(), Some(std::io::ErrorKind::AlreadyExists));
}

#[test]
fn a_file_that_is_no_file_of_frames_is_refused() {
    for bytes in [&b""[..], b"hello", &[0; 200], &[0xFF; 200]] {
        let fs = SimFs::new(0);
        let other = fs.open(file(), OpenMode::CreateNew).expect("created");
        other.write_at(0, bytes).expect("written");
        let error = FrameReader::open(&fs.shared(), file(), None).expect_err("refused");
        assert!(error.is_corrupt(), "{error}");
    }
}

#[test]
fn a_new_file_has_a_durable_identity() {
    let fs = SimFs::new(0);
    FrameWriter::create(&fs.shared(), file(), IDENTITY).expect("created");
    fs.sync_dir(Path::new("")).expect("synced");
    let after = fs.crash_image(CrashPolicy::LoseUnsynced, 0);
    assert_eq!(read(&after).expect("read"), (Vec::new(), "end at 76".to_owned()));
}
