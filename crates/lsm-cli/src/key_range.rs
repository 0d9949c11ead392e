//! Which keys a command is about.

use std::ffi::OsString;
use std::ops::Bound;

use clap::Args;

use crate::exit::Failure;
use crate::format::BytesFormat;

/// Bounds as they are typed.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct BoundArgs {
    /// The first key, included
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    from: Option<OsString>,
    /// The last key, not included
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    to: Option<OsString>,
}

/// Keys from a lower bound (included) to an upper one (not included; `None`: to the end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRange {
    lower: Vec<u8>,
    upper: Option<Vec<u8>>,
}

impl BoundArgs {
    pub(crate) fn range(&self, format: BytesFormat) -> Result<KeyRange, Failure> {
        let from = self.from.as_deref().map(|key| format.parse_argument("--from", key));
        let to = self.to.as_deref().map(|key| format.parse_argument("--to", key));
        Ok(KeyRange { lower: from.transpose()?.unwrap_or_default(), upper: to.transpose()? })
    }
}

impl KeyRange {
    /// The keys that begin with `prefix`.
    pub(crate) fn prefix(prefix: &[u8]) -> Self {
        // The first key beyond them: the prefix with its last byte that can grow increased, and
        // what follows it cut off. Only 0xFF bytes: nothing lies beyond.
        let mut upper = prefix.to_vec();
        while let Some(last) = upper.pop() {
            if last < 0xFF {
                upper.push(last + 1);
                return Self { lower: prefix.to_vec(), upper: Some(upper) };
            }
        }
        Self { lower: prefix.to_vec(), upper: None }
    }

    /// The keys that lie in both.
    pub(crate) fn and(self, other: Self) -> Self {
        let upper = match (self.upper, other.upper) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self { lower: self.lower.max(other.lower), upper }
    }

    /// The same as bounds of a Rust range.
    pub(crate) fn bounds(&self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let upper = self.upper.clone().map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(self.lower.clone()), upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_first_key_that_does_not_begin_so() {
        let range = |lower: &[u8], upper: Option<&[u8]>| KeyRange {
            lower: lower.into(),
            upper: upper.map(Vec::from),
        };
        assert_eq!(KeyRange::prefix(b"ab"), range(b"ab", Some(b"ac")));
        assert_eq!(KeyRange::prefix(b"a\xFF"), range(b"a\xFF", Some(b"b")));
        assert_eq!(KeyRange::prefix(b"\xFF\xFF"), range(b"\xFF\xFF", None));
        assert_eq!(KeyRange::prefix(b""), range(b"", None));
        let both = KeyRange::prefix(b"a").and(range(b"ab", Some(b"x")));
        assert_eq!(both, range(b"ab", Some(b"b")));
    }
}
