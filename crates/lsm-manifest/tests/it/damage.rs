//! After a clean close every bit and every length counts.

use crate::{add_table, create, disk, read, start};

fn closed() -> lsm_io::SimFs {
    let fs = disk(0);
    let mut manifest = start(&fs.shared()).expect("starts");
    manifest.append(create(0, "users")).expect("appends");
    manifest.append(add_table(0, 7)).expect("appends");
    manifest.close().expect("closes");
    fs
}

#[test]
fn every_flipped_bit_is_noticed() {
    let original = closed();
    let mut flipped = 0;
    for (path, bytes) in original.files() {
        for bit in 0..bytes * 8 {
            let fs = original.kill_image();
            fs.damage(&path, |bytes| bytes[bit as usize / 8] ^= 1 << (bit % 8));
            let error = read(&fs).expect_err("a flipped bit");
            assert!(
                error.is_corrupt() || error.io_kind() == Some(std::io::ErrorKind::NotFound),
                "{} bit {bit}: {error}",
                path.display()
            );
            flipped += 1;
        }
    }
    assert!(flipped > 2500, "{flipped} bits");
}

#[test]
fn every_truncation_is_noticed() {
    let original = closed();
    for (path, bytes) in original.files() {
        for length in 0..bytes {
            let fs = original.kill_image();
            fs.damage(&path, |bytes| bytes.truncate(length as usize));
            assert!(read(&fs).is_err(), "{} cut to {length}", path.display());
        }
    }
}

#[test]
fn bytes_behind_the_end_are_noticed() {
    let original = closed();
    for (path, _) in original.files() {
        let fs = original.kill_image();
        fs.damage(&path, |bytes| bytes.extend_from_slice(b"more"));
        assert!(read(&fs).is_err(), "{}", path.display());
    }
}

#[test]
fn after_a_crash_only_the_edit_that_was_not_acknowledged_may_be_cut() {
    let fs = disk(0);
    let mut manifest = start(&fs.shared()).expect("starts");
    manifest.append(create(0, "users")).expect("appends");
    let end = manifest.bytes();
    manifest.append(add_table(0, 7)).expect("appends");
    fs.damage("db/000001.manifest", |bytes| bytes.truncate(end as usize + 10));
    let found = read(&fs).expect("a torn end is no damage");
    assert_eq!(found.cut, Some(end));
    assert_eq!(found.state.edit_number, 1);
}

#[test]
fn an_edit_before_another_one_is_never_taken_for_a_torn_one() {
    let fs = disk(0);
    let mut manifest = start(&fs.shared()).expect("starts");
    let mut ends = vec![manifest.bytes()];
    for edit in [create(0, "users"), add_table(0, 7), add_table(0, 8)] {
        manifest.append(edit).expect("appends");
        ends.push(manifest.bytes());
    }
    for bit in ends[0] * 8..ends[3] * 8 {
        let damaged = fs.kill_image();
        damaged.damage("db/000001.manifest", |bytes| bytes[bit as usize / 8] ^= 1 << (bit % 8));
        match read(&damaged) {
            Ok(found) => {
                assert!(bit >= ends[2] * 8, "bit {bit}: the last edit alone may be cut");
                assert_eq!((found.cut, found.state.edit_number), (Some(ends[2]), 2));
            }
            Err(error) => assert!(error.is_corrupt() && bit < ends[2] * 8, "bit {bit}: {error}"),
        }
    }
}
