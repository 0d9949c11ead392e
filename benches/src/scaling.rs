//! How the cost of an operation grows with the number of entries: this store alone, in several sizes.
//!
//! A size is a store of its own: filled by puts in random order until settled, read, opened anew for
//! each row, merged once as a whole, removed. What is drawn is what one operation costs, so a flat
//! line is what one wishes for.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use plotters::prelude::*;
use serde_json::Value;

use crate::child;
use crate::figures::{Figures, grouped, short};
use crate::row::Row;
use crate::scale::Scale;
use crate::store::{Engine, Result};

/// What the sizes are unless told.
pub(crate) const SIZES: [u64; 6] =
    [1_000_000, 3_000_000, 10_000_000, 30_000_000, 60_000_000, 100_000_000];
/// Where each measurement is a line of JSON.
const FIGURES_FILE: &str = "scaling.jsonl";
/// However long it takes, a size is filled to its end.
const SECONDS_MAX: f64 = 3600.0;

/// A row that each size is measured by, in this order: the first fills the store.
struct Step {
    row: &'static str,
    /// Head of its column, and name of its line.
    name: &'static str,
    is_repeated: bool,
}

const STEPS: [Step; 6] = [
    Step { row: "fillrandom", name: "put, settled", is_repeated: false },
    Step { row: "get", name: "get", is_repeated: true },
    Step { row: "get2", name: "get, 2 threads", is_repeated: true },
    Step { row: "seek50", name: "seek + 50", is_repeated: true },
    Step { row: "open", name: "open", is_repeated: true },
    Step { row: "compact", name: "merge, per entry", is_repeated: false },
];

/// What to run.
pub(crate) struct Scaling<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) sizes: Vec<u64>,
    pub(crate) scale: Scale,
    /// How often a row is measured that only reads.
    pub(crate) repetitions: usize,
    /// Where stores are made; what is made is removed.
    pub(crate) dir: PathBuf,
    /// Where figures, table and charts go.
    pub(crate) out: PathBuf,
}

/// What one size came to: the figures of each step, in order.
struct Measured {
    entries: u64,
    steps: Vec<Figures>,
}

impl Scaling<'_> {
    /// Measures, prints and draws.
    pub(crate) fn carry_out(&self) -> Result<()> {
        fs::create_dir_all(&self.out)?;
        let mut sizes = Vec::new();
        for &entries in &self.sizes {
            let path = self.dir.join(entries.to_string());
            fs::create_dir_all(&path)?;
            let measured = self.measure(entries, &path);
            fs::remove_dir_all(&path)?;
            sizes.push(measured?);
            // After each size, so that a run that is cut short has a table and charts.
            let table = table(&sizes);
            fs::write(self.out.join("scaling.md"), &table)?;
            draw(&self.out.join("scaling.svg"), &sizes)?;
            println!("{table}");
        }
        println!("figures, table and chart are in {}", self.out.display());
        Ok(())
    }

    fn measure(&self, entries: u64, path: &Path) -> Result<Measured> {
        let scale = Scale { entries, seconds_max: SECONDS_MAX, ..self.scale.clone() };
        let mut steps = Vec::new();
        for step in &STEPS {
            let row = Row::named(step.row).ok_or("a step's row is not there")?;
            let mut figures =
                Figures { engine: self.engine.name.to_owned(), is_lsm: true, values: Vec::new() };
            for _ in 0..if step.is_repeated { self.repetitions } else { 1 } {
                let value = child::measure(self.engine, row, path, &scale)?;
                self.note(&value)?;
                figures.values.push(value);
            }
            eprintln!(
                "{} entries: {}: {}",
                grouped(entries as f64),
                step.name,
                cost_text(&figures)
            );
            steps.push(figures);
        }
        Ok(Measured { entries, steps })
    }

    fn note(&self, value: &Value) -> Result<()> {
        let path = self.out.join(FIGURES_FILE);
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        Ok(writeln!(file, "{value}")?)
    }
}

/// What one operation costs, in microseconds.
fn cost_us(figures: &Figures) -> Option<f64> {
    let rate = figures.median("settled_ops_per_second");
    Some(1e6 / rate.or_else(|| figures.median("ops_per_second"))?)
}

fn cost_text(figures: &Figures) -> String {
    format!("{} us", short(cost_us(figures)))
}

/// A line for each size, in Markdown.
fn table(sizes: &[Measured]) -> String {
    let names: Vec<_> = STEPS.iter().map(|step| format!("{}, us", step.name)).collect();
    let mut text = format!(
        "| entries | {} | put, acknowledged, us | x written | tables | bytes on disk per entry | \
         memory per entry, bytes | peak anonymous MiB while filling |\n|---:|{}\n",
        names.join(" | "),
        "---:|".repeat(STEPS.len() + 6),
    );
    for size in sizes {
        let costs: Vec<_> = size.steps.iter().map(|figures| short(cost_us(figures))).collect();
        let [fill, get, ..] = size.steps.as_slice() else { continue };
        let entries = size.entries as f64;
        let per_entry = |bytes: Option<f64>| short(bytes.map(|bytes| bytes / entries));
        let written = fill.median("bytes_written").zip(fill.median("user_bytes"));
        let cells = [
            short(fill.median("ops_per_second").map(|rate| 1e6 / rate)),
            short(written.map(|(written, given)| written / given)),
            fill.median("tables").map_or_else(String::new, |tables| format!("{tables}")),
            per_entry(get.median("space_bytes")),
            per_entry(get.median("memory_bytes")),
            short(fill.median("rss_anon_peak_bytes").map(|bytes| bytes / f64::from(1 << 20))),
        ];
        let entries = grouped(entries);
        text.push_str(&format!("| {entries} | {} | {} |\n", costs.join(" | "), cells.join(" | ")));
    }
    text
}

/// A line for each step, both axes logarithmic.
fn draw(path: &Path, sizes: &[Measured]) -> Result<()> {
    let costs = |index: usize| {
        let of_size =
            move |size: &Measured| Some((size.entries as f64, cost_us(size.steps.get(index)?)?));
        sizes.iter().filter_map(of_size).collect::<Vec<_>>()
    };
    let all: Vec<_> = (0..STEPS.len()).flat_map(costs).collect();
    let least = |of: fn(&(f64, f64)) -> f64| all.iter().map(of).fold(f64::MAX, f64::min);
    let most = |of: fn(&(f64, f64)) -> f64| all.iter().map(of).fold(f64::MIN_POSITIVE, f64::max);
    let across = least(|it| it.0) / 1.2..most(|it| it.0) * 1.2;
    let up = least(|it| it.1) / 2.0..most(|it| it.1) * 2.0;
    let area = SVGBackend::new(path, (860, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("What an operation costs, microseconds", ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(across.log_scale(), up.log_scale())?;
    chart
        .configure_mesh()
        .x_desc("entries in the store")
        .x_label_formatter(&|entries| grouped(*entries))
        .y_label_formatter(&|us| short(Some(*us)))
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (index, step) in STEPS.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        chart
            .draw_series(LineSeries::new(costs(index), colour.stroke_width(2)).point_size(3))?
            .label(step.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
    Ok(area.present()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sizes() -> Vec<Measured> {
        let figures = |rate: f64| Figures {
            engine: "lsm".to_owned(),
            is_lsm: true,
            values: vec![json!({ "ops_per_second": rate, "tables": 7, "space_bytes": 2e8 })],
        };
        let size = |entries| Measured {
            entries,
            steps: STEPS.iter().map(|_| figures(1e12 / entries as f64)).collect(),
        };
        vec![size(1_000_000), size(2_000_000)]
    }

    #[test]
    fn every_step_is_a_row() {
        assert!(STEPS.iter().all(|step| Row::named(step.row).is_some()));
    }

    #[test]
    fn the_table_has_a_line_for_each_size_and_a_cell_for_each_head() {
        let table = table(&sizes());
        let cells: Vec<_> = table.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(cells.len(), 4);
        assert!(cells.iter().all(|count| *count == cells[0]), "{table}");
        assert!(table.contains("| 1,000,000 | 1.00 | ") && table.contains(" | 200 | "), "{table}");
    }

    #[test]
    fn the_chart_names_every_step() {
        let path = std::env::temp_dir().join(format!("scaling-{}.svg", std::process::id()));
        draw(&path, &sizes()).expect("it is drawn");
        let svg = fs::read_to_string(&path).expect("it is there");
        fs::remove_file(&path).expect("it is removed");
        assert!(STEPS.iter().all(|step| svg.contains(step.name)));
    }
}
