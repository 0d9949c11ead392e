//! Who a file is: the database it was born in and its number there.

/// A file's *birth identity*, carried inside the file: it tells a swapped, stale or foreign file
/// from the one that belongs here.
///
/// The default, all zero, is for files that are used alone, outside any database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Drawn at random when the database is created.
    pub database_id: u128,
    /// The file's number in that database; never reused.
    pub file_number: u64,
}

impl Identity {
    /// Length of the encoded form: database id, then file number, little-endian.
    pub const BYTES: usize = 24;

    /// The encoded form.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.database_id.to_le_bytes());
        bytes[16..].copy_from_slice(&self.file_number.to_le_bytes());
        bytes
    }

    /// Reads the encoded form.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (database_id, file_number) = bytes.split_at(16);
        Self {
            database_id: u128::from_le_bytes(database_id.try_into().expect("16 bytes")),
            file_number: u64::from_le_bytes(file_number.try_into().expect("8 bytes")),
        }
    }

    /// A number that differs, as far as 64 bits can, between any two identities; 0 for the default.
    /// Checksums are mixed with it, so that bytes of another file never validate here.
    pub fn salt(self) -> u64 {
        if self == Self::default() { 0 } else { xxhash_rust::xxh3::xxh3_64(&self.to_bytes()) }
    }
}
