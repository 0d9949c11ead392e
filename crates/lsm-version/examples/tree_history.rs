//! Draws a tree as text while tables come and go, and asks it where a key may be.
//!
//! `cargo run -p lsm-version --example tree_history`

use std::sync::Arc;

use lsm_version::{EditError, Place, RunId, TableRecord, Version, VersionEdit};

fn main() -> Result<(), EditError> {
    let mut version = Version::empty();
    let (upper_flush, lower_flush) = (place(0, 3), place(0, 1));
    let (level_1, level_2) = (place(1, 0), place(2, 0));
    let wide = table(4, "a", "m", 64);

    let history = [
        ("a flush", edit(&[], &[(lower_flush, table(1, "a", "m", 40))])),
        ("another one, newer", edit(&[], &[(upper_flush, table(3, "f", "t", 40))])),
        (
            "both merged into level 1",
            edit(
                &[(lower_flush, 1), (upper_flush, 3)],
                &[(level_1, wide.clone()), (level_1, table(5, "n", "t", 14))],
            ),
        ),
        ("one moved down, not rewritten", edit(&[(level_1, 4)], &[(level_2, wide)])),
        ("a third flush", edit(&[], &[(place(0, 6), table(6, "c", "g", 40))])),
    ];
    for (what, edit) in &history {
        version = version.apply(edit)?;
        println!("{what}, {} in all:", version.bytes());
        version.picture().lines().for_each(|line| println!("    {line}"));
    }

    println!("where \"g\" may be, newest first:");
    for (level, run) in version.runs() {
        if let Some(table) = run.find(b"g") {
            println!("    table {} in level {level}", table.number);
        }
    }
    let overlapping = edit(&[], &[(level_1, table(7, "p", "z", 40))]);
    match version.apply(&overlapping) {
        Ok(_) => println!("one run holds a key twice"),
        Err(error) => println!("refused: {error}"),
    }
    Ok(())
}

fn place(level: usize, run: RunId) -> Place {
    Place { level, run }
}

fn table(number: u64, lower: &str, upper: &str, bytes: u64) -> Arc<TableRecord> {
    let (lower, upper) = (lower.into(), upper.into());
    Arc::new(TableRecord { number, lower, upper, bytes, ..TableRecord::default() })
}

fn edit(removed: &[(Place, u64)], added: &[(Place, Arc<TableRecord>)]) -> VersionEdit {
    VersionEdit { removed: removed.to_vec(), added: added.to_vec(), ..VersionEdit::default() }
}
