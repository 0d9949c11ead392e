//! The section that holds a table's range deletes: few, so they are held in memory as they are.
//!
//! They are stored as *fragments*, cut at each other's bounds, so that reading them back costs what
//! is read, whatever a hostile file says. Encoded one behind the other: sequence number 8 bytes, then
//! the lower and the upper bound, each behind its length as a variable-length number. Fragments are
//! disjoint and ascend; of one fragment the newest number comes first.

use lsm_entry::{Fragments, MAX_KEY_BYTES, MAX_SEQ_NO};
use lsm_io::Malformed;
use lsm_io::bytes::{ByteReader, put_slice, put_u64};

pub use lsm_entry::RangeDelete;

/// The longest bound: what [follows](lsm_entry::bound_after) the longest key.
pub(crate) const BOUND_BYTES_MAX: usize = MAX_KEY_BYTES + 1;

pub(crate) fn encode(range_deletes: &Fragments) -> Vec<u8> {
    let mut out = Vec::new();
    for fragment in range_deletes.iter() {
        for seq_no in fragment.seq_nos() {
            put_u64(&mut out, *seq_no);
            put_slice(&mut out, fragment.lower());
            put_slice(&mut out, fragment.upper());
        }
    }
    out
}

pub(crate) fn decode(section: &[u8]) -> Result<Fragments, Malformed> {
    let mut reader = ByteReader::new(section);
    let mut range_deletes = Fragments::default();
    while !reader.is_empty() {
        let seq_no = reader.u64()?;
        let (lower, upper) = (reader.len_slice()?, reader.len_slice()?);
        if seq_no > MAX_SEQ_NO || lower >= upper {
            return Err(reader.malformed("a range delete covers nothing"));
        }
        if upper.len() > BOUND_BYTES_MAX || lower.len() > BOUND_BYTES_MAX {
            return Err(reader.malformed("a range delete's bound is longer than any may be"));
        }
        if !range_deletes.push(lower, upper, seq_no) {
            return Err(reader.malformed("range deletes are out of order"));
        }
    }
    Ok(range_deletes)
}

#[cfg(test)]
mod tests {
    use lsm_entry::SeqNo;

    use super::*;

    fn fragments(range_deletes: &[(&str, &str, SeqNo)]) -> Fragments {
        let owned = range_deletes.iter().map(|(lower, upper, seq_no)| RangeDelete {
            lower: lower.as_bytes().to_vec(),
            upper: upper.as_bytes().to_vec(),
            seq_no: *seq_no,
        });
        owned.collect()
    }

    fn raw(range_deletes: &[(&str, &str, SeqNo)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (lower, upper, seq_no) in range_deletes {
            put_u64(&mut out, *seq_no);
            put_slice(&mut out, lower.as_bytes());
            put_slice(&mut out, upper.as_bytes());
        }
        out
    }

    #[test]
    fn range_deletes_are_read_back_cut_at_each_others_bounds() {
        let written = fragments(&[("a", "c", 9), ("a", "d", 2), ("b", "c", 3), ("x", "y", 1)]);
        assert_eq!(decode(&encode(&written)).as_ref(), Ok(&written));
        assert_eq!(decode(&[]), Ok(Fragments::default()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(decode(&raw(&[("c", "c", 1)])).is_err(), "covers nothing");
        assert!(decode(&raw(&[("c", "", 1)])).is_err(), "has no end");
        assert!(decode(&raw(&[("a", "c", 1 << 56)])).is_err(), "no such number");
        assert!(decode(&raw(&[("b", "c", 1), ("a", "b", 1)])).is_err(), "out of order");
        assert!(decode(&raw(&[("a", "c", 2), ("b", "d", 1)])).is_err(), "not cut");
        assert!(decode(&raw(&[("a", "c", 1), ("a", "c", 2)])).is_err(), "older before newer");
        let encoded = raw(&[("a", "c", 1)]);
        for cut in 1..encoded.len() {
            assert!(decode(&encoded[..cut]).is_err(), "cut at {cut}");
        }
    }
}
