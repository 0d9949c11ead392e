//! The tree drawn with characters: a line a run, tables as boxes over the key space.
//!
//! ```text
//!     a                                  z
//! L0  [──── 64K ────────────────]           1 table   64.0 KiB
//! L1  [─ 256K ──][──── 256K ───][─ 200K ─]  3 tables  712.0 KiB
//! ```

use std::io::{self, Write};

use lsm_engine::{RunShape, Shape, TableShape};

use crate::format::BytesFormat;
use crate::ruler::Ruler;
use crate::units::{bytes, counted};

/// Columns before the boxes.
const LABEL_COLUMNS: usize = 4;
/// Columns behind them.
const TOTALS_COLUMNS: usize = 26;
/// The boxes take at least so many, however narrow the picture is to be.
const BOX_COLUMNS_MIN: usize = 20;
/// How a column is drawn in which several tables lie.
const CROWD: char = '#';

/// Draws the tree, `columns` wide.
pub(crate) fn print(
    out: &mut impl Write,
    shape: &Shape,
    format: BytesFormat,
    columns: usize,
) -> io::Result<()> {
    let ruler = Ruler::new(shape);
    let Some((first, last)) = ruler.ends() else {
        return writeln!(out, "no tables");
    };
    let columns = columns.saturating_sub(LABEL_COLUMNS + TOTALS_COLUMNS).max(BOX_COLUMNS_MIN);
    let first = shorten(&format.show(first).to_string(), columns / 2 - 1);
    let last = shorten(&format.show(last).to_string(), columns / 2 - 1);
    let gap = columns - first.chars().count() - last.chars().count();
    writeln!(out, "{:LABEL_COLUMNS$}{first}{:gap$}{last}", "", "")?;
    let mut level = None;
    let mut is_crowded = false;
    for run in &shape.runs {
        let label =
            if level == Some(run.level) { String::new() } else { format!("L{}", run.level) };
        level = Some(run.level);
        let boxes = draw_run(run, &ruler, columns);
        is_crowded |= boxes.contains(CROWD);
        let tables = counted(run.tables.len() as u64, "table", "tables");
        let run_bytes = bytes(run.tables.iter().map(|table| table.bytes).sum());
        writeln!(out, "{label:<LABEL_COLUMNS$}{boxes}  {tables:<12}{run_bytes:>11}")?;
    }
    if is_crowded {
        writeln!(out, "{:LABEL_COLUMNS$}{CROWD} stands for several tables", "")?;
    }
    Ok(())
}

/// The boxes of a run, exactly `columns` wide.
fn draw_run(run: &RunShape, ruler: &Ruler, columns: usize) -> String {
    let mut cells = vec![' '; columns];
    let mut end = 0;
    for table in &run.tables {
        let column = |key: &[u8]| (ruler.position(key) * columns as f64).round() as usize;
        let from = column(&table.lower).min(columns - 1);
        let to = column(&table.upper).clamp(from + 1, columns);
        if from < end {
            // Another table has this column already, and this one has it alone or shares it.
            cells[end - 1] = CROWD;
            if to > end {
                draw_box(&mut cells[end..to], table);
            }
        } else {
            draw_box(&mut cells[from..to], table);
        }
        end = end.max(to);
    }
    cells.into_iter().collect()
}

fn draw_box(cells: &mut [char], table: &TableShape) {
    match cells {
        [] => {}
        [only] => *only = '|',
        [first, middle @ .., last] => {
            (*first, *last) = ('[', ']');
            middle.fill('─');
            let label = short_bytes(table.bytes);
            // A dash and a space on either side, or no label.
            if let Some(room) = middle.len().checked_sub(label.len() + 4) {
                let label = format!(" {label} ");
                let from = 1 + room / 2;
                label.chars().zip(&mut middle[from..]).for_each(|(c, cell)| *cell = c);
            }
        }
    }
}

/// "64K", "1.6M": as short as it goes.
fn short_bytes(number: u64) -> String {
    let (unit, letter) = match number {
        0..1024 => return format!("{number}B"),
        1024..1_048_576 => (1 << 10, 'K'),
        1_048_576..1_073_741_824 => (1 << 20, 'M'),
        _ => (1 << 30, 'G'),
    };
    let scaled = number as f64 / f64::from(unit);
    if scaled < 9.95 { format!("{scaled:.1}{letter}") } else { format!("{scaled:.0}{letter}") }
}

fn shorten(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// `pictured`: a run a line, "0: a-f/100 h-z/50": tables with their entries.
    #[track_caller]
    fn check_picture(pictured: &str, expected: &Expect) {
        let table = |text: &str| {
            let (bounds, entries) = text.split_once('/').unwrap();
            let (lower, upper) = bounds.split_once('-').unwrap();
            let entries = entries.parse().unwrap();
            TableShape {
                number: 1,
                lower: lower.into(),
                upper: upper.into(),
                bytes: entries * 100,
                entries,
                tombstones: 0,
                range_deletes: 0,
            }
        };
        let run = |line: &str| {
            let (level, tables) = line.trim().split_once(": ").unwrap();
            let tables = tables.split(' ').map(table).collect();
            RunShape { level: level.parse().unwrap(), tables }
        };
        let shape = Shape { runs: pictured.lines().map(run).collect() };
        let mut out = Vec::new();
        print(&mut out, &shape, BytesFormat::default(), 72).unwrap();
        expected.assert_eq(&String::from_utf8(out).unwrap());
    }

    #[test]
    fn tables_are_boxes_over_the_key_space() {
        check_picture(
            "0: b-y/300
             0: a-m/500
             1: a-f/1000 g-p/1000 q-z/500",
            &expect![[r#"
                    a                                        z
                L0     [─────────────── 29K ────────────────]   1 table        29.3 KiB
                    [─────────── 49K ───────────]               1 table        48.8 KiB
                L1  [──── 98K ─────] [───── 98K ─────][──────]  3 tables      244.1 KiB
            "#]],
        );
    }

    #[test]
    fn tables_too_many_for_the_width_are_drawn_as_a_crowd() {
        let tables: Vec<String> = (0..200).map(|n| format!("k{n:03}-k{n:03}z/10")).collect();
        check_picture(
            &format!("1: {}", tables.join(" ")),
            &expect![[r#"
                k000                                 k199z
            L1  ##########################################  200 tables    195.3 KiB
                # stands for several tables
        "#]],
        );
    }

    #[test]
    fn an_empty_tree_is_said_to_be_empty() {
        check_picture(
            "",
            &expect![[r#"
                    no tables
            "#]],
        );
    }
}
