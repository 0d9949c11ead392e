//! The section that tells what a table holds, for policies, for people and for repair.
//!
//! Encoded as fields one behind the other: the field's number (1 byte), its length (variable),
//! its value. Numbers ascend; a reader passes over those it does not know, so that fields can be
//! added without a new format version.

use std::ops::RangeInclusive;

use lsm_entry::{BlobShare, Expiring, MAX_SEQ_NO, SeqNo};
use lsm_io::Malformed;
use lsm_io::bytes::{ByteReader, put_slice, put_varint};

use crate::{Origin, TableInfo};

/// What a table says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableProperties {
    /// Where it comes from: keyspace, origin, inputs, time.
    pub info: TableInfo,
    /// How many entries it holds, range deletes not counted.
    pub entries: u64,
    /// How many of them are tombstones.
    pub tombstones: u64,
    /// How many range deletes it holds, cut at each other's bounds.
    pub range_deletes: u64,
    /// Most tombstones found in any stretch of 128 entries.
    pub densest_tombstones: u32,
    /// Smallest user key, range deletes included.
    pub lower: Vec<u8>,
    /// Largest user key (inclusive), range deletes included: of a range delete the last key below its
    /// upper bound where there is one, else that bound.
    pub upper: Vec<u8>,
    /// Smallest sequence number in it; 0 if it is empty.
    pub seq_no_min: SeqNo,
    /// Largest sequence number in it; 0 if it is empty.
    pub seq_no_max: SeqNo,
    /// Earliest expiry of an entry in milliseconds since 1970; `None` if nothing expires.
    pub expiry_min_ms: Option<u64>,
    /// Latest expiry; `None` if some entry never expires, or there are none.
    pub expiry_max_ms: Option<u64>,
    /// Of which entries `expiry_min_ms` tells, where others stay; `None` as well in a table of an earlier
    /// writer, which did not count them.
    pub expiring: Option<Expiring>,
    /// Key and value bytes before encoding and compression.
    pub raw_bytes: u64,
    /// Bytes of the blocks as they are stored, checksums and padding included.
    pub stored_bytes: u64,
    /// Key and value bytes of the largest entry: a bound on what a block may decode to.
    pub largest_entry_bytes: u64,
    /// How many blocks there are.
    pub blocks: u64,
    /// The block length that was aimed at.
    pub block_bytes: u64,
    /// The compression that was asked for: "none", "lz4", "zstd(1)".
    pub compression: String,
    /// Bits of the filter for each key; `None` if there is no filter.
    pub filter_bits_per_key: Option<f32>,
    /// To how much of which blob files its entries refer, by file number.
    pub blobs: Vec<BlobShare>,
}

/// The numbers of the fields, for ever.
mod field {
    pub(super) const KEYSPACE_ID: u8 = 1;
    pub(super) const KEYSPACE_NAME: u8 = 2;
    pub(super) const ORIGIN: u8 = 3;
    pub(super) const MADE_FROM: u8 = 4;
    pub(super) const CREATED_MS: u8 = 5;
    pub(super) const ENTRIES: u8 = 6;
    pub(super) const TOMBSTONES: u8 = 7;
    pub(super) const RANGE_DELETES: u8 = 8;
    pub(super) const DENSEST_TOMBSTONES: u8 = 9;
    pub(super) const LOWER: u8 = 10;
    pub(super) const UPPER: u8 = 11;
    pub(super) const SEQ_NO_MIN: u8 = 12;
    pub(super) const SEQ_NO_MAX: u8 = 13;
    pub(super) const EXPIRY_MIN_MS: u8 = 14;
    pub(super) const EXPIRY_MAX_MS: u8 = 15;
    pub(super) const RAW_BYTES: u8 = 16;
    pub(super) const STORED_BYTES: u8 = 17;
    pub(super) const LARGEST_ENTRY_BYTES: u8 = 18;
    pub(super) const BLOCKS: u8 = 19;
    pub(super) const BLOCK_BYTES: u8 = 20;
    pub(super) const COMPRESSION: u8 = 21;
    pub(super) const FILTER_BITS_PER_KEY: u8 = 22;
    pub(super) const ANCESTORS: u8 = 23;
    pub(super) const BLOBS: u8 = 24;
    pub(super) const EXPIRING: u8 = 25;
}

impl TableProperties {
    /// The sequence numbers that occur.
    pub fn seq_nos(&self) -> RangeInclusive<SeqNo> {
        self.seq_no_min..=self.seq_no_max
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let info = &self.info;
        put_number(&mut out, field::KEYSPACE_ID, u64::from(info.keyspace_id));
        put_bytes(&mut out, field::KEYSPACE_NAME, info.keyspace_name.as_bytes());
        put_number(&mut out, field::ORIGIN, info.origin as u64);
        put_numbers(&mut out, field::MADE_FROM, &info.made_from);
        put_number(&mut out, field::CREATED_MS, info.created_ms);
        put_number(&mut out, field::ENTRIES, self.entries);
        put_number(&mut out, field::TOMBSTONES, self.tombstones);
        put_number(&mut out, field::RANGE_DELETES, self.range_deletes);
        put_number(&mut out, field::DENSEST_TOMBSTONES, u64::from(self.densest_tombstones));
        put_bytes(&mut out, field::LOWER, &self.lower);
        put_bytes(&mut out, field::UPPER, &self.upper);
        put_number(&mut out, field::SEQ_NO_MIN, self.seq_no_min);
        put_number(&mut out, field::SEQ_NO_MAX, self.seq_no_max);
        if let Some(expiry_ms) = self.expiry_min_ms {
            put_number(&mut out, field::EXPIRY_MIN_MS, expiry_ms);
        }
        if let Some(expiry_ms) = self.expiry_max_ms {
            put_number(&mut out, field::EXPIRY_MAX_MS, expiry_ms);
        }
        put_number(&mut out, field::RAW_BYTES, self.raw_bytes);
        put_number(&mut out, field::STORED_BYTES, self.stored_bytes);
        put_number(&mut out, field::LARGEST_ENTRY_BYTES, self.largest_entry_bytes);
        put_number(&mut out, field::BLOCKS, self.blocks);
        put_number(&mut out, field::BLOCK_BYTES, self.block_bytes);
        put_bytes(&mut out, field::COMPRESSION, self.compression.as_bytes());
        if let Some(bits) = self.filter_bits_per_key {
            put_bytes(&mut out, field::FILTER_BITS_PER_KEY, &bits.to_le_bytes());
        }
        if !info.ancestors.is_empty() {
            put_numbers(&mut out, field::ANCESTORS, &info.ancestors);
        }
        if !self.blobs.is_empty() {
            let numbers = self.blobs.iter().flat_map(|s| [s.file, s.values, s.value_bytes]);
            put_numbers(&mut out, field::BLOBS, &numbers.collect::<Vec<_>>());
        }
        if let Some(Expiring { entries, bytes, last_ms }) = self.expiring {
            put_numbers(&mut out, field::EXPIRING, &[entries, bytes, last_ms]);
        }
        out
    }

    pub(crate) fn decode(section: &[u8]) -> Result<Self, Malformed> {
        let mut properties = Self::default();
        let mut reader = ByteReader::new(section);
        let mut last = 0;
        while !reader.is_empty() {
            let offset = reader.offset();
            let number = reader.u8()?;
            if number <= last {
                return Err(Malformed { offset, reason: "properties are out of order" });
            }
            last = number;
            let value = reader.len_slice()?;
            properties.set(number, value).map_err(|malformed| Malformed { offset, ..malformed })?;
        }
        if last < field::COMPRESSION {
            return Err(reader.malformed("properties are incomplete"));
        }
        if properties.seq_no_max > MAX_SEQ_NO || properties.seq_no_min > properties.seq_no_max {
            return Err(reader.malformed("properties hold no range of sequence numbers"));
        }
        Ok(properties)
    }

    fn set(&mut self, number: u8, value: &[u8]) -> Result<(), Malformed> {
        match number {
            field::KEYSPACE_ID => self.info.keyspace_id = u32_of(value)?,
            field::KEYSPACE_NAME => self.info.keyspace_name = text_of(value)?,
            field::ORIGIN => {
                self.info.origin = u8::try_from(number_of(value)?)
                    .ok()
                    .and_then(Origin::from_byte)
                    .ok_or(Malformed { offset: 0, reason: "table is of an unknown origin" })?;
            }
            field::MADE_FROM => self.info.made_from = numbers_of(value)?,
            field::ANCESTORS => self.info.ancestors = numbers_of(value)?,
            field::BLOBS => self.blobs = shares_of(value)?,
            field::CREATED_MS => self.info.created_ms = number_of(value)?,
            field::ENTRIES => self.entries = number_of(value)?,
            field::TOMBSTONES => self.tombstones = number_of(value)?,
            field::RANGE_DELETES => self.range_deletes = number_of(value)?,
            field::DENSEST_TOMBSTONES => self.densest_tombstones = u32_of(value)?,
            field::LOWER => self.lower = value.to_vec(),
            field::UPPER => self.upper = value.to_vec(),
            field::SEQ_NO_MIN => self.seq_no_min = number_of(value)?,
            field::SEQ_NO_MAX => self.seq_no_max = number_of(value)?,
            field::EXPIRY_MIN_MS => self.expiry_min_ms = Some(number_of(value)?),
            field::EXPIRY_MAX_MS => self.expiry_max_ms = Some(number_of(value)?),
            field::EXPIRING => self.expiring = Some(expiring_of(value)?),
            field::RAW_BYTES => self.raw_bytes = number_of(value)?,
            field::STORED_BYTES => self.stored_bytes = number_of(value)?,
            field::LARGEST_ENTRY_BYTES => self.largest_entry_bytes = number_of(value)?,
            field::BLOCKS => self.blocks = number_of(value)?,
            field::BLOCK_BYTES => self.block_bytes = number_of(value)?,
            field::COMPRESSION => self.compression = text_of(value)?,
            field::FILTER_BITS_PER_KEY => {
                self.filter_bits_per_key =
                    Some(f32::from_le_bytes(ByteReader::new(value).array()?));
            }
            _ => {}
        }
        Ok(())
    }
}

fn put_bytes(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    out.push(number);
    put_slice(out, value);
}

fn put_number(out: &mut Vec<u8>, number: u8, value: u64) {
    let mut encoded = Vec::with_capacity(10);
    put_varint(&mut encoded, value);
    put_bytes(out, number, &encoded);
}

fn put_numbers(out: &mut Vec<u8>, field: u8, numbers: &[u64]) {
    let mut encoded = Vec::new();
    numbers.iter().for_each(|number| put_varint(&mut encoded, *number));
    put_bytes(out, field, &encoded);
}

fn numbers_of(value: &[u8]) -> Result<Vec<u64>, Malformed> {
    let mut reader = ByteReader::new(value);
    let mut numbers = Vec::new();
    while !reader.is_empty() {
        numbers.push(reader.varint()?);
    }
    Ok(numbers)
}

fn shares_of(value: &[u8]) -> Result<Vec<BlobShare>, Malformed> {
    let numbers = numbers_of(value)?;
    let (shares, []) = numbers.as_chunks::<3>() else {
        return Err(Malformed { offset: 0, reason: "shares of blob files are cut off" });
    };
    let share = |&[file, values, value_bytes]: &[u64; 3]| BlobShare { file, values, value_bytes };
    let shares: Vec<BlobShare> = shares.iter().map(share).collect();
    if !shares.is_sorted_by(|one, next| one.file < next.file) {
        return Err(Malformed { offset: 0, reason: "shares of blob files are out of order" });
    }
    Ok(shares)
}

fn expiring_of(value: &[u8]) -> Result<Expiring, Malformed> {
    match numbers_of(value)?[..] {
        [entries, bytes, last_ms] => Ok(Expiring { entries, bytes, last_ms }),
        _ => Err(Malformed { offset: 0, reason: "the count of what expires is cut off" }),
    }
}

fn number_of(value: &[u8]) -> Result<u64, Malformed> {
    let mut reader = ByteReader::new(value);
    let number = reader.varint()?;
    reader.expect_end("property is longer than its number")?;
    Ok(number)
}

fn u32_of(value: &[u8]) -> Result<u32, Malformed> {
    u32::try_from(number_of(value)?)
        .map_err(|_| Malformed { offset: 0, reason: "property does not fit in 32 bits" })
}

fn text_of(value: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(value.to_vec())
        .map_err(|_| Malformed { offset: 0, reason: "property is not text" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties() -> TableProperties {
        TableProperties {
            info: TableInfo {
                keyspace_id: 3,
                keyspace_name: "users".into(),
                origin: Origin::Compaction,
                made_from: vec![4, 1000],
                ancestors: vec![3],
                created_ms: 1_700_000_000_000,
            },
            entries: 10,
            tombstones: 2,
            range_deletes: 1,
            densest_tombstones: 2,
            lower: b"a".to_vec(),
            upper: b"z".to_vec(),
            seq_no_min: 5,
            seq_no_max: 99,
            expiry_min_ms: Some(17),
            expiry_max_ms: None,
            expiring: Some(Expiring { entries: 2, bytes: 90, last_ms: 18 }),
            raw_bytes: 1000,
            stored_bytes: 900,
            largest_entry_bytes: 300,
            blocks: 3,
            block_bytes: 4096,
            compression: "lz4".into(),
            filter_bits_per_key: Some(10.0),
            blobs: vec![
                BlobShare { file: 7, values: 1, value_bytes: 4096 },
                BlobShare { file: 12, values: 2, value_bytes: 10_000 },
            ],
        }
    }

    #[test]
    fn properties_are_read_back() {
        let encoded = properties().encode();
        assert_eq!(TableProperties::decode(&encoded), Ok(properties()));
        for cut in 0..encoded.len() {
            let shorter = TableProperties::decode(&encoded[..cut]);
            assert!(shorter.as_ref() != Ok(&properties()), "cut at {cut}");
        }
    }

    #[test]
    fn fields_of_the_future_are_passed_over() {
        let mut encoded = properties().encode();
        put_bytes(&mut encoded, 200, b"what it means is not known yet");
        assert_eq!(TableProperties::decode(&encoded), Ok(properties()));
        put_number(&mut encoded, 7, 1);
        let refusal = TableProperties::decode(&encoded).expect_err("refused");
        assert_eq!(refusal.reason, "properties are out of order");
    }
}
