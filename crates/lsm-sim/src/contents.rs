//! The contents of a database as bytes, for harnesses whose keys and values are their own.

use std::collections::BTreeMap;

use crate::difference::show;

pub use crate::data::{Write, value_bytes};

/// Keyspaces of such a database; 0 is the default one.
pub const KEYSPACES: u8 = 2;
/// Different keys of such a database.
pub const KEYS: u16 = 64;

/// The contents of one keyspace.
pub type Map = BTreeMap<Vec<u8>, Vec<u8>>;
/// The contents of all keyspaces.
pub type State = Vec<Map>;

/// The bytes of a key.
pub fn key_bytes(key: u16) -> Vec<u8> {
    crate::data::key_bytes(key).to_vec()
}

/// The first difference between two states, in words.
pub fn difference(expected: &State, found: &State) -> String {
    for (keyspace, (expected, found)) in expected.iter().zip(found).enumerate() {
        for key in expected.keys().chain(found.keys()) {
            let (expected, found) = (expected.get(key), found.get(key));
            if expected != found {
                return format!(
                    "keyspace {keyspace}, key \"{}\": expected {}, found {}",
                    key.escape_ascii(),
                    show(expected.map(Vec::as_slice)),
                    show(found.map(Vec::as_slice))
                );
            }
        }
    }
    "nothing".into()
}
