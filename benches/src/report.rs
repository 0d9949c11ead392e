//! What the measurements come to: a table for each row.

use serde_json::Value;

use crate::row::Row;

/// Prints one table: a line for each engine, from the measurements of its repetitions.
pub(crate) fn print(row: &Row, measurements: &[(&'static str, Vec<Value>)]) {
    let threads = if row.threads == 1 { "1 thread".into() } else { format!("{} threads", row.threads) };
    println!("\n{}: {}, {threads}", row.name, row.about);
    println!(
        "{:<10} {:>11} {:>23} {:>11} {:>8} {:>8} {:>8} {:>9} {:>8} {:>9} {:>7} {:>8} {:>8}",
        "engine", "ops/s", "(min .. max)", "settled/s", "p50 us", "p99 us", "p99.9", "max us",
        "cpu us", "wrote MiB", "x user", "anon MiB", "disk MiB"
    );
    for (engine, values) in measurements {
        match line(values) {
            Some(line) => println!("{engine:<10} {line}"),
            None => println!("{engine:<10} did not finish"),
        }
    }
}

fn line(values: &[Value]) -> Option<String> {
    let figure = |name: &str| median(values.iter().filter_map(|value| value[name].as_f64()));
    let all = || values.iter().filter_map(|value| value["ops_per_second"].as_f64());
    let (lowest, highest) = (all().reduce(f64::min)?, all().reduce(f64::max)?);
    let mib = |name: &str| figure(name).map(|bytes| bytes / f64::from(1 << 20));
    // What a row without writes wrote is no multiple of anything.
    let amplification = figure("settled_ops_per_second")
        .and_then(|_| Some(figure("bytes_written")? / figure("user_bytes")?));
    Some(format!(
        "{:>11} {:>23} {:>11} {:>8} {:>8} {:>8} {:>9} {:>8} {:>9} {:>7} {:>8} {:>8}",
        grouped(figure("ops_per_second")?),
        format!("({} .. {})", grouped(lowest), grouped(highest)),
        figure("settled_ops_per_second").map_or_else(String::new, grouped),
        short(figure("p50_us")),
        short(figure("p99_us")),
        short(figure("p999_us")),
        short(figure("max_us")),
        short(figure("cpu_us_per_op")),
        short(mib("bytes_written")),
        amplification.map_or_else(String::new, |times| format!("{times:.2}")),
        short(mib("rss_anon_peak_bytes")),
        short(mib("space_bytes")),
    ))
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// `1,234,567`; with a decimal below 100.
fn grouped(number: f64) -> String {
    if number < 100.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn short(number: Option<f64>) -> String {
    match number {
        None => String::new(),
        Some(number) if number < 10.0 => format!("{number:.2}"),
        Some(number) if number < 100.0 => format!("{number:.1}"),
        Some(number) => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(grouped(1_234_567.0), "1,234,567");
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(12.34), "12.3");
    }

    #[test]
    fn the_median_of_two_is_the_lower() {
        assert_eq!(median([2.0, 1.0].into_iter()), Some(1.0));
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([].into_iter()), None);
    }
}
