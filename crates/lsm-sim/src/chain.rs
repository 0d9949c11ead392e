//! Merging in histories: each operand makes of a value another one, and the order matters.
//!
//! The value's bytes and the operand's number are hashed together to the number of the next value:
//! so a model keeps a number for each key, and whatever is merged twice, not at all, in another order
//! or with another base shows. Several operands in a row are their bytes in a row, which the operator
//! combines now and then, and now and then does not: what is stored takes every shape.

use lsm_engine::{MergeOperator, Operator};

use crate::data::{Held, NEVER_MS, OPERANDS, value_bytes};
use crate::sieve::unmarked;

/// The operator of every keyspace in a history.
pub fn operator() -> Operator {
    Operator::new(Chain)
}

/// Whether a write's number is that of an operand.
pub fn is_operand(number: u32) -> bool {
    number >= OPERANDS
}

/// An operand as it is written.
pub fn operand_bytes(operand: u32) -> [u8; 4] {
    operand.to_le_bytes()
}

/// What a write leaves. An operand has no expiry of its own: what it was merged with keeps its own, and
/// once that has expired the operand is merged with nothing.
pub fn written(before: Option<Held>, write: Option<Held>) -> Option<Held> {
    let operand = write.map(|write| write.value).filter(|number| is_operand(*number));
    let Some(operand) = operand else { return write };
    let merge = |number: Option<u32>| merged(number.map(value_bytes).as_deref(), operand);
    Some(match before {
        None => Held { value: merge(None), expires_at_ms: NEVER_MS, later: None },
        Some(held) => Held {
            value: merge(Some(held.value)),
            later: (held.expires_at_ms < NEVER_MS).then(|| merge(held.later)),
            ..held
        },
    })
}

/// The number of the value that an operand makes of bytes, filtered or not.
pub fn merged(base: Option<&[u8]>, operand: u32) -> u32 {
    let base = base.map(unmarked);
    let mut hash: u64 = if base.is_some() { 0xCBF2_9CE4_8422_2325 } else { 0x9E37_79B9_7F4A_7C15 };
    for byte in base.unwrap_or_default().iter().chain(&operand.to_le_bytes()) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
    }
    ((hash ^ hash >> 32).wrapping_mul(0x9E37_79B9) >> 16) as u32 % OPERANDS
}

struct Chain;

impl MergeOperator for Chain {
    fn name(&self) -> &str {
        "chain"
    }

    fn merge(
        &self,
        key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, String> {
        let mut value = base.map(<[u8]>::to_vec);
        for operand in operands {
            self.check(key, operand)?;
            for number in operand.chunks_exact(4).filter_map(|chunk| chunk.try_into().ok()) {
                value = Some(value_bytes(merged(value.as_deref(), u32::from_le_bytes(number))));
            }
        }
        value.ok_or_else(|| "there is no operand".to_owned())
    }

    fn combine(&self, _key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        let first = operands.first()?.first()?;
        first.is_multiple_of(2).then(|| operands.concat())
    }

    fn check(&self, _key: &[u8], operand: &[u8]) -> Result<(), String> {
        if !operand.is_empty() && operand.len().is_multiple_of(4) {
            return Ok(());
        }
        Err(format!("{} bytes are no operands", operand.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(value: u32) -> Option<Held> {
        Some(Held { value, expires_at_ms: NEVER_MS, later: None })
    }

    #[test]
    fn the_order_of_operands_and_their_base_matter() {
        let (one, other) = (held(OPERANDS + 1), held(OPERANDS + 2));
        let both = |first, second| written(written(held(7), first), second);
        assert_ne!(both(one, other), both(other, one));
        assert_ne!(written(None, one), written(held(7), one));
        assert_ne!(written(None, one), written(held(0), one), "no value, and an empty one");
    }

    #[test]
    fn operands_outlive_the_value_that_they_were_merged_with() {
        let (one, other) = (held(OPERANDS + 1), held(OPERANDS + 2));
        let dying = Some(Held { value: 7, expires_at_ms: 1000, later: None });
        let merged = written(written(dying, one), other).expect("a value");
        let at = |held: Option<Held>, time_ms| held.and_then(|held| held.at(time_ms));
        assert_eq!(merged.at(999), at(written(written(held(7), one), other), 999));
        assert_eq!(merged.at(1000), at(written(written(None, one), other), 1000));
    }

    #[test]
    fn the_engine_merges_as_the_model_does() {
        let operands = [OPERANDS + 4, OPERANDS + 9, OPERANDS + 16];
        let expected = operands.iter().fold(held(7), |value, it| written(value, held(*it)));
        let expected = value_bytes(expected.expect("a value").value);
        let bytes = operands.map(operand_bytes);
        let bytes = bytes.each_ref().map(|operand| &operand[..]);
        let found = Chain.merge(b"key", Some(&value_bytes(7)), &bytes);
        assert_eq!(found.as_ref(), Ok(&expected));
        let combined = Chain.combine(b"key", &bytes).expect("an even first byte");
        assert_eq!(Chain.merge(b"key", Some(&value_bytes(7)), &[&combined]), Ok(expected));
    }
}
