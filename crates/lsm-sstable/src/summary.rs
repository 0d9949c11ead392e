//! Counting what goes into a table, and what is told of it afterwards.

use std::collections::BTreeMap;

use lsm_entry::{BlobShare, Entry, Expiring, Fragment, MAX_SEQ_NO, SeqNo, last_key_below};

use crate::TableProperties;

/// What a table turned out to be: the numbers by which a manifest knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSummary {
    /// Length of the file.
    pub bytes: u64,
    /// XXH3 of the whole file.
    pub checksum: u64,
    /// Smallest user key, range deletes included.
    pub lower: Vec<u8>,
    /// Largest user key (inclusive), range deletes included: of a range delete the last key below its
    /// upper bound where there is one, else that bound.
    pub upper: Vec<u8>,
    /// Smallest sequence number in it; 0 if it is empty.
    pub seq_no_min: SeqNo,
    /// Largest sequence number in it; 0 if it is empty.
    pub seq_no_max: SeqNo,
    /// How many entries it holds, range deletes not counted.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// How many range deletes it holds, cut at each other's bounds.
    pub range_deletes: u64,
    /// Most tombstones found in any stretch of 128 entries.
    pub densest_tombstones: u32,
    /// Key and value bytes before encoding and compression.
    pub raw_bytes: u64,
    /// Earliest expiry of an entry in milliseconds since 1970; `None` if nothing expires.
    pub expiry_min_ms: Option<u64>,
    /// Latest expiry; `None` if some entry never expires, or there are none.
    pub expiry_max_ms: Option<u64>,
    /// Of which entries `expiry_min_ms` tells, where others stay; `None` as well in a table of an earlier
    /// writer, which did not count them.
    pub expiring: Option<Expiring>,
    /// To how much of which blob files its entries refer, by file number.
    pub blobs: Vec<BlobShare>,
}

impl TableSummary {
    /// What is to be known of a table whose properties were read, and whose file has so many bytes and
    /// this checksum.
    pub fn new(bytes: u64, checksum: u64, properties: &TableProperties) -> Self {
        Self {
            bytes,
            checksum,
            lower: properties.lower.clone(),
            upper: properties.upper.clone(),
            seq_no_min: properties.seq_no_min,
            seq_no_max: properties.seq_no_max,
            entries: properties.entries,
            tombstones: properties.tombstones,
            range_deletes: properties.range_deletes,
            densest_tombstones: properties.densest_tombstones,
            raw_bytes: properties.raw_bytes,
            expiry_min_ms: properties.expiry_min_ms,
            expiry_max_ms: properties.expiry_max_ms,
            expiring: properties.expiring,
            blobs: properties.blobs.clone(),
        }
    }
}

/// Counts entries as they are written.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    entries: u64,
    tombstones: u64,
    range_deletes: u64,
    /// Whether each of the last 128 entries was a tombstone, the last one in bit 0.
    recent_tombstones: u128,
    densest_tombstones: u32,
    raw_bytes: u64,
    largest_entry_bytes: u64,
    seq_no_min: SeqNo,
    seq_no_max: SeqNo,
    expiry_min_ms: u64,
    expiry_max_ms: u64,
    expiring: Expiring,
    first_key: Vec<u8>,
    /// Smallest and largest bound of the range deletes.
    range_bounds: Option<(Vec<u8>, Vec<u8>)>,
    blobs: BlobTally,
}

/// Counts to which blob files entries refer.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlobTally(BTreeMap<u64, BlobShare>);

impl BlobTally {
    #[inline]
    pub(crate) fn count(&mut self, entry: &Entry<'_>) {
        // What is no reference is told by whoever follows it.
        if let Some(Some(place)) = entry.blob() {
            let share = self.0.entry(place.file).or_default();
            share.file = place.file;
            share.values += 1;
            share.value_bytes += u64::from(place.bytes);
        }
    }

    /// By file number.
    pub(crate) fn into_shares(self) -> Vec<BlobShare> {
        self.0.into_values().collect()
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            entries: 0,
            tombstones: 0,
            range_deletes: 0,
            recent_tombstones: 0,
            densest_tombstones: 0,
            raw_bytes: 0,
            largest_entry_bytes: 0,
            seq_no_min: MAX_SEQ_NO,
            seq_no_max: 0,
            expiry_min_ms: u64::MAX,
            expiry_max_ms: 0,
            expiring: Expiring::default(),
            first_key: Vec::new(),
            range_bounds: None,
            blobs: BlobTally::default(),
        }
    }
}

impl Tally {
    #[inline]
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// Counts the next entry.
    #[inline]
    pub(crate) fn count(&mut self, entry: &Entry<'_>) {
        if self.entries == 0 {
            self.first_key.extend_from_slice(entry.key);
        }
        self.entries += 1;
        self.recent_tombstones <<= 1;
        if entry.tag.is_tombstone() {
            self.tombstones += 1;
            self.recent_tombstones |= 1;
            let recent = self.recent_tombstones.count_ones();
            self.densest_tombstones = self.densest_tombstones.max(recent);
        }
        let bytes = (entry.key.len() + entry.value.len()) as u64;
        self.raw_bytes += bytes;
        self.largest_entry_bytes = self.largest_entry_bytes.max(bytes);
        self.seq_no_min = self.seq_no_min.min(entry.seq_no);
        self.seq_no_max = self.seq_no_max.max(entry.seq_no);
        let expiry_ms = entry.expires_at_ms().unwrap_or(u64::MAX);
        self.expiry_min_ms = self.expiry_min_ms.min(expiry_ms);
        self.expiry_max_ms = self.expiry_max_ms.max(expiry_ms);
        self.expiring.count(entry);
        self.blobs.count(entry);
    }

    /// Counts range deletes, by fragments that ascend; after all entries.
    pub(crate) fn count_range_deletes(&mut self, fragment: &Fragment) {
        let (lower, upper) = (fragment.lower(), fragment.upper());
        for &seq_no in fragment.seq_nos() {
            self.range_deletes += 1;
            self.raw_bytes += (lower.len() + upper.len()) as u64;
            self.seq_no_min = self.seq_no_min.min(seq_no);
            self.seq_no_max = self.seq_no_max.max(seq_no);
        }
        let largest = last_key_below(upper).to_vec();
        match &mut self.range_bounds {
            None => self.range_bounds = Some((lower.to_vec(), largest)),
            Some((_, end)) => *end = largest,
        }
    }

    /// What was counted, with `last_key` as that of the last entry.
    pub(crate) fn into_properties(self, last_key: &[u8]) -> TableProperties {
        let is_empty = self.entries == 0;
        let of_entries = (!is_empty).then(|| (self.first_key, last_key.to_vec()));
        let (lower, upper) = match (of_entries, self.range_bounds) {
            (Some((lower, upper)), Some((smallest, largest))) => {
                (lower.min(smallest), upper.max(largest))
            }
            (Some(bounds), None) | (None, Some(bounds)) => bounds,
            (None, None) => Default::default(),
        };
        let expires = |expiry_ms: u64| (!is_empty && expiry_ms != u64::MAX).then_some(expiry_ms);
        TableProperties {
            entries: self.entries,
            tombstones: self.tombstones,
            range_deletes: self.range_deletes,
            densest_tombstones: self.densest_tombstones,
            lower,
            upper,
            seq_no_min: self.seq_no_min.min(self.seq_no_max),
            seq_no_max: self.seq_no_max,
            expiry_min_ms: expires(self.expiry_min_ms),
            expiry_max_ms: expires(self.expiry_max_ms),
            expiring: self.expiring.in_part(self.entries),
            raw_bytes: self.raw_bytes,
            largest_entry_bytes: self.largest_entry_bytes,
            blobs: self.blobs.into_shares(),
            ..TableProperties::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use lsm_entry::Fragments;

    use super::*;

    #[test]
    fn the_densest_stretch_is_found_wherever_it_is() {
        let mut tally = Tally::default();
        let is_tombstone = |n: u32| n.is_multiple_of(100) || (300..350).contains(&n);
        for n in 0..1000_u32 {
            let key = n.to_be_bytes();
            let entry =
                if is_tombstone(n) { Entry::delete(&key, 1) } else { Entry::put(&key, 1, b"") };
            tally.count(&entry);
        }
        let stretch = |from: u32| (from..from + 128).filter(|n| is_tombstone(*n)).count();
        let expected = (0..1000 - 128).map(stretch).max();
        assert_eq!(Some(tally.densest_tombstones as usize), expected);
    }

    #[test]
    fn bounds_include_range_deletes() {
        let mut tally = Tally::default();
        tally.count(&Entry::put(b"f", 5, b"value"));
        let mut fragments = Fragments::default();
        for (lower, upper, seq_no) in [("a", "c", 9), ("c", "z", 2)] {
            assert!(fragments.push(lower.as_bytes(), upper.as_bytes(), seq_no));
        }
        fragments.iter().for_each(|fragment| tally.count_range_deletes(fragment));
        let properties = tally.into_properties(b"f");
        assert_eq!(
            (properties.lower.as_slice(), properties.upper.as_slice()),
            (&b"a"[..], &b"z"[..])
        );
        assert_eq!(properties.seq_nos(), 2..=9);
        assert_eq!(properties.range_deletes, 2);
        assert_eq!(properties.expiry_max_ms, None);
    }
}
