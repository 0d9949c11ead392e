//! The data set, and what should be in the database: both are held against what is.

use std::collections::BTreeMap;

use lsm_engine::{Keyspace, Reads};

use crate::exit::{Exit, Failure};
use crate::format::BytesFormat;

/// `U+0041<TAB>LATIN CAPITAL LETTER A; Lu`, a line a character. Source and licence: data/README.md
const UNICODE_NAMES: &str = include_str!("../../../data/unicode-names.tsv");

/// The names of Unicode's characters, in the order of their code points.
#[derive(Clone, Debug)]
pub(super) struct Source {
    records: Vec<Record>,
}

/// A character.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    code_point: &'static str,
    description: &'static str,
}

impl Record {
    /// "U+0041".
    pub(super) fn key(self) -> &'static str {
        self.code_point
    }

    /// "LATIN CAPITAL LETTER A; Lu".
    pub(super) fn value(self) -> &'static str {
        self.description
    }

    /// "LATIN CAPITAL LETTER A".
    pub(super) fn name(self) -> &'static str {
        self.description.rsplit_once("; ").map_or(self.description, |(name, _)| name)
    }

    /// "Lu".
    pub(super) fn category(self) -> &'static str {
        self.description.rsplit_once("; ").map_or("", |(_, category)| category)
    }
}

impl Source {
    /// The first records of the set.
    pub(super) fn first(records: usize) -> Self {
        let parsed = UNICODE_NAMES.lines().filter_map(|line| {
            let (code_point, description) = line.split_once('\t')?;
            Some(Record { code_point, description })
        });
        Self { records: parsed.take(records).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// Key and value bytes of the whole index from names to code points.
    pub(super) fn index_bytes(&self) -> u64 {
        let bytes = |record: &Record| (record.name().len() + record.key().len()) as u64;
        self.records.iter().map(bytes).sum()
    }

    /// Checks that the index holds the first records of the source, whichever number of them, and
    /// nothing else; returns that number.
    ///
    /// # Errors
    /// `Corrupt` if there is a gap, a wrong value or a record too many.
    pub(super) fn compare_index(&self, index: &Keyspace) -> Result<u64, Failure> {
        let mut stored = BTreeMap::new();
        for entry in index.iter() {
            let (name, code_point) = entry?;
            stored.insert(name.to_vec(), code_point.to_vec());
        }
        for record in &self.records[..stored.len().min(self.records.len())] {
            if stored.get(record.name().as_bytes()).map(Vec::as_slice)
                != Some(record.key().as_bytes())
            {
                return Err(wrong(record.name().as_bytes(), "is not the record that was written"));
            }
        }
        if stored.len() > self.records.len() {
            return Err(Failure::new(Exit::Corrupt, "there are more records than were written"));
        }
        Ok(stored.len() as u64)
    }
}

/// What should be in a keyspace.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    records: BTreeMap<String, String>,
}

impl Plan {
    pub(super) fn put(&mut self, key: &str, value: &str) {
        self.records.insert(key.to_owned(), value.to_owned());
    }

    pub(super) fn delete(&mut self, key: &str) {
        self.records.remove(key);
    }

    /// Key and value bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.records.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
    }

    /// Checks that a scan finds exactly this; returns how many records there are.
    ///
    /// # Errors
    /// `Corrupt` naming the first record that is missing, wrong or too many.
    pub(super) fn compare(&self, reads: &impl Reads) -> Result<u64, Failure> {
        let mut expected = self.records.iter();
        for entry in reads.iter() {
            let (key, value) = entry?;
            match expected.next() {
                Some((wanted, is)) if key == wanted.as_str() && value == is.as_str() => {}
                Some((wanted, _)) if key.as_bytes() > wanted.as_bytes() => {
                    return Err(wrong(wanted.as_bytes(), "is missing"));
                }
                _ => return Err(wrong(&key, "is not as it was written")),
            }
        }
        match expected.next() {
            Some((wanted, _)) => Err(wrong(wanted.as_bytes(), "is missing")),
            None => Ok(self.records.len() as u64),
        }
    }
}

fn wrong(key: &[u8], what: &str) -> Failure {
    let key = BytesFormat::default().show(key);
    Failure::new(Exit::Corrupt, format!("the demo found something wrong: \"{key}\" {what}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_data_set_is_whole_and_its_names_are_distinct() {
        let source = Source::first(usize::MAX);
        assert_eq!(source.len(), 34_823);
        let names: HashSet<_> = source.records().iter().map(|record| record.name()).collect();
        assert_eq!(names.len(), source.len());
        let first = source.records()[0];
        assert_eq!((first.key(), first.name(), first.category()), ("U+0020", "SPACE", "Zs"));
    }
}
