//! What this repository's store must reach in a row, and whether it does.
//!
//! The targets hold at full size on an otherwise idle machine; at a smaller scale the verdicts
//! are printed all the same, since a missed one is a hint.

use crate::figures::{Figures, RowFigures};
use crate::floor;
use crate::row::Row;
use crate::scale::Scale;

/// What a row must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// Nothing is demanded.
    None,
    /// Our figure divided by the best peer's, among all or among the log-structured ones.
    Ratio { at_least: f64, goal: f64, among_lsm: bool },
    /// Operations a second, where no peer can do the same.
    Rate { at_least: f64, goal: f64 },
    /// Milliseconds at most.
    Within { ms: f64 },
}

/// With compression on every side, the best log-structured peer is what counts.
const LZ4: Target = Target::Ratio { at_least: 2.0, goal: 3.0, among_lsm: true };

/// The longest that a write may take in the rows that fill and overwrite.
const WRITE_MS_MAX: f64 = 5.0;
/// Bytes written for each byte given, with lz4: for the entries of the full suite, and for four
/// times as many.
const WRITE_AMPLIFICATION_MAX: [(u64, f64); 2] = [(5_000_000, 2.6), (20_000_000, 3.6)];
/// Bytes of tables for each live byte, with lz4.
const SPACE_MAX: f64 = 0.70;
/// In a second of constant offered load, at least this share of the median second.
const SLOWEST_SECOND_MIN: f64 = 0.5;
/// How much slower a scan may become when 40 % of the keys are deleted.
const SLOWER_AFTER_DELETES_MAX: f64 = 1.5;

/// How far something has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Missed,
    Reached,
    Goal,
}

impl Outcome {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Missed => "MISSED",
            Self::Reached => "reached",
            Self::Goal => "goal",
        }
    }

    fn of(figure: f64, at_least: f64, goal: f64) -> Self {
        match figure {
            figure if figure >= goal => Self::Goal,
            figure if figure >= at_least => Self::Reached,
            _ => Self::Missed,
        }
    }
}

/// One demand, and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) text: String,
}

fn at_most(what: &str, figure: Option<f64>, limit: f64) -> Option<Verdict> {
    let figure = figure?;
    let outcome = if figure <= limit { Outcome::Reached } else { Outcome::Missed };
    Some(Verdict { outcome, text: format!("{what} {figure:.2}, at most {limit:.2}") })
}

/// Every verdict on a row; `earlier` are the rows measured before it.
pub(crate) fn verdicts(
    measured: &RowFigures,
    scale: &Scale,
    earlier: &[RowFigures],
) -> Vec<Verdict> {
    let Some(ours) = measured.ours() else { return Vec::new() };
    let row = measured.row;
    let mut verdicts: Vec<_> = main_verdict(measured, ours, scale).into_iter().collect();
    if matches!(row.name, "fillrandom" | "overwrite") {
        let ms = ours.median("max_us").map(|us| us / 1000.0);
        verdicts.extend(at_most("slowest write, ms:", ms, WRITE_MS_MAX));
        let best = measured.least("p999_us", false);
        verdicts
            .extend(best.and_then(|best| at_most("p99.9 in us:", ours.median("p999_us"), best)));
    }
    if let Some(least) = measured.least("rss_anon_peak_bytes", true) {
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let figure = ours.median("rss_anon_peak_bytes").map(mib);
        // Below the size of a memtable it is of no interest who has less.
        let figure = figure.filter(|figure| *figure > scale.memtable_mib as f64);
        verdicts.extend(at_most("peak memory of the process, MiB:", figure, mib(least)));
    }
    verdicts.extend(floor::verdict(row, ours));
    verdicts.extend(lz4_verdicts(row, ours, scale));
    if let Some(share) = ours.median("slowest_second_share") {
        let outcome = Outcome::of(share, SLOWEST_SECOND_MIN, 0.95);
        let text = format!("slowest second {share:.2} of the median one, at least 0.50");
        verdicts.push(Verdict { outcome, text });
    }
    if row.name == "seek50del"
        && let Some(before) = earlier.iter().find(|earlier| earlier.row.name == "seek50")
        && let Some(before) = before.ours().and_then(|before| before.figure(before_row()))
    {
        let times = ours.figure(row).map(|after| before / after);
        verdicts.extend(at_most("times slower than before:", times, SLOWER_AFTER_DELETES_MAX));
    }
    verdicts
}

fn before_row() -> &'static Row {
    Row::named("seek50").expect("the row is in the table")
}

fn main_verdict(measured: &RowFigures, ours: &Figures, scale: &Scale) -> Option<Verdict> {
    let row = measured.row;
    let figure = ours.figure(row)?;
    match row.target(scale) {
        Target::None => None,
        Target::Rate { at_least, goal } => {
            let outcome = Outcome::of(figure, at_least, goal);
            let text = format!("{figure:.0} a second, at least {at_least:.0}, goal {goal:.0}");
            Some(Verdict { outcome, text })
        }
        Target::Within { ms } => at_most("milliseconds:", Some(figure), ms),
        Target::Ratio { at_least, goal, among_lsm } => {
            let (best, best_figure) = measured.best_peer(among_lsm)?;
            let ratio = row.ratio(figure, best_figure);
            let outcome = Outcome::of(ratio, at_least, goal);
            let text =
                format!("{ratio:.2} times {best}, at least {at_least} times, goal {goal} times");
            Some(Verdict { outcome, text })
        }
    }
}

fn lz4_verdicts(row: &Row, ours: &Figures, scale: &Scale) -> Vec<Verdict> {
    if !scale.lz4 || row.name != "fillrandom" {
        return Vec::new();
    }
    let limit = WRITE_AMPLIFICATION_MAX.iter().find(|(entries, _)| scale.entries <= *entries);
    let per_user_byte = |name: &str| Some(ours.median(name)? / ours.median("user_bytes")?);
    let amplification = per_user_byte("counted_bytes_written");
    limit
        .and_then(|(_, limit)| at_most("write amplification", amplification, *limit))
        .into_iter()
        .chain(at_most("table bytes a live byte", per_user_byte("table_bytes"), SPACE_MAX))
        .collect()
}

impl Row {
    /// What the row must reach at this scale.
    pub(crate) fn target(&self, scale: &Scale) -> Target {
        let is_about_syncs = self.durability == crate::store::Durability::Disk;
        match self.target {
            Target::Ratio { .. } if scale.lz4 && !is_about_syncs => LZ4,
            target => target,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn measured(row: &str, figures: &[(&str, bool, f64)]) -> RowFigures {
        let engines = figures.iter().map(|(engine, is_lsm, ops)| Figures {
            engine: (*engine).to_owned(),
            is_lsm: *is_lsm,
            values: vec![json!({ "ops_per_second": ops })],
        });
        RowFigures { row: Row::named(row).expect("the row is there"), engines: engines.collect() }
    }

    fn outcome(row: &str, lz4: bool, figures: &[(&str, bool, f64)]) -> Outcome {
        let scale = Scale { lz4, ..Scale::of(crate::scale::Suite::Full) };
        verdicts(&measured(row, figures), &scale, &[])[0].outcome
    }

    #[test]
    fn a_row_is_judged_by_its_best_peer() {
        let peers = |ours| [("lsm", true, ours), ("b", true, 10.0), ("c", false, 20.0)];
        assert_eq!(outcome("get", false, &peers(49.0)), Outcome::Missed);
        assert_eq!(outcome("get", false, &peers(51.0)), Outcome::Reached);
        assert_eq!(outcome("get", false, &peers(81.0)), Outcome::Goal);
    }

    #[test]
    fn with_compression_only_log_structured_peers_count() {
        let figures = [("lsm", true, 31.0), ("b", true, 10.0), ("c", false, 20.0)];
        assert_eq!(outcome("get", true, &figures), Outcome::Goal);
    }
}
