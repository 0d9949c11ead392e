//! The format page against the bytes: what it shows is what is written.

use std::fmt::Write;

use lsm_io::Identity;
use lsm_wal::FrameKind;

use crate::support::{DATABASE_ID, Owner, disk, path};

const PAGE: &str = include_str!("../../../../docs/formats/log.md");

/// Sixteen bytes a line; lines of zeros are left out.
fn dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut is_skipping = false;
    for (number, line) in bytes.chunks(16).enumerate() {
        let is_zero = line.iter().all(|byte| *byte == 0);
        if is_zero && !is_skipping {
            out.push_str("*\n");
        }
        is_skipping = is_zero;
        if is_zero {
            continue;
        }
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let printable = |byte: &u8| matches!(byte, b' '..=b'~');
        let text: String =
            line.iter().map(|byte| if printable(byte) { *byte as char } else { '.' }).collect();
        writeln!(out, "{:04x}  {:47}  {text}", number * 16, hex.join(" ")).expect("a string");
    }
    out
}

#[test]
fn the_worked_example_is_what_is_written() {
    let fs = disk(0);
    let mut owner = Owner::start(&fs, 1, 5, 320).expect("an empty disk");
    // As the engine writes it: `apple` = `red`, and `lemon` deleted.
    let records = b"\x05\0\0\0\x03\0\0\0\x01applered\x05\0\0\0\0\0\0\0\0lemon";
    owner.append(FrameKind::BATCH, 2, records).expect("appended");
    owner.sync().expect("synced");
    owner.log.append_mark(6, b"");
    owner.close().expect("closed");
    let identity = Identity { database_id: DATABASE_ID, file_number: 1 };
    let salt = format!("salt `{:#018x}`", identity.salt());
    assert!(PAGE.contains(&salt), "docs/formats/log.md should show {salt}");
    let dump = dump(&fs.read_file(path(1)));
    assert!(PAGE.contains(&dump), "docs/formats/log.md should show:\n{dump}");
}
