//! Changes to the options of a keyspace, as they are typed: the form in which they are shown.

use std::str::FromStr;

use lsm_engine::{CompactionPolicy, Compression, KeyspaceOptions, Options};

use crate::commands::compact::read_policy;
use crate::commands::merge::operator_called;
use crate::exit::Failure;
use crate::question::Consent;

/// The options that `changes`, each `NAME=VALUE`, make of those that there are. The ranges of numbers
/// are the engine's to check, which does so before anything is written.
pub(super) fn changed(
    options: &KeyspaceOptions,
    changes: &[(String, String)],
) -> Result<KeyspaceOptions, Failure> {
    let mut changed = options.clone();
    for (index, (name, value)) in changes.iter().enumerate() {
        if changes[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(Failure::usage(format!("option {name} is set twice; once is accepted")));
        }
        change(&mut changed, name, value)?;
    }
    Ok(changed)
}

/// A change as it is typed.
pub(super) fn parse_change(typed: &str) -> Result<(String, String), String> {
    let (name, value) = typed.split_once('=').ok_or("NAME=VALUE is accepted")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Asks about what `changes` would have the engine drop.
pub(super) fn ask(changed: &KeyspaceOptions, consent: Consent) -> Result<(), Failure> {
    match changed.compaction {
        CompactionPolicy::Fifo(_) => {
            consent.ask("Set fifo, which drops the oldest data when there is too much of it?")
        }
        _ => Ok(()),
    }
}

fn change(options: &mut KeyspaceOptions, name: &str, value: &str) -> Result<(), Failure> {
    match name {
        "compaction" => options.compaction = read_policy("option compaction", value)?,
        "compression" => options.compression = compression(value)?,
        "filter_bits_per_key" => options.filter_bits_per_key = number_or_none(name, value)?,
        "block_bytes" => options.block_bytes = number(name, value, "a number is accepted")?,
        "ttl_ms" => options.ttl_ms = number_or_none(name, value)?,
        "merge_operator" => {
            let saved = options.merge_operator.take();
            options.merge_operator = match (value, saved) {
                ("none", _) => None,
                (typed, Some(saved)) if saved.name() == typed => Some(saved),
                _ => Some(operator_called(value).ok_or_else(|| {
                    let accepted =
                        "counter, set-union and append are accepted; others belong to programs";
                    wrong(name, value, accepted)
                })?),
            };
        }
        "compaction_filter" => {
            let is_known = options.compaction_filter.as_ref().is_some_and(|it| it.name() == value);
            match value {
                "none" => options.compaction_filter = None,
                _ if is_known => {}
                _ => {
                    return Err(wrong(name, value, "none is accepted; filters belong to programs"));
                }
            }
        }
        "blob_threshold_bytes" => options.blob_threshold_bytes = number_or_none(name, value)?,
        "tombstone_age_limit_ms" => options.tombstone_age_limit_ms = number_or_none(name, value)?,
        _ => return Err(unknown(name)),
    }
    Ok(())
}

fn unknown(name: &str) -> Failure {
    let known: Vec<_> = KeyspaceOptions::default().rows().iter().map(|row| row.name).collect();
    let is_of_database = Options::default().rows().iter().any(|row| row.name == name);
    let why = if is_of_database {
        format!(
            "{name} is chosen by the program that opens the database, and not saved; a keyspace"
        )
    } else {
        format!("a keyspace has no option {name}; it")
    };
    Failure::usage(format!("{why} has: {}", known.join(", ")))
}

fn wrong(name: &str, value: &str, accepted: &str) -> Failure {
    Failure::usage(format!("option {name} is \"{value}\"; {accepted}"))
}

fn number<N: FromStr>(name: &str, value: &str, accepted: &str) -> Result<N, Failure> {
    value.parse().map_err(|_| wrong(name, value, accepted))
}

fn number_or_none<N: FromStr>(name: &str, value: &str) -> Result<Option<N>, Failure> {
    match value {
        "none" => Ok(None),
        _ => number(name, value, "a number is accepted, or none").map(Some),
    }
}

/// One for each level, from level 0 on; the last holds for deeper ones.
fn compression(value: &str) -> Result<Vec<Compression>, Failure> {
    if value == "none" {
        return Ok(Vec::new());
    }
    let levels: Option<Vec<_>> = value.split_whitespace().map(parse_compression).collect();
    levels.filter(|levels| !levels.is_empty()).ok_or_else(|| {
        wrong("compression", value, "none, lz4 and zstd(LEVEL) are accepted, one or more in a row")
    })
}

fn parse_compression(name: &str) -> Option<Compression> {
    match name {
        "none" => Some(Compression::None),
        "lz4" => Some(Compression::Lz4),
        _ => {
            let level = name.strip_prefix("zstd(")?.strip_suffix(')')?;
            Some(Compression::Zstd(level.parse().ok()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use lsm_engine::{Counter, Operator, TieredOptions};

    use super::*;

    /// Every option set to what it shows makes the same options: none is forgotten here.
    #[track_caller]
    fn check_round_trip(options: &KeyspaceOptions) {
        let mut again = KeyspaceOptions::default();
        for row in options.rows() {
            change(&mut again, row.name, &row.value).unwrap();
        }
        assert_eq!(again, *options);
    }

    #[test]
    fn every_option_can_be_set_to_what_it_shows() {
        check_round_trip(&KeyspaceOptions::default());
        check_round_trip(&KeyspaceOptions {
            compaction: CompactionPolicy::Tiered(TieredOptions::default()),
            compression: vec![Compression::None, Compression::Lz4, Compression::Zstd(-3)],
            filter_bits_per_key: None,
            block_bytes: 512,
            ttl_ms: Some(7),
            merge_operator: Some(Operator::new(Counter)),
            compaction_filter: None,
            blob_threshold_bytes: Some(4096),
            tombstone_age_limit_ms: Some(9),
        });
    }
}
