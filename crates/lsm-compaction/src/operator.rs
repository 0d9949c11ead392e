//! What merge operands come to: the seam that users implement, called with care.
//!
//! An operator is a user's code. One that panics is taken for one that fails, and what it returns
//! is measured before anybody stores it.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The longest value, in bytes; so the longest result of an operator, too.
pub const MAX_VALUE_BYTES: usize = 1 << 30;

/// Says what merge operands make of a value.
///
/// The operands of a key are kept as they were written, and handed to the operator, oldest first,
/// when the key is read and when tables are written. So the same operands may be handed to it any
/// number of times, in any thread, and it must give the same answer each time.
///
/// ```
/// use lsm_compaction::MergeOperator;
///
/// /// Keeps the largest value.
/// struct Largest;
///
/// impl MergeOperator for Largest {
///     fn name(&self) -> &str {
///         "largest"
///     }
///
///     fn merge(
///         &self,
///         _key: &[u8],
///         base: Option<&[u8]>,
///         operands: &[&[u8]],
///     ) -> Result<Vec<u8>, String> {
///         let largest = operands.iter().copied().chain(base).max();
///         Ok(largest.unwrap_or_default().to_vec())
///     }
///
///     fn combine(&self, key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
///         self.merge(key, None, operands).ok() // Associative: an operand is a value.
///     }
/// }
/// # let operands: [&[u8]; 2] = [b"3", b"5"];
/// # assert_eq!(Largest.merge(b"key", Some(b"4"), &operands), Ok(b"5".to_vec()));
/// ```
pub trait MergeOperator: Send + Sync + 'static {
    /// Its name, which is saved with every keyspace that has it. What operands mean must not change
    /// as long as the name does not.
    fn name(&self) -> &str;

    /// The value that `operands`, oldest first and at least one, make of `base` (`None`: the key has
    /// no value).
    ///
    /// # Errors
    /// Why they make none, in words. Reads of the key then fail; what is stored stays as it is.
    fn merge(&self, key: &[u8], base: Option<&[u8]>, operands: &[&[u8]])
    -> Result<Vec<u8>, String>;

    /// One operand that does what `operands`, oldest first and at least two, do one after the other,
    /// whatever lies below them; `None`: there is none, or it is not known (the default).
    ///
    /// An operator that has it is *associative*: chains of operands are shortened before what they
    /// are merged with is known.
    fn combine(&self, key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        let _ = (key, operands);
        None
    }

    /// Whether `operand` is one at all: asked before it is written, so that no key is spoiled by it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    fn check(&self, key: &[u8], operand: &[u8]) -> Result<(), String> {
        let _ = (key, operand);
        Ok(())
    }
}

/// What an operator makes of a base and operands.
///
/// # Errors
/// Its own, in words; that it panicked; that the result is longer than a value may be.
pub fn fold_operands(
    operator: &dyn MergeOperator,
    key: &[u8],
    base: Option<&[u8]>,
    operands: &[&[u8]],
) -> Result<Vec<u8>, String> {
    let merge = AssertUnwindSafe(|| operator.merge(key, base, operands));
    let value = catch_unwind(merge).unwrap_or_else(|_| Err("it panicked".into()))?;
    if value.len() > MAX_VALUE_BYTES {
        let bytes = value.len();
        return Err(format!("value of {bytes} bytes; a value has at most {MAX_VALUE_BYTES}"));
    }
    Ok(value)
}

/// One operand for several, where the operator knows one and it is short enough to be stored.
pub(crate) fn combine_operands(
    operator: &dyn MergeOperator,
    key: &[u8],
    operands: &[&[u8]],
) -> Option<Vec<u8>> {
    let combine = AssertUnwindSafe(|| operator.combine(key, operands));
    let combined = catch_unwind(combine).unwrap_or_default()?;
    (combined.len() <= MAX_VALUE_BYTES).then_some(combined)
}
