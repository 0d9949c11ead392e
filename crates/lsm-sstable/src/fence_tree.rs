//! Which block may hold a key: a static B-tree over the digests of the blocks' last keys.
//!
//! A binary search over a hundred thousand fences is seventeen steps, each waiting for memory; this
//! tree has five levels of nodes of sixteen digests, each counted by vector comparisons, and all
//! but the last level stay in the processor's cache.

use crate::simd::{self, FenceNode, NODE_DIGESTS};

/// Ascending digests, and above them the levels by which to reach them.
#[derive(Debug)]
pub(crate) struct FenceTree {
    /// All levels, the root first; a digest above the leaves is the largest of its child.
    nodes: Box<[FenceNode]>,
    /// Where each level starts in `nodes`.
    starts: Vec<usize>,
    count: usize,
    /// The largest digest, as the nodes hold it; of none, the smallest number.
    last: i64,
}

impl FenceTree {
    /// Builds the tree over `digests`, which ascend.
    pub(crate) fn new(digests: &[u64]) -> Self {
        let digests: Vec<i64> = digests.iter().copied().map(simd::signed).collect();
        let mut levels: Vec<Vec<FenceNode>> = Vec::new();
        let mut level = nodes_of(&digests);
        while !level.is_empty() {
            let is_root = level.len() == 1;
            // What pads the last node is above everything, so a child that is partly padding
            // must be known by that, too: a search never goes beyond it.
            let fences: Vec<i64> = level.iter().map(|node| node.0[NODE_DIGESTS - 1]).collect();
            levels.push(level);
            level = if is_root { Vec::new() } else { nodes_of(&fences) };
        }
        let mut starts = Vec::with_capacity(levels.len());
        let mut nodes = Vec::with_capacity(levels.iter().map(Vec::len).sum());
        for level in levels.into_iter().rev() {
            starts.push(nodes.len());
            nodes.extend(level);
        }
        let last = digests.last().copied().unwrap_or(i64::MIN);
        Self { nodes: nodes.into(), starts, count: digests.len(), last }
    }

    /// How many digests are below `needle`. What `beside` holds at that place (it has one item for
    /// each digest) is on its way into the cache by then.
    #[inline]
    pub(crate) fn rank<T>(&self, needle: u64, beside: &[T]) -> usize {
        let needle = simd::signed(needle);
        if self.last < needle {
            return self.count;
        }
        simd::descend(&self.nodes, &self.starts, needle, beside)
    }

    /// Whether the digest at `index`, if there are so many, is `digest`.
    #[inline]
    pub(crate) fn holds(&self, index: usize, digest: u64) -> bool {
        let leaves_at = self.starts.last().copied().unwrap_or(0);
        let node = self.nodes.get(leaves_at + index / NODE_DIGESTS);
        let is_there =
            node.is_some_and(|node| node.0[index % NODE_DIGESTS] == simd::signed(digest));
        is_there && index < self.count
    }

    /// Bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.nodes)
    }
}

/// `digests` as nodes, the last one filled up with the largest number.
fn nodes_of(digests: &[i64]) -> Vec<FenceNode> {
    let mut nodes = Vec::with_capacity(digests.len().div_ceil(NODE_DIGESTS));
    for chunk in digests.chunks(NODE_DIGESTS) {
        let mut node = [i64::MAX; NODE_DIGESTS];
        node[..chunk.len()].copy_from_slice(chunk);
        nodes.push(FenceNode(node));
    }
    nodes
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_ranks(digests: &[u64]) {
        let tree = FenceTree::new(digests);
        let around = |digest: &u64| [digest.saturating_sub(1), *digest, digest.saturating_add(1)];
        for needle in digests.iter().flat_map(around).chain([0, u64::MAX]) {
            let expected = digests.partition_point(|digest| *digest < needle);
            assert_eq!(tree.rank(needle, digests), expected, "{needle} among {}", digests.len());
        }
        for (index, digest) in digests.iter().enumerate() {
            assert!(tree.holds(index, *digest));
            assert!(!tree.holds(index, digest ^ 1));
        }
        assert!(!tree.holds(digests.len(), u64::MAX), "padding is no digest");
    }

    #[test]
    fn every_size_around_a_full_node_and_level_is_searched_right() {
        for count in [0, 1, 15, 16, 17, 31, 32, 255, 256, 257, 272, 273, 4095, 4096, 4097] {
            check_ranks(&(0..count).map(|n| n * 3 + 1).collect::<Vec<_>>());
        }
        check_ranks(&[u64::MAX; 40]);
        check_ranks(&[7; 300]);
    }

    proptest! {
        #[test]
        fn the_tree_ranks_like_a_binary_search(
            mut digests in vec(prop_oneof![any::<u64>(), 0_u64..50], 0..600),
        ) {
            digests.sort_unstable();
            check_ranks(&digests);
        }
    }
}
