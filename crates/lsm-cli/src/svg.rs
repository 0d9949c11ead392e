//! The tree drawn as a picture: a row a run, tables as boxes over the key space.

use std::fmt::Write;

use lsm_engine::{RunShape, Shape, TableShape};

use crate::format::BytesFormat;
use crate::ruler::Ruler;
use crate::units::{bytes, count, counted};

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 64.0;
const ROW_HEIGHT: f64 = 34.0;
const BOX_HEIGHT: f64 = 24.0;
/// A box is never narrower, so that every table can be seen and pointed at.
const BOX_WIDTH_MIN: f64 = 1.5;
/// A box with less room carries no label.
const LABEL_WIDTH: f64 = 64.0;

/// The whole file. Pointing at a box shows what is in the table.
pub(crate) fn draw(shape: &Shape, title: &str, format: BytesFormat) -> String {
    let ruler = Ruler::new(shape);
    let height = TOP + ROW_HEIGHT * shape.runs.len().max(1) as f64 + 16.0;
    let mut svg = String::new();
    // Writing to a string cannot fail.
    let _ = write_picture(&mut svg, shape, &ruler, title, format, height);
    svg
}

fn write_picture(
    svg: &mut String,
    shape: &Shape,
    ruler: &Ruler,
    title: &str,
    format: BytesFormat,
    height: f64,
) -> std::fmt::Result {
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" fill=\"#222222\">{}</text>",
        escape(title)
    )?;
    let right = WIDTH - RIGHT;
    match ruler.ends() {
        Some((first, last)) => writeln!(
            svg,
            "<g fill=\"#666666\"><text x=\"{LEFT}\" y=\"48\">{}</text>\
             <text x=\"{right}\" y=\"48\" text-anchor=\"end\">{}</text></g>",
            escape(&format.show(first).to_string()),
            escape(&format.show(last).to_string())
        )?,
        None => writeln!(svg, "<text x=\"{LEFT}\" y=\"{}\">no tables</text>", TOP + 16.0)?,
    }
    let mut level = None;
    for (row, run) in shape.runs.iter().enumerate() {
        let top = TOP + ROW_HEIGHT * row as f64;
        let is_first_of_level = level != Some(run.level);
        level = Some(run.level);
        write_run(svg, run, ruler, format, top, is_first_of_level)?;
    }
    svg.write_str("</svg>\n")
}

fn write_run(
    svg: &mut String,
    run: &RunShape,
    ruler: &Ruler,
    format: BytesFormat,
    top: f64,
    is_first_of_level: bool,
) -> std::fmt::Result {
    let baseline = top + BOX_HEIGHT / 2.0 + 4.0;
    if is_first_of_level {
        writeln!(
            svg,
            "<line x1=\"12\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#dddddd\"/>\
             <text x=\"14\" y=\"{baseline}\" fill=\"#222222\">L{}</text>",
            WIDTH - 12.0,
            run.level,
            y = top - 5.0
        )?;
    }
    for table in &run.tables {
        write_table(svg, table, ruler, format, top)?;
    }
    let run_bytes = run.tables.iter().map(|table| table.bytes).sum();
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{baseline}\" fill=\"#666666\">{}, {}</text>",
        WIDTH - RIGHT + 12.0,
        counted(run.tables.len() as u64, "table", "tables"),
        bytes(run_bytes)
    )
}

fn write_table(
    svg: &mut String,
    table: &TableShape,
    ruler: &Ruler,
    format: BytesFormat,
    top: f64,
) -> std::fmt::Result {
    let room = WIDTH - LEFT - RIGHT;
    let from = LEFT + ruler.position(&table.lower) * room;
    let width = (LEFT + ruler.position(&table.upper) * room - from).max(BOX_WIDTH_MIN);
    writeln!(
        svg,
        "<g><title>table {:06}: {} to {}\n{}, {} records, {} of them tombstones</title>\
         <rect x=\"{from:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BOX_HEIGHT}\" rx=\"2\" \
         fill=\"{}\" stroke=\"#33506b\" stroke-width=\"0.7\"/>",
        table.number,
        escape(&format.show(&table.lower).to_string()),
        escape(&format.show(&table.upper).to_string()),
        bytes(table.bytes),
        count(table.entries),
        count(table.tombstones),
        fill(table)
    )?;
    if width >= LABEL_WIDTH {
        let (x, y) = (from + width / 2.0, top + BOX_HEIGHT / 2.0 + 4.0);
        writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#222222\">{}</text>",
            bytes(table.bytes)
        )?;
    }
    svg.write_str("</g>\n")
}

/// Blue, turning red with the share of tombstones.
fn fill(table: &TableShape) -> String {
    let share = table.tombstones as f64 / table.entries.max(1) as f64;
    let mix = |blue: f64, red: f64| (blue + (red - blue) * share.min(1.0)).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(191.0, 240.0), mix(216.0, 150.0), mix(240.0, 140.0))
}

/// Text as it stands in XML. Control characters never come here: they were escaped as bytes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_cannot_break_out_of_the_picture() {
        let table = TableShape {
            number: 7,
            lower: b"<script>&\"\x00".to_vec(),
            upper: b"z".to_vec(),
            bytes: 1000,
            entries: 10,
            tombstones: 5,
            range_deletes: 0,
        };
        let shape = Shape { runs: vec![RunShape { level: 0, tables: vec![table] }] };
        let svg = draw(&shape, "a & b", BytesFormat::default());
        assert!(svg.contains("&lt;script&gt;&amp;&quot;\\x00"), "{svg}");
        assert!(svg.contains("a &amp; b") && !svg.contains("<script>"), "{svg}");
        assert_eq!(svg.matches("<g>").count(), 1);
    }
}
