//! Text in columns.

use std::io::{self, Write};

/// Rows of cells that are printed below each other, each column as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Columns {
    alignment: &'static [Side],
    rows: Vec<Vec<String>>,
}

/// The side of its column that a cell keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Columns {
    /// No rows yet, under a heading.
    pub(crate) fn new<const N: usize>(alignment: &'static [Side; N], heading: [&str; N]) -> Self {
        Self { alignment, rows: vec![heading.map(String::from).into()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.alignment.len());
        self.rows.push(cells.into());
    }

    /// Prints the rows, each line behind `indent` spaces.
    pub(crate) fn print(&self, out: &mut impl Write, indent: usize) -> io::Result<()> {
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.alignment.len()).map(width).collect();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for ((cell, &width), side) in row.iter().zip(&widths).zip(self.alignment) {
                match side {
                    Side::Left => line.push_str(&format!("{cell:<width$}  ")),
                    Side::Right => line.push_str(&format!("{cell:>width$}  ")),
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut columns = Columns::new(&[Side::Left, Side::Right], ["level", "bytes"]);
        columns.row(["0".into(), "1.0 KiB".into()]);
        columns.row(["é".into(), "7 B".into()]);
        let mut out = Vec::new();
        columns.print(&mut out, 1).unwrap();
        let expected = " level    bytes\n 0      1.0 KiB\n é          7 B\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
