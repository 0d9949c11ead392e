//! Where what was found is not what was expected, in words.

use crate::data::{key_at, value_bytes};
use crate::model::{Cells, Contents, Found, FoundMap};

/// The first difference between what is expected and what was found, in words; none: they agree.
pub fn first_difference(expected: &Contents, found: &Found) -> Option<String> {
    let mut maps = expected.iter().zip(&found.maps).enumerate();
    maps.find_map(|(keyspace, (expected, map))| {
        first_difference_in(keyspace, expected, map, found.time_ms)
    })
}

/// The same in one keyspace, at this time.
pub(crate) fn first_difference_in(
    keyspace: usize,
    expected: &Cells,
    found: &FoundMap,
    time_ms: u64,
) -> Option<String> {
    let mut cells = expected.iter().zip(found).enumerate();
    cells.find_map(|(rank, (expected, found))| {
        let differs = expected.gone(time_ms, found.as_deref(), false).is_none();
        differs.then(|| {
            format!(
                "keyspace {keyspace}, key \"{}\": expected {}, found {}",
                key_at(rank).escape_ascii(),
                show(expected.at(time_ms).map(value_bytes).as_deref()),
                show(found.as_deref())
            )
        })
    })
}

/// A value in words.
pub fn show(value: Option<&[u8]>) -> String {
    match value {
        None => "nothing".into(),
        Some(value) if value.len() > 40 => {
            format!("\"{}...\" ({} bytes)", value[..40].escape_ascii(), value.len())
        }
        Some(value) => format!("\"{}\"", value.escape_ascii()),
    }
}
