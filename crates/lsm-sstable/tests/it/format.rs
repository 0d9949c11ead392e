//! The format page against the bytes: what it shows is what is written.

use std::fmt::Write;

use lsm_entry::{Entry, OwnedEntry};
use lsm_sstable::TableOptions;

use crate::support::{Disk, mapped, put};

const PAGE: &str = include_str!("../../../../docs/formats/table.md");

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
        if !is_zero {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            let printable = |byte: &u8| matches!(byte, b' '..=b'~');
            let text: String = line
                .iter()
                .map(|byte| if printable(byte) { char::from(*byte) } else { '.' })
                .collect();
            writeln!(out, "{:04x}  {:<47}  {text}", number * 16, hex.join(" ")).expect("a string");
        }
    }
    out
}

/// The table that the page shows.
pub(crate) fn example() -> Disk {
    let entries: [OwnedEntry; 3] =
        [put("apple", 3, "red"), Entry::delete(b"lemon", 5).into(), put("lemon", 4, "yellow")];
    Disk::write_with(&entries, &[(b"m", b"n", 6)], TableOptions::default())
}

#[test]
fn the_worked_example_of_the_format_page_is_what_is_written() {
    let disk = example();
    let dump = dump(&disk.bytes());
    assert!(PAGE.contains(&dump), "the page should show\n{dump}");
    disk.open(mapped()).expect("opens").verify().expect("verifies");
}
