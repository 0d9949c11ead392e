//! What an entry does to its key.

use std::fmt;

/// What an entry does. The numbers are those on disk, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ValueKind {
    /// The key is gone: a *tombstone*.
    Delete = 0,
    /// The key has this value.
    Put = 1,
    /// The value is an operand for the keyspace's merge operator.
    Merge = 2,
    /// Every key from this one (inclusive) to the one in the value (exclusive) is gone.
    RangeDelete = 3,
    /// A tombstone that meets exactly one put.
    SingleDelete = 4,
}

/// A kind and its flags in one byte, as it is stored in the log, in memory and in tables.
///
/// | bits | meaning |
/// |---|---|
/// | 0-5 | [`ValueKind`] |
/// | 6 (`0x40`) | the first 8 bytes of the value are an expiry time, little-endian milliseconds |
/// | 7 (`0x80`) | the rest of the value is a reference into a blob file |
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(u8);

impl Tag {
    /// A plain delete.
    pub const DELETE: Self = Self(ValueKind::Delete as u8);
    /// A plain put.
    pub const PUT: Self = Self(ValueKind::Put as u8);
    /// A merge operand.
    pub const MERGE: Self = Self(ValueKind::Merge as u8);
    /// A range delete.
    pub const RANGE_DELETE: Self = Self(ValueKind::RangeDelete as u8);
    const EXPIRY: u8 = 0x40;
    const BLOB: u8 = 0x80;
    const KIND: u8 = 0x3F;

    /// The tag stored as `byte`, or `None` where this version knows no such kind.
    #[inline]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        if byte & Self::KIND <= ValueKind::SingleDelete as u8 { Some(Self(byte)) } else { None }
    }

    /// The stored byte.
    #[inline]
    pub const fn as_byte(self) -> u8 {
        self.0
    }

    /// What the entry does.
    #[inline]
    pub const fn kind(self) -> ValueKind {
        match self.0 & Self::KIND {
            0 => ValueKind::Delete,
            1 => ValueKind::Put,
            2 => ValueKind::Merge,
            3 => ValueKind::RangeDelete,
            _ => ValueKind::SingleDelete,
        }
    }

    /// Whether the value starts with an expiry time.
    #[inline]
    pub const fn has_expiry(self) -> bool {
        self.0 & Self::EXPIRY != 0
    }

    /// Whether the value is a reference into a blob file.
    #[inline]
    pub const fn is_blob(self) -> bool {
        self.0 & Self::BLOB != 0
    }

    /// The same, saying that the value starts with an expiry time.
    #[must_use]
    pub const fn with_expiry(self) -> Self {
        Self(self.0 | Self::EXPIRY)
    }

    /// The same, saying that the value is a reference into a blob file.
    #[must_use]
    pub const fn with_blob(self) -> Self {
        Self(self.0 | Self::BLOB)
    }

    /// The same, saying that the value is in the entry itself.
    #[must_use]
    pub const fn without_blob(self) -> Self {
        Self(self.0 & !Self::BLOB)
    }

    /// Whether the entry says that its key is gone (`Delete` or `SingleDelete`).
    #[inline]
    pub const fn is_tombstone(self) -> bool {
        matches!(self.kind(), ValueKind::Delete | ValueKind::SingleDelete)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind())?;
        if self.has_expiry() {
            f.write_str("+expiry")?;
        }
        if self.is_blob() {
            f.write_str("+blob")?;
        }
        Ok(())
    }
}
