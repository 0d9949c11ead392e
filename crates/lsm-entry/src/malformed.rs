//! Bytes that are not what they should be, told without knowing the file they came from.

use std::fmt;

/// What is wrong and where; whoever knows the file lifts it into an error with its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where in the bytes that were given.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {} of the payload", self.reason, self.offset)
    }
}

impl std::error::Error for Malformed {}
