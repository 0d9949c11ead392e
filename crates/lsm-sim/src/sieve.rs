//! Filtering in histories: merges of one keyspace mark the values that they copy, or remove some.
//!
//! A mark in front of a value's bytes says that it went through the filter; the rest is the value. So a
//! model need not know what was merged: a value may be found with its mark or without, and whatever is
//! lost, brought back or mixed up around a filter shows all the same.
//!
//! Which values are removed goes by their keys, so that it is the same with operands above them or
//! without. What was removed, and when, the model has to find out: see `gone.rs`.

use lsm_engine::{CompactionFilter, FilterDecision, KeyspaceOptions, ValueFilter};

use crate::chain;

/// The keyspace whose values new histories have filtered.
pub const FILTERED: u8 = 3;

const MARK: u8 = b'~';

/// What merges do with a keyspace's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sieve {
    /// They copy them.
    None,
    /// They mark them.
    Marks,
    /// They remove those of [unwanted](is_unwanted) keys, and mark the others.
    Removes,
}

impl Sieve {
    /// The sieve of this name; `None`: there is none.
    pub fn named(name: Option<&str>) -> Option<Self> {
        match name {
            None => Some(Self::None),
            Some(MARKING) => Some(Self::Marks),
            Some(REMOVING) => Some(Self::Removes),
            Some(_) => None,
        }
    }

    /// The filter.
    pub fn filter(self) -> Option<ValueFilter> {
        match self {
            Self::None => None,
            Self::Marks => Some(ValueFilter::new(Filter { removes: false })),
            Self::Removes => Some(ValueFilter::new(Filter { removes: true })),
        }
    }

    /// The options by which a keyspace that has it is opened.
    pub fn options(self) -> KeyspaceOptions {
        KeyspaceOptions {
            compaction_filter: self.filter(),
            merge_operator: Some(chain::operator()),
            ..KeyspaceOptions::default()
        }
    }

    /// Whether it removes anything.
    pub fn removes(self) -> bool {
        self == Self::Removes
    }
}

const MARKING: &str = "sieve";
const REMOVING: &str = "removing-sieve";

/// Whether a sieve that removes does so with the values of this key.
pub fn is_unwanted(key: &[u8]) -> bool {
    key.last().is_some_and(|last| last % 4 < 2)
}

/// A value's bytes as they were written.
pub fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(&[MARK]).unwrap_or(bytes)
}

struct Filter {
    removes: bool,
}

impl CompactionFilter for Filter {
    fn name(&self) -> &str {
        if self.removes { REMOVING } else { MARKING }
    }

    fn filter_key(&self, key: &[u8]) -> Option<FilterDecision> {
        // Of some keys no value is looked at.
        let is_looked_at = !key.len().is_multiple_of(5);
        if self.removes && is_unwanted(key) {
            return (!is_looked_at).then_some(FilterDecision::Remove);
        }
        (!is_looked_at).then_some(FilterDecision::Keep)
    }

    fn filter(&self, key: &[u8], value: &[u8]) -> FilterDecision {
        if self.removes && is_unwanted(key) {
            return FilterDecision::Remove;
        }
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
    use crate::data::{KEYS, is_value, key_bytes, value_bytes};

    const MARKS: Filter = Filter { removes: false };
    const REMOVES: Filter = Filter { removes: true };

    #[test]
    fn a_value_is_marked_once_and_told_from_others_all_the_same() {
        let mut marked = 0;
        for value in 0..200 {
            let bytes = value_bytes(value);
            let FilterDecision::Replace(other) = MARKS.filter(b"key", &bytes) else { continue };
            assert_eq!(MARKS.filter(b"key", &other), FilterDecision::Keep);
            assert!(is_value(value, &other) && !is_value(value + 32, &other), "{value}");
            marked += 1;
        }
        assert!(marked > 50, "{marked}");
    }

    #[test]
    fn some_keys_lose_their_values_unseen_and_some_once_they_are_looked_at() {
        let keys = || (0..KEYS).map(key_bytes).filter(|key| is_unwanted(key));
        let unseen = |key: &&[u8]| REMOVES.filter_key(key) == Some(FilterDecision::Remove);
        let (some, all) = (keys().filter(unseen).count(), keys().count());
        assert!(some > 10 && some < all && all < usize::from(KEYS), "{some} of {all}");
        assert!(keys().all(|key| REMOVES.filter(key, b"") == FilterDecision::Remove));
    }
}
