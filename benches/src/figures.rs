//! What the repetitions of a measurement come to.

use serde_json::Value;

use crate::limit;
use crate::row::Row;

/// All measurements of one engine in one row.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) engine: String,
    pub(crate) is_lsm: bool,
    pub(crate) values: Vec<Value>,
}

/// All measurements of one row.
#[derive(Clone, Debug)]
pub(crate) struct RowFigures {
    pub(crate) row: &'static Row,
    pub(crate) engines: Vec<Figures>,
}

impl Figures {
    fn all(&self, name: &str) -> Vec<f64> {
        self.values.iter().filter_map(|value| value[name].as_f64()).collect()
    }

    /// The median of a measured quantity; `None` if it was not measured.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        median(self.all(name))
    }

    /// The row's own figure: what is compared.
    pub(crate) fn figure(&self, row: &Row) -> Option<f64> {
        self.median(row.figure_name())
    }

    /// The least and the greatest of the row's own figure.
    pub(crate) fn bounds(&self, row: &Row) -> Option<(f64, f64)> {
        let all = self.all(row.figure_name());
        Some((all.iter().copied().reduce(f64::min)?, all.iter().copied().reduce(f64::max)?))
    }

    /// Whether it is a store that somebody could use instead.
    pub(crate) fn is_peer(&self) -> bool {
        !self.is_ours() && self.engine != limit::ENGINE.name
    }

    /// Whether it is this repository's store, in one of its settings.
    pub(crate) fn is_ours(&self) -> bool {
        self.engine.starts_with("lsm")
    }
}

impl RowFigures {
    /// This repository's store with its default settings.
    pub(crate) fn ours(&self) -> Option<&Figures> {
        self.engines.iter().find(|figures| figures.engine == "lsm" && !figures.values.is_empty())
    }

    fn peers(&self, among_lsm: bool) -> impl Iterator<Item = &Figures> {
        self.engines.iter().filter(move |peer| peer.is_peer() && (peer.is_lsm || !among_lsm))
    }

    /// The peer with the best figure, and that figure.
    pub(crate) fn best_peer(&self, among_lsm: bool) -> Option<(&str, f64)> {
        let figures =
            self.peers(among_lsm).filter_map(|peer| Some((&*peer.engine, peer.figure(self.row)?)));
        figures.reduce(|best, next| if self.row.ratio(next.1, best.1) > 1.0 { next } else { best })
    }

    /// The least of some quantity among the peers.
    pub(crate) fn least(&self, name: &str, among_lsm: bool) -> Option<f64> {
        self.peers(among_lsm).filter_map(|peer| peer.median(name)).reduce(f64::min)
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// `1,234,567`; with decimals below 100.
pub(crate) fn grouped(number: f64) -> String {
    if number < 100.0 {
        return short(Some(number));
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

/// Three digits, or nothing where nothing was measured.
pub(crate) fn short(number: Option<f64>) -> String {
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
        assert_eq!(median(vec![2.0, 1.0]), Some(1.0));
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
