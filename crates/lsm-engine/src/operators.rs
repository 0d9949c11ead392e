//! Merge operators that many need: a counter, a set, and bytes that grow at their end.
//!
//! They are known by name, so that a keyspace with one of them can be opened without naming it.

use std::sync::Arc;

use lsm_compaction::MergeOperator;

/// The operator of this library with this name.
pub(crate) fn own(name: &str) -> Option<Arc<dyn MergeOperator>> {
    let own: [Arc<dyn MergeOperator>; 3] =
        [Arc::new(Counter), Arc::new(SetUnion), Arc::new(Append)];
    own.into_iter().find(|operator| operator.name() == name)
}

/// Adds numbers: `i64`, eight bytes, little-endian. Associative. A sum beyond what an `i64` holds
/// wraps around, so the order of additions never matters.
///
/// ```
/// use lsm_engine::Counter;
///
/// assert_eq!(Counter::number(&Counter::operand(-3)), Some(-3));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter;

impl Counter {
    /// The operand that adds `number`; as a value, the number itself.
    pub fn operand(number: i64) -> [u8; 8] {
        number.to_le_bytes()
    }

    /// The number that a value holds, if it holds one.
    pub fn number(value: &[u8]) -> Option<i64> {
        value.try_into().ok().map(i64::from_le_bytes)
    }

    fn sum(numbers: impl Iterator<Item = Option<i64>>) -> Option<i64> {
        numbers.into_iter().try_fold(0_i64, |sum, number| Some(sum.wrapping_add(number?)))
    }
}

impl MergeOperator for Counter {
    fn name(&self) -> &str {
        "lsm.counter"
    }

    fn merge(
        &self,
        _key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, String> {
        let base = base.map_or(Some(0), Self::number).ok_or_else(|| no_number("the value"))?;
        let sum = Self::sum(operands.iter().map(|operand| Self::number(operand)));
        let sum = sum.ok_or_else(|| no_number("an operand"))?;
        Ok(base.wrapping_add(sum).to_le_bytes().to_vec())
    }

    fn combine(&self, _key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        let sum = Self::sum(operands.iter().map(|operand| Self::number(operand)))?;
        Some(sum.to_le_bytes().to_vec())
    }

    fn check(&self, _key: &[u8], operand: &[u8]) -> Result<(), String> {
        Self::number(operand).map(drop).ok_or_else(|| no_number("the operand"))
    }
}

fn no_number(what: &str) -> String {
    format!("{what} is not a number of 8 bytes")
}

/// Adds elements to a set. Associative.
///
/// ```
/// use lsm_engine::SetUnion;
///
/// let set = SetUnion::operand(["b", "a", "b"]);
/// assert_eq!(SetUnion::elements(&set), Some(vec![&b"a"[..], b"b"]));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SetUnion;

impl SetUnion {
    /// The operand that adds `elements`; as a value, the set of them: each behind its length in four
    /// bytes, little-endian, ascending, none twice.
    pub fn operand<T: AsRef<[u8]>>(elements: impl IntoIterator<Item = T>) -> Vec<u8> {
        let elements: Vec<T> = elements.into_iter().collect();
        Self::encode(elements.iter().map(AsRef::as_ref).collect())
    }

    /// The elements of a value, ascending, if it is a set.
    pub fn elements(mut value: &[u8]) -> Option<Vec<&[u8]>> {
        let mut elements = Vec::new();
        while !value.is_empty() {
            let (bytes, rest) = value.split_first_chunk::<4>()?;
            let (element, rest) = rest.split_at_checked(u32::from_le_bytes(*bytes) as usize)?;
            elements.push(element);
            value = rest;
        }
        elements.is_sorted_by(|one, next| one < next).then_some(elements)
    }

    fn encode(mut elements: Vec<&[u8]>) -> Vec<u8> {
        elements.sort_unstable();
        elements.dedup();
        let mut encoded = Vec::new();
        for element in elements {
            // An element longer than a value may be is refused with the operand that holds it.
            let bytes = u32::try_from(element.len()).unwrap_or(u32::MAX);
            encoded.extend_from_slice(&bytes.to_le_bytes());
            encoded.extend_from_slice(element);
        }
        encoded
    }

    fn union<'a>(sets: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
        let mut union = Vec::new();
        for set in sets {
            union.extend(Self::elements(set)?);
        }
        Some(Self::encode(union))
    }
}

impl MergeOperator for SetUnion {
    fn name(&self) -> &str {
        "lsm.set-union"
    }

    fn merge(
        &self,
        _key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, String> {
        let union = Self::union(base.into_iter().chain(operands.iter().copied()));
        union.ok_or_else(|| "the value or an operand is no set".to_owned())
    }

    fn combine(&self, _key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        Self::union(operands.iter().copied())
    }

    fn check(&self, _key: &[u8], operand: &[u8]) -> Result<(), String> {
        Self::elements(operand).map(drop).ok_or_else(|| "it is no set".to_owned())
    }
}

/// Puts bytes behind those that are there. Associative, and the order matters.
#[derive(Clone, Copy, Debug, Default)]
pub struct Append;

impl MergeOperator for Append {
    fn name(&self) -> &str {
        "lsm.append"
    }

    fn merge(
        &self,
        _key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, String> {
        let operands_bytes: usize = operands.iter().map(|operand| operand.len()).sum();
        let base = base.unwrap_or_default();
        let mut value = Vec::with_capacity(base.len() + operands_bytes);
        value.extend_from_slice(base);
        operands.iter().for_each(|operand| value.extend_from_slice(operand));
        Ok(value)
    }

    fn combine(&self, _key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        Some(operands.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_folds(operator: &dyn MergeOperator, base: Option<&[u8]>, operands: &[&[u8]]) {
        let at_once = operator.merge(b"k", base, operands).expect("good operands");
        for split in 1..operands.len() {
            let (older, newer) = operands.split_at(split);
            let half = operator.merge(b"k", base, older).expect("good operands");
            assert_eq!(operator.merge(b"k", Some(&half), newer).as_ref(), Ok(&at_once));
            let combined = operator.combine(b"k", newer).expect("it is associative");
            assert_eq!(operator.merge(b"k", Some(&half), &[&combined]).as_ref(), Ok(&at_once));
        }
    }

    #[test]
    fn whatever_is_combined_first_the_value_is_the_same() {
        let numbers = [i64::MAX, 1, -7, i64::MIN].map(Counter::operand);
        let numbers = numbers.each_ref().map(|number| &number[..]);
        check_folds(&Counter, None, &numbers);
        check_folds(&Counter, Some(&Counter::operand(5)), &numbers);
        let sets =
            [SetUnion::operand(["b"]), SetUnion::operand(["a", "b"]), SetUnion::operand([""])];
        let sets = sets.each_ref().map(Vec::as_slice);
        check_folds(&SetUnion, None, &sets);
        check_folds(&SetUnion, Some(&SetUnion::operand(["z", "b"])), &sets);
        check_folds(&Append, Some(b"a"), &[b"b", b"", b"c"]);
    }

    #[test]
    fn a_value_of_another_kind_is_refused_in_words() {
        let sum = Counter.merge(b"k", Some(b"seven"), &[&Counter::operand(1)]);
        assert_eq!(sum, Err("the value is not a number of 8 bytes".into()));
        assert!(Counter.check(b"k", b"seven").is_err());
        assert!(SetUnion.check(b"k", b"\x05\0\0\0abc").is_err());
        let twice = [SetUnion::operand(["a"]), SetUnion::operand(["a"])].concat();
        assert!(SetUnion.check(b"k", &twice).is_err(), "a set has each element once");
    }

    #[test]
    fn own_operators_are_found_by_their_names() {
        for name in ["lsm.counter", "lsm.set-union", "lsm.append"] {
            assert_eq!(own(name).expect("it is one").name(), name);
        }
        assert!(own("counter").is_none());
    }
}
