//! A bar chart of one row, as SVG.

use std::fmt::Write as _;

use crate::figures::{RowFigures, grouped};

const WIDTH: f64 = 720.0;
const NAMES_WIDTH: f64 = 100.0;
const FIGURES_WIDTH: f64 = 110.0;
const BAR_HEIGHT: f64 = 18.0;
const BAR_GAP: f64 = 8.0;
const TITLE_HEIGHT: f64 = 28.0;
const OURS: &str = "#c2410c";
const PEER: &str = "#94a3b8";

/// Horizontal bars of the medians, with a line from the least repetition to the greatest.
pub(crate) fn svg(measured: &RowFigures, title: &str) -> String {
    let row = measured.row;
    let bars: Vec<_> = measured
        .engines
        .iter()
        .filter_map(|figures| Some((figures, figures.figure(row)?, figures.bounds(row)?)))
        .collect();
    let longest = bars.iter().map(|(_, _, (_, most))| *most).fold(f64::MIN_POSITIVE, f64::max);
    let height = TITLE_HEIGHT + bars.len() as f64 * (BAR_HEIGHT + BAR_GAP);
    let length = |figure: f64| figure / longest * (WIDTH - NAMES_WIDTH - FIGURES_WIDTH);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <text x=\"0\" y=\"16\" font-weight=\"bold\">{}</text>\n",
        escaped(title)
    );
    for (index, (figures, figure, (least, greatest))) in bars.iter().enumerate() {
        let top = TITLE_HEIGHT + index as f64 * (BAR_HEIGHT + BAR_GAP);
        let (middle, base) = (top + BAR_HEIGHT / 2.0, top + BAR_HEIGHT * 0.75);
        let colour = if figures.is_ours() { OURS } else { PEER };
        let (from, to) = (NAMES_WIDTH + length(*least), NAMES_WIDTH + length(*greatest));
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{NAMES_WIDTH}\" y=\"{top}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\" \
             fill=\"{colour}\"/>\n\
             <line x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle}\" y2=\"{middle}\" \
             stroke=\"#1e293b\" stroke-width=\"2\"/>\n\
             <text x=\"{:.1}\" y=\"{base}\">{}</text>",
            NAMES_WIDTH - 8.0,
            escaped(&figures.engine),
            length(*figure),
            to + 8.0,
            grouped(*figure),
        );
    }
    text.push_str("</svg>\n");
    text
}

/// Text that may stand in SVG and HTML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::figures::Figures;
    use crate::row::Row;

    #[test]
    fn each_engine_with_figures_has_a_bar() {
        let engine = |name: &str, values| Figures { engine: name.into(), is_lsm: true, values };
        let measured = RowFigures {
            row: Row::named("get").expect("the row is there"),
            engines: vec![
                engine("lsm", vec![json!({ "ops_per_second": 2e6 })]),
                engine("other", vec![json!({ "ops_per_second": 1e6 })]),
                engine("failed", vec![]),
            ],
        };
        let svg = svg(&measured, "a < b");
        assert_eq!(svg.matches("<rect").count(), 2);
        assert!(svg.contains("2,000,000") && svg.contains("a &lt; b"));
    }
}
