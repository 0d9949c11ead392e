//! The figures as text: a table for each row, and one of all verdicts.

use crate::figures::{RowFigures, grouped, short};
use crate::target::{Outcome, Verdict};

/// Column heads of a row's table, without the engine's name.
pub(crate) const HEADS: [&str; 13] = [
    "figure",
    "least",
    "greatest",
    "we are",
    "acked/s",
    "p50 us",
    "p99 us",
    "p99.9 us",
    "max us",
    "cpu us/op",
    "x written",
    "anon MiB",
    "disk MiB",
];

/// The name of a row with what it does, to stand above its table.
pub(crate) fn title(measured: &RowFigures) -> String {
    let row = measured.row;
    let threads =
        if row.threads == 1 { String::new() } else { format!(", {} threads", row.threads) };
    format!("{}: {}{threads} ({})", row.name, row.about, row.unit())
}

/// A line for each engine: its name and what stands below the heads; `None` if it failed.
pub(crate) fn lines(measured: &RowFigures) -> Vec<(&str, Option<[String; HEADS.len()]>)> {
    let row = measured.row;
    let ours = measured.ours().and_then(|ours| ours.figure(row));
    let line = |figures: &crate::figures::Figures| {
        let figure = figures.figure(row)?;
        let (least, greatest) = figures.bounds(row)?;
        let mib = |name: &str| short(figures.median(name).map(|bytes| bytes / f64::from(1 << 20)));
        let ratio = ours.filter(|_| !figures.is_ours()).map(|ours| row.ratio(ours, figure));
        // What a row that mostly reads has written is no multiple of anything.
        let amplification = figures.median("bytes_written").zip(figures.median("user_bytes"));
        let amplification = amplification.filter(|_| row.settles());
        Some([
            grouped(figure),
            grouped(least),
            grouped(greatest),
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
            figures
                .median("ops_per_second")
                .filter(|_| row.settles())
                .map_or_else(String::new, grouped),
            short(figures.median("p50_us")),
            short(figures.median("p99_us")),
            short(figures.median("p999_us")),
            short(figures.median("max_us")),
            short(figures.median("cpu_us_per_op")),
            short(amplification.map(|(written, given)| written / given)),
            mib("rss_anon_peak_bytes"),
            mib("space_bytes"),
        ])
    };
    measured.engines.iter().map(|figures| (&*figures.engine, line(figures))).collect()
}

/// Prints a row's table and what is said of it.
pub(crate) fn print(measured: &RowFigures, verdicts: &[Verdict]) {
    println!("\n{}", title(measured));
    let print_line = |name: &str, cells: &[String]| {
        print!("  {name:<11}");
        cells.iter().enumerate().for_each(|(index, cell)| {
            let width = if index < 3 { 11 } else { 9 };
            print!(" {cell:>width$}");
        });
        println!();
    };
    print_line("", &HEADS.map(str::to_owned));
    for (engine, cells) in lines(measured) {
        match cells {
            Some(cells) => print_line(engine, &cells),
            None => println!("  {engine:<11} did not finish"),
        }
    }
    for verdict in verdicts {
        println!("  {:<8} {}", verdict.outcome.word(), verdict.text);
    }
}

/// Prints the first verdict of each row, and how many of all were missed.
pub(crate) fn print_summary(rows: &[(RowFigures, Vec<Verdict>)]) {
    let mut all = rows.iter().flat_map(|(_, verdicts)| verdicts).peekable();
    if all.peek().is_none() {
        return;
    }
    println!("\nWhat was reached");
    for (measured, verdicts) in rows {
        for verdict in verdicts {
            println!("  {:<11} {:<8} {}", measured.row.name, verdict.outcome.word(), verdict.text);
        }
    }
    let verdicts: Vec<_> = all.collect();
    let missed = verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Missed).count();
    println!("{} of {} missed", missed, verdicts.len());
}
