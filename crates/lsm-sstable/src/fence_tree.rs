//! Which block may hold a key, and where it is: a static B-tree over the digests of the blocks' last
//! keys.
//!
//! A binary search over a hundred thousand fences is seventeen steps, each waiting for memory; this
//! tree has five levels of nodes of sixteen digests, each counted by vector comparisons, and all
//! but the last level stay in the processor's cache. What is looked for lies beside the leaf, not in
//! an array of its own: a page of memory that is not in the processor's table of pages is a wait of its
//! own, and long in a guest.

use crate::simd::{self, FenceLeaf, FenceNode, NODE_DIGESTS};

/// Ascending digests, something for each of them, and above them the levels by which to reach them.
#[derive(Debug)]
pub(crate) struct FenceTree<T> {
    /// The levels above the leaves, the root first; a digest is the largest of its child.
    nodes: Box<[FenceNode]>,
    /// Where each of these levels starts in `nodes`.
    starts: Vec<usize>,
    leaves: Box<[FenceLeaf<T>]>,
    count: usize,
    /// The largest digest, as the nodes hold it; of none, the smallest number.
    last: i64,
}

impl<T: Copy> FenceTree<T> {
    /// Builds the tree over `fences`, whose digests ascend.
    pub(crate) fn new(fences: &[(u64, T)]) -> Self {
        let leaves: Box<[_]> = fences.chunks(NODE_DIGESTS).map(leaf_of).collect();
        let mut levels: Vec<Vec<FenceNode>> = Vec::new();
        // What pads the last node is above everything, so a child that is partly padding
        // must be known by that, too: a search never goes beyond it.
        let last_of = |node: &FenceNode| node.0[NODE_DIGESTS - 1];
        let mut below: Vec<i64> = leaves.iter().map(|leaf| last_of(&leaf.node)).collect();
        while below.len() > 1 {
            let level: Vec<FenceNode> = below.chunks(NODE_DIGESTS).map(node_of).collect();
            below = level.iter().map(last_of).collect();
            levels.push(level);
        }
        let mut starts = Vec::with_capacity(levels.len());
        let mut nodes = Vec::with_capacity(levels.iter().map(Vec::len).sum());
        for level in levels.into_iter().rev() {
            starts.push(nodes.len());
            nodes.extend(level);
        }
        let last = fences.last().map_or(i64::MIN, |(digest, _)| simd::signed(*digest));
        Self { nodes: nodes.into(), starts, leaves, count: fences.len(), last }
    }

    /// How many digests are below `needle`. What lies beside the digest at that place is on its way into
    /// the cache by then.
    #[inline]
    pub(crate) fn rank(&self, needle: u64) -> usize {
        let needle = simd::signed(needle);
        if self.last < needle {
            return self.count;
        }
        simd::descend(&self.nodes, &self.starts, &self.leaves, needle)
    }

    /// Whether the digest at `index`, if there are so many, is `digest`.
    #[inline]
    pub(crate) fn holds(&self, index: usize, digest: u64) -> bool {
        let leaf = self.leaves.get(index / NODE_DIGESTS);
        let found = leaf.map(|leaf| leaf.node.0[index % NODE_DIGESTS]);
        found == Some(simd::signed(digest)) && index < self.count
    }

    /// What lies beside the digest at `index`, if there are so many.
    #[inline]
    pub(crate) fn beside(&self, index: usize) -> Option<T> {
        if index >= self.count {
            return None;
        }
        Some(self.leaves.get(index / NODE_DIGESTS)?.beside[index % NODE_DIGESTS])
    }

    /// Bytes of memory held.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.nodes) + size_of_val(&*self.leaves)
    }
}

/// `digests`, at most a node full of them, filled up with the largest number.
fn node_of(digests: &[i64]) -> FenceNode {
    let mut node = [i64::MAX; NODE_DIGESTS];
    node[..digests.len()].copy_from_slice(digests);
    FenceNode(node)
}

/// `fences`, at least one and at most a leaf full of them.
fn leaf_of<T: Copy>(fences: &[(u64, T)]) -> FenceLeaf<T> {
    let digests: Vec<i64> = fences.iter().map(|(digest, _)| simd::signed(*digest)).collect();
    let mut beside = [fences[0].1; NODE_DIGESTS];
    for (place, (_, item)) in beside.iter_mut().zip(fences) {
        *place = *item;
    }
    FenceLeaf { node: node_of(&digests), beside }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_ranks(digests: &[u64]) {
        let numbered = (0..).zip(digests).map(|(number, digest)| (*digest, number));
        let tree = FenceTree::<usize>::new(&numbered.collect::<Vec<_>>());
        let around = |digest: &u64| [digest.saturating_sub(1), *digest, digest.saturating_add(1)];
        for needle in digests.iter().flat_map(around).chain([0, u64::MAX]) {
            let expected = digests.partition_point(|digest| *digest < needle);
            assert_eq!(tree.rank(needle), expected, "{needle} among {}", digests.len());
        }
        for (index, digest) in digests.iter().enumerate() {
            assert!(tree.holds(index, *digest));
            assert!(!tree.holds(index, digest ^ 1));
            assert_eq!(tree.beside(index), Some(index));
        }
        assert_eq!(tree.beside(digests.len()), None);
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
