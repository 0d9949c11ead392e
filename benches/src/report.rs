//! The figures as files: an SVG chart for each row, and one HTML page of everything.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::chart::{self, escaped};
use crate::figures::RowFigures;
use crate::store::Result;
use crate::table;
use crate::target::{Outcome, Verdict};

const STYLE: &str = "body{font-family:sans-serif;max-width:76em;margin:2em auto;padding:0 1em}\
    table{border-collapse:collapse;font-size:13px;margin:.5em 0 1em}\
    th,td{padding:2px 8px;text-align:right;border-bottom:1px solid #e2e8f0}\
    th:first-child,td:first-child,.text td{text-align:left}\
    .missed{color:#b91c1c}.reached{color:#15803d}.goal{color:#15803d;font-weight:bold}";

/// Writes `report.html` and a chart for each row into `dir`.
pub(crate) fn write(
    dir: &Path,
    settings: &[String],
    rows: &[(RowFigures, Vec<Verdict>)],
) -> Result<()> {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Benchmarks</title>\
         <style>{STYLE}</style><h1>Benchmarks</h1>\n"
    );
    for line in settings {
        let _ = writeln!(page, "<p>{}</p>", escaped(line));
    }
    page.push_str("<h2>What was reached</h2>\n<table class=\"text\">\n");
    for (measured, verdicts) in rows {
        for verdict in verdicts {
            let name = measured.row.name;
            let link = format!("<a href=\"#{name}\">{name}</a>");
            let _ = writeln!(page, "<tr><td>{link}</td>{}</tr>", verdict_cells(verdict));
        }
    }
    page.push_str("</table>\n");
    for (measured, _) in rows {
        let title = table::title(measured);
        let chart = chart::svg(measured, &title);
        fs::write(dir.join(format!("{}.svg", measured.row.name)), &chart)?;
        let _ = writeln!(page, "<div id=\"{}\">{chart}</div>", measured.row.name);
        push_table(&mut page, measured);
    }
    page.push_str("</html>\n");
    Ok(fs::write(dir.join("report.html"), page)?)
}

fn verdict_cells(verdict: &Verdict) -> String {
    let class = match verdict.outcome {
        Outcome::Missed => "missed",
        Outcome::Reached => "reached",
        Outcome::Goal => "goal",
    };
    let text = escaped(&verdict.text);
    format!("<td class=\"{class}\">{}</td><td>{text}</td>", verdict.outcome.word())
}

fn push_table(page: &mut String, measured: &RowFigures) {
    page.push_str("<table><tr><th>engine</th>");
    table::HEADS.iter().for_each(|head| {
        let _ = write!(page, "<th>{}</th>", escaped(head));
    });
    page.push_str("</tr>\n");
    for (engine, cells) in table::lines(measured) {
        let _ = write!(page, "<tr><td>{}</td>", escaped(engine));
        match cells {
            Some(cells) => cells.iter().for_each(|cell| {
                let _ = write!(page, "<td>{}</td>", escaped(cell));
            }),
            None => page.push_str("<td>did not finish</td>"),
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}
