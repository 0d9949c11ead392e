//! How many crates of others the engine brings along.
//!
//! Whoever embeds the engine compiles and trusts all of them, those that only build others included, so
//! the number is a promise. A further
//! dependency needs a page in `docs/decisions/`: what it saves, what it costs.

use std::collections::BTreeSet;

use crate::Result;
use crate::invocation::Invocation;
use crate::tree::Tree;

/// The engine stays below this many.
const THIRD_PARTY_LIMIT: usize = 25;

/// The crates, if there are too many.
pub(crate) fn violations(_tree: &Tree) -> Result<Vec<String>> {
    let listing = Invocation::cargo(
        "tree --package lsm-engine --edges normal,build --prefix none --format {p}",
    )
    .output()?;
    let third_party = third_party(&listing);
    if third_party.len() < THIRD_PARTY_LIMIT {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "lsm-engine brings {} third-party crates, fewer than {THIRD_PARTY_LIMIT} are allowed: {}",
        third_party.len(),
        third_party.into_iter().collect::<Vec<_>>().join(", ")
    )])
}

/// The crates in cargo's listing (`name v1.2.3`, one a line, some more than once) that are not ours:
/// ours have a path behind the version.
fn third_party(listing: &str) -> BTreeSet<&str> {
    listing
        .lines()
        .filter(|line| !line.contains(" (/"))
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_of_others_counts_once() {
        let listing = "lsm-io v0.1.0 (/here)\nlibc v0.2.1\nlsm-tree v2.1.0\nlibc v0.2.1 (*)\n";
        assert_eq!(third_party(listing).into_iter().collect::<Vec<_>>(), ["libc", "lsm-tree"]);
    }
}
