//! Every option with its value, its default and what it does.
//!
//! What an option does is said once, in its doc comment: the listing reads it there. An option that
//! has no line in the lists below does not compile.

use super::{KeyspaceOptions, Options};
use crate::operator::Operator;
use crate::value_filter::ValueFilter;

/// Where the doc comments are.
const SOURCE: &str = concat!(include_str!("../options.rs"), include_str!("keyspace.rs"));

/// One option of a database or a keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OptionRow {
    /// Its name: that of the field.
    pub name: &'static str,
    /// Its value; one that is derived from others says so.
    pub value: String,
    /// The value that it has if nobody chooses one, on this machine.
    pub default: String,
    /// What it does.
    pub does: String,
}

/// Gives a struct of options its rows: a line for each field, which shows its value.
macro_rules! list_options {
    ($options:ident: $kind:ident { $($field:ident => $shown:expr,)* }) => {
        impl $kind {
            const NAMES: &[&str] = &[$(stringify!($field)),*];

            fn shown(&self) -> Vec<String> {
                let $options = self;
                // Every field, so that none is forgotten.
                let Self { $($field: _),* } = $options;
                vec![$($shown),*]
            }

            /// Every option with its value, its default and what it does: what `lsm options` prints.
            ///
            /// ```
            #[doc = concat!("let options = lsm_engine::", stringify!($kind), "::default();")]
            /// for row in options.rows() {
            ///     assert_eq!(row.value, row.default, "{}: {}", row.name, row.does);
            /// }
            /// ```
            pub fn rows(&self) -> Vec<OptionRow> {
                let shown = self.shown().into_iter().zip(Self::default().shown());
                let rows = Self::NAMES.iter().zip(shown).map(|(name, (value, default))| {
                    let does = doc_comment(stringify!($kind), name);
                    OptionRow { name, value, default, does }
                });
                rows.collect()
            }
        }
    };
}

list_options!(options: Options {
    create_if_missing => yes_or_no(options.create_if_missing),
    memory_bytes => options.memory_bytes.to_string(),
    memtable_bytes => or_derived(options.memtable_bytes, options.effective_memtable_bytes()),
    cache_bytes => or_derived(options.cache_bytes, options.effective_cache_bytes()),
    durability => format!("{:?}", options.durability),
    background_threads => options.background_threads.to_string(),
    write_rate_bytes_per_second => or_none(options.write_rate_bytes_per_second),
    log_segment_bytes => options.log_segment_bytes.to_string(),
    log_bytes_max => options.log_bytes_max.to_string(),
    flush_interval_ms => or_none(options.flush_interval_ms),
    read_mode => format!("{:?}", options.read_mode),
    map_log => yes_or_no(options.map_log),
    recovery => format!("{:?}", options.recovery),
    without_operators => yes_or_no(options.without_operators),
    keyspace => "see the options of keyspaces".into(),
    changes_retention_bytes => options.changes_retention_bytes.to_string(),
    changes_retention_ms => or_none(options.changes_retention_ms),
    reserve_bytes => or_derived(options.reserve_bytes, options.reserve_bytes_max()),
    listener => if options.listener.is_some() { "one".into() } else { "none".into() },
    env => "the system's".into(),
});

list_options!(options: KeyspaceOptions {
    compaction => options.compaction.to_string(),
    compression => if options.compression.is_empty() {
        "none".into()
    } else {
        let levels: Vec<_> = options.compression.iter().map(ToString::to_string).collect();
        levels.join(" ")
    },
    filter_bits_per_key => or_none(options.filter_bits_per_key),
    block_bytes => options.block_bytes.to_string(),
    ttl_ms => or_none(options.ttl_ms),
    merge_operator => or_none(options.merge_operator.as_ref().map(Operator::name)),
    compaction_filter => or_none(options.compaction_filter.as_ref().map(ValueFilter::name)),
    blob_threshold_bytes => or_none(options.blob_threshold_bytes),
    tombstone_age_limit_ms => or_none(options.tombstone_age_limit_ms),
});

fn yes_or_no(is_set: bool) -> String {
    if is_set { "yes".into() } else { "no".into() }
}

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or("none".into(), |value| value.to_string())
}

fn or_derived(value: Option<u64>, derived: u64) -> String {
    value.map_or(format!("{derived} (derived)"), |value| value.to_string())
}

/// The doc comment of a field, as text.
fn doc_comment(kind: &str, field: &str) -> String {
    let mut text = String::new();
    let fields = SOURCE.lines().skip_while(|line| *line != format!("pub struct {kind} {{"));
    for line in fields.skip(1).take_while(|line| *line != "}").map(str::trim) {
        if let Some(comment) = line.strip_prefix("///") {
            text.push_str(comment);
        } else if line.starts_with(&format!("pub {field}:")) {
            return without_links(text.trim());
        } else {
            text.clear();
        }
    }
    String::new()
}

/// The text of links instead of links.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let (name, after) = link.split_once(']').unwrap_or((link, ""));
        plain.push_str(before);
        plain.push_str(name);
        let target = after.strip_prefix('(').and_then(|target| target.split_once(')'));
        rest = target.map_or(after, |(_, after)| after);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_says_what_it_does() {
        let rows = Options::default().rows().into_iter().chain(KeyspaceOptions::default().rows());
        for row in rows {
            assert!(
                row.does.ends_with('.') && row.does.len() > 20,
                "{}: \"{}\"",
                row.name,
                row.does
            );
            assert!(!row.does.contains(['[', ']']), "{}: \"{}\"", row.name, row.does);
        }
    }

    #[test]
    fn a_row_shows_the_value_and_the_default() {
        let options = Options { memtable_bytes: Some(1 << 20), ..Options::default() };
        let row = options.rows().into_iter().find(|row| row.name == "memtable_bytes");
        let row = row.expect("every field has a row");
        assert_eq!(row.value, "1048576");
        assert!(row.default.ends_with(" (derived)"), "{}", row.default);
    }
}
