//! The form in which a keyspace's options are saved in the manifest: text, one option a line.
//!
//! What a newer version wrote and this one does not know is passed over, and what a keyspace does not
//! have is mostly left out: so each version reads what others have written.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use lsm_sstable::Compression;

use super::KeyspaceOptions;
use crate::error::{Error, Result};
use crate::operator::Operator;
use crate::value_filter::ValueFilter;

impl KeyspaceOptions {
    /// Reads the form that `Display` writes.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut options = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (name, value) = line
                .split_once(':')
                .map(|(name, value)| (name.trim(), value.trim()))
                .ok_or_else(|| Error::corrupt(format!("saved option \"{line}\" has no value")))?;
            let wrong = || Error::corrupt(format!("saved option {name} is \"{value}\""));
            match name {
                "compaction" => options.compaction = value.parse().map_err(|_| wrong())?,
                "compression" => {
                    let levels = value.split_whitespace();
                    options.compression = levels
                        .map(|level| parse_compression(level).unwrap_or_else(|| Err(wrong())))
                        .collect::<Result<_>>()?;
                }
                "filter_bits_per_key" => {
                    let bits = number_or_none(value);
                    let bits = bits.filter(|bits| !bits.is_some_and(f32::is_nan));
                    options.filter_bits_per_key = bits.ok_or_else(wrong)?;
                }
                "blob_threshold_bytes" => {
                    options.blob_threshold_bytes = number_or_none(value).ok_or_else(wrong)?;
                }
                "block_bytes" => options.block_bytes = value.parse().map_err(|_| wrong())?,
                "ttl_ms" => options.ttl_ms = number_or_none(value).ok_or_else(wrong)?,
                "merge_operator" => options.merge_operator = Some(Operator::saved(value)),
                "compaction_filter" => options.compaction_filter = Some(ValueFilter::saved(value)),
                "tombstone_age_limit_ms" => {
                    options.tombstone_age_limit_ms = number_or_none(value).ok_or_else(wrong)?;
                }
                // An option that a newer version wrote and that this one can do without.
                _ => {}
            }
        }
        Ok(options)
    }
}

impl fmt::Display for KeyspaceOptions {
    /// One option a line: the form in which they are saved.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "compaction: {}", self.compaction)?;
        let mut levels = String::new();
        for &level in &self.compression {
            write!(levels, " {level}")?;
        }
        writeln!(f, "compression:{levels}")?;
        match self.filter_bits_per_key {
            Some(bits) => writeln!(f, "filter_bits_per_key: {bits}")?,
            None => writeln!(f, "filter_bits_per_key: none")?,
        }
        writeln!(f, "block_bytes: {}", self.block_bytes)?;
        // Left out where there is none: a keyspace without it is saved as it always was.
        if let Some(bytes) = self.blob_threshold_bytes {
            writeln!(f, "blob_threshold_bytes: {bytes}")?;
        }
        self.ttl_ms.map_or(Ok(()), |ttl| writeln!(f, "ttl_ms: {ttl}"))?;
        if let Some(operator) = &self.merge_operator {
            writeln!(f, "merge_operator: {}", operator.name())?;
        }
        if let Some(filter) = &self.compaction_filter {
            writeln!(f, "compaction_filter: {}", filter.name())?;
        }
        match self.tombstone_age_limit_ms {
            Some(limit_ms) => writeln!(f, "tombstone_age_limit_ms: {limit_ms}"),
            None => Ok(()),
        }
    }
}

/// Reads arbitrary bytes as saved options; what can be read comes back the same.
#[doc(hidden)]
pub fn fuzz_options(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(options) = KeyspaceOptions::parse(text)
    {
        let saved = options.to_string();
        let again = KeyspaceOptions::parse(&saved);
        assert!(again.as_ref().is_ok_and(|again| *again == options), "{saved}: {again:?}");
    }
}

/// The number that `text` is, or none where it says so.
fn number_or_none<N: FromStr>(text: &str) -> Option<Option<N>> {
    if text == "none" { Some(None) } else { text.parse().ok().map(Some) }
}

/// The compression called `name`; `None` if none is.
fn parse_compression(name: &str) -> Option<Result<Compression>> {
    match name {
        "none" => Some(Ok(Compression::None)),
        "lz4" => Some(Ok(Compression::Lz4)),
        _ => {
            let level = name.strip_prefix("zstd(")?.strip_suffix(')')?;
            Some(zstd(level.parse().ok()?))
        }
    }
}

#[cfg(feature = "zstd")]
fn zstd(level: i32) -> Result<Compression> {
    Ok(Compression::Zstd(level))
}

/// Another program asked for it. Not damage: nothing may be repaired, or kept in another way, for that.
#[cfg(not(feature = "zstd"))]
fn zstd(level: i32) -> Result<Compression> {
    Err(Error::invalid(format!(
        "saved option compression asks for \"zstd({level})\", and this program is built without it; \
         build it with the feature lsm-engine/zstd"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_keyspace_options_read_back_the_same() {
        let options = KeyspaceOptions {
            compression: vec![
                Compression::None,
                Compression::Lz4,
                #[cfg(feature = "zstd")]
                Compression::Zstd(1),
            ],
            filter_bits_per_key: None,
            block_bytes: 512,
            ttl_ms: Some(3_600_000),
            merge_operator: Some(Operator::saved("somebody's")),
            compaction_filter: Some(ValueFilter::saved("somebody's")),
            blob_threshold_bytes: Some(4096),
            tombstone_age_limit_ms: Some(7),
            ..KeyspaceOptions::default()
        };
        assert_eq!(KeyspaceOptions::parse(&options.to_string()).unwrap(), options);
        let default = KeyspaceOptions::default();
        assert_eq!(KeyspaceOptions::parse(&default.to_string()).unwrap(), default);
    }

    #[test]
    fn saved_options_that_are_no_number_are_refused() {
        let error = KeyspaceOptions::parse("filter_bits_per_key: NaN").unwrap_err();
        assert_eq!(error.to_string(), "saved option filter_bits_per_key is \"NaN\"");
        let error = KeyspaceOptions::parse("compression: lz4 lz5").unwrap_err();
        assert_eq!(error.to_string(), "saved option compression is \"lz4 lz5\"");
        let largest = "block_bytes: 4294967295";
        assert!(KeyspaceOptions::parse(largest).unwrap().check().is_err());
    }
}
