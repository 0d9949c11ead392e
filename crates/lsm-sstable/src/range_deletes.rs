//! The section that holds a table's range deletes: few, so they are held in memory as they are.
//!
//! Encoded one behind the other: sequence number 8 bytes, then the lower and the upper bound, each
//! behind its length as a variable-length number. They are in ascending order of their lower bound.

use lsm_entry::{MAX_SEQ_NO, SeqNo};
use lsm_io::Malformed;
use lsm_io::bytes::{ByteReader, put_slice, put_u64};

/// Every key from `lower` (inclusive) to `upper` (exclusive) that was written before `seq_no` is
/// gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RangeDelete {
    /// The first key that is gone.
    pub lower: Vec<u8>,
    /// The first key that is not.
    pub upper: Vec<u8>,
    /// When it was written.
    pub seq_no: SeqNo,
}

pub(crate) fn encode(range_deletes: &[RangeDelete]) -> Vec<u8> {
    let mut out = Vec::new();
    for RangeDelete { lower, upper, seq_no } in range_deletes {
        put_u64(&mut out, *seq_no);
        put_slice(&mut out, lower);
        put_slice(&mut out, upper);
    }
    out
}

pub(crate) fn decode(section: &[u8]) -> Result<Vec<RangeDelete>, Malformed> {
    let mut reader = ByteReader::new(section);
    let mut range_deletes: Vec<RangeDelete> = Vec::new();
    while !reader.is_empty() {
        let seq_no = reader.u64()?;
        let (lower, upper) = (reader.len_slice()?.to_vec(), reader.len_slice()?.to_vec());
        if seq_no > MAX_SEQ_NO || lower >= upper {
            return Err(reader.malformed("a range delete covers nothing"));
        }
        let range_delete = RangeDelete { lower, upper, seq_no };
        if range_deletes.last().is_some_and(|last| *last >= range_delete) {
            return Err(reader.malformed("range deletes are out of order"));
        }
        range_deletes.push(range_delete);
    }
    Ok(range_deletes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range_delete(lower: &str, upper: &str, seq_no: SeqNo) -> RangeDelete {
        RangeDelete { lower: lower.into(), upper: upper.into(), seq_no }
    }

    #[test]
    fn range_deletes_are_read_back_in_order() {
        let written =
            [range_delete("a", "c", 9), range_delete("a", "d", 2), range_delete("b", "c", 3)];
        assert_eq!(decode(&encode(&written)).as_deref(), Ok(&written[..]));
        assert_eq!(decode(&[]), Ok(Vec::new()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(decode(&encode(&[range_delete("c", "c", 1)])).is_err(), "covers nothing");
        assert!(decode(&encode(&[range_delete("a", "c", 1 << 56)])).is_err(), "no such number");
        let unordered = [range_delete("b", "c", 1), range_delete("a", "c", 1)];
        assert!(decode(&encode(&unordered)).is_err(), "out of order");
        let encoded = encode(&[range_delete("a", "c", 1)]);
        for cut in 1..encoded.len() {
            assert!(decode(&encoded[..cut]).is_err(), "cut at {cut}");
        }
    }
}
