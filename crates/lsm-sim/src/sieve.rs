//! Filtering in histories: merges of one keyspace mark the values that they copy.
//!
//! A mark in front of a value's bytes says that it went through the filter; the rest is the value. So a
//! model need not know what was merged: a value may be found with its mark or without, and whatever is
//! lost, brought back or mixed up around a filter shows all the same.

use lsm_engine::{CompactionFilter, FilterDecision, KeyspaceOptions, ValueFilter};

use crate::chain;

/// The keyspace whose values new histories have filtered.
pub const FILTERED: u8 = 3;

const MARK: u8 = b'~';

/// The options by which a keyspace with the filter is opened.
pub fn options() -> KeyspaceOptions {
    KeyspaceOptions {
        compaction_filter: Some(filter()),
        merge_operator: Some(chain::operator()),
        ..KeyspaceOptions::default()
    }
}

/// The filter.
pub fn filter() -> ValueFilter {
    ValueFilter::new(Sieve)
}

/// A value's bytes as they were written.
pub fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(&[MARK]).unwrap_or(bytes)
}

struct Sieve;

impl CompactionFilter for Sieve {
    fn name(&self) -> &str {
        "sieve"
    }

    fn filter_key(&self, key: &[u8]) -> Option<FilterDecision> {
        // Of some keys no value is looked at.
        key.len().is_multiple_of(5).then_some(FilterDecision::Keep)
    }

    fn filter(&self, _key: &[u8], value: &[u8]) -> FilterDecision {
        match value.first() {
            Some(&MARK) => FilterDecision::Keep,
            // Some stay as they are.
            _ if value.len().is_multiple_of(3) => FilterDecision::Keep,
            _ => FilterDecision::Replace([&[MARK], value].concat()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{is_value, value_bytes};

    #[test]
    fn a_value_is_marked_once_and_told_from_others_all_the_same() {
        let mut marked = 0;
        for value in 0..200 {
            let bytes = value_bytes(value);
            let FilterDecision::Replace(other) = Sieve.filter(b"key", &bytes) else { continue };
            assert_eq!(Sieve.filter(b"key", &other), FilterDecision::Keep);
            assert!(is_value(value, &other) && !is_value(value + 32, &other), "{value}");
            marked += 1;
        }
        assert!(marked > 50, "{marked}");
    }
}
