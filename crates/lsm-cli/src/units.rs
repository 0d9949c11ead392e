//! Numbers as people read them.

use std::time::Duration;

/// "34,823".
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// "1 table", "2,000 tables".
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// "512 B", "1.3 MiB".
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let mut scaled = number as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 and more would be shown as 1024.0.
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// "850 µs", "12.3 ms", "4.56 s", "3 min 20 s".
pub(crate) fn duration(elapsed: Duration) -> String {
    let nanos = elapsed.as_nanos();
    let seconds = elapsed.as_secs_f64();
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} µs", seconds * 1e6),
        1_000_000..1_000_000_000 => format!("{:.1} ms", seconds * 1e3),
        1_000_000_000..120_000_000_000 => format!("{seconds:.2} s"),
        _ => format!("{} min {} s", elapsed.as_secs() / 60, elapsed.as_secs() % 60),
    }
}

/// How far a time is from now, both in milliseconds since 1970: "in 20 s", "in 3 h", "2 days ago".
pub(crate) fn distance(time_ms: u64, now_ms: u64) -> String {
    let seconds = time_ms.abs_diff(now_ms).div_ceil(1000);
    let far = match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", count(seconds / 86_400)),
    };
    if time_ms > now_ms { format!("in {far}") } else { format!("{far} ago") }
}

/// A time as it is typed: "250ms", "90s", "5m", "12h", "7d".
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => {
            return Err(format!(
                "\"{text}\" is no time, as \"90s\" is; ms, s, m, h and d are known"
            ));
        }
    };
    let number: u64 = number.parse().map_err(|_| format!("\"{text}\" begins with no number"))?;
    Ok(Duration::from_millis(number.saturating_mul(unit_ms)))
}

/// How many a second.
pub(crate) fn rate(number: u64, elapsed: Duration) -> u64 {
    (number as f64 / elapsed.as_secs_f64().max(1e-9)) as u64
}

/// `part` for each one of `whole`: "1.08"; a dash where there is no whole.
pub(crate) fn ratio(part: u64, whole: u64) -> String {
    if whole == 0 { "-".into() } else { format!("{:.2}", part as f64 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        let shown = [0, 999, 1_000, 34_823, 1_234_567].map(count);
        assert_eq!(shown, ["0", "999", "1,000", "34,823", "1,234,567"]);
        assert_eq!(counted(1, "table", "tables"), "1 table");
        assert_eq!(counted(0, "table", "tables"), "0 tables");
    }

    #[test]
    fn a_time_is_as_far_away_as_its_largest_unit_says() {
        let now_ms = 1_700_000_000_000_u64;
        let shown = |ms: i64| distance(now_ms.saturating_add_signed(ms), now_ms);
        assert_eq!(shown(0), "0 s ago");
        assert_eq!(shown(1), "in 1 s");
        assert_eq!(shown(-119_000), "119 s ago");
        assert_eq!(shown(120_000), "in 2 min");
        assert_eq!(shown(3 * 3_600_000), "in 3 h");
        assert_eq!(shown(-5 * 86_400_000), "5 days ago");
    }

    #[test]
    fn bytes_take_the_unit_that_keeps_them_short() {
        let shown = [0, 1023, 1024, 1_400_000, 1 << 20, (1 << 20) - 1, u64::MAX].map(bytes);
        assert_eq!(
            shown,
            ["0 B", "1023 B", "1.0 KiB", "1.3 MiB", "1.0 MiB", "1.0 MiB", "16.0 EiB"]
        );
    }

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in ["", "90", "s", "5 m", "-1s", "1.5h", "1w"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_take_the_unit_that_keeps_them_short() {
        let shown = [850, 850_300, 12_340_000, 4_560_000_000, 200_000_000_000]
            .map(|nanos| duration(Duration::from_nanos(nanos)));
        assert_eq!(shown, ["850 ns", "850.3 µs", "12.3 ms", "4.56 s", "3 min 20 s"]);
    }
}
