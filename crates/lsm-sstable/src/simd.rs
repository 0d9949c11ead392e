//! Comparing many tags or digests at once, and asking for memory ahead of its use.
//!
//! Every function here has a scalar twin that says what it means, serves the machines without
//! these instructions, and is the oracle of the property tests below. AVX2 is looked for at run
//! time, so that a release build needs no native flags.
#![allow(unsafe_code)] // The one file of this crate that may: vector loads and prefetches.

/// Digests in one node of the fence tree: two cache lines, which the hardware fetches together.
pub(crate) const NODE_DIGESTS: usize = 16;

/// How many tags one comparison covers.
pub(crate) const MASK_TAGS: usize = 32;

/// Digests left to a linear comparison once a binary search has narrowed a block this far.
const WINDOW_DIGESTS: usize = 64;

/// Bytes that memory is fetched in.
pub(crate) const LINE_BYTES: usize = 64;

/// Bit `i` says whether `bytes[i]` is `tag`, for the first `count` bytes (at most 32).
///
/// `bytes` may go on behind the tags; what follows them is never taken for one.
#[inline]
pub(crate) fn tag_mask(bytes: &[u8], count: usize, tag: u8) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if let Some(chunk) = bytes.first_chunk::<MASK_TAGS>() {
        let wanted = if count >= MASK_TAGS { u32::MAX } else { (1 << count) - 1 };
        // SAFETY: SSE2 is part of every x86-64 processor.
        return unsafe { x86::tag_mask(chunk, tag) } & wanted;
    }
    scalar::tag_mask(bytes, count, tag)
}

/// How many of the ascending digests in `digests` (little-endian, 8 bytes each) are below `needle`.
#[inline]
pub(crate) fn rank_u64(digests: &[u8], needle: u64) -> usize {
    let (base, window) = narrow::<8>(digests, |bytes| u64::from_le_bytes(bytes) < needle);
    #[cfg(target_arch = "x86_64")]
    if x86::has_avx2() {
        // SAFETY: the processor has AVX2, as was just asked.
        return base + unsafe { x86::count_below_u64(window, needle) };
    }
    base + scalar::count_below_u64(window, needle)
}

/// How many of the ascending digests in `digests` (little-endian, 4 bytes each) are below `needle`.
#[inline]
pub(crate) fn rank_u32(digests: &[u8], needle: u32) -> usize {
    let (base, window) = narrow::<4>(digests, |bytes| u32::from_le_bytes(bytes) < needle);
    #[cfg(target_arch = "x86_64")]
    if x86::has_avx2() {
        // SAFETY: the processor has AVX2, as was just asked.
        return base + unsafe { x86::count_below_u32(window, needle) };
    }
    base + scalar::count_below_u32(window, needle)
}

/// A digest as the nodes of a fence tree hold it: in an order of signed numbers, which is the one that
/// vectors are compared in.
#[inline]
pub(crate) fn signed(digest: u64) -> i64 {
    (digest ^ (1 << 63)).cast_signed()
}

/// Walks a static B-tree from its root to a leaf: at each level goes to the child whose number is
/// the count of digests below `needle` in the node. `starts` holds where each level above the leaves
/// begins in `nodes`, root first. Gives how many digests of the leaves are below.
///
/// Some digest of the leaves must not be below `needle`; else the rank means nothing.
///
/// All of the leaf is asked for before any of it is waited for.
#[inline]
pub(crate) fn descend<T>(
    nodes: &[FenceNode],
    starts: &[usize],
    leaves: &[FenceLeaf<T>],
    needle: i64,
) -> usize {
    #[cfg(target_arch = "x86_64")]
    if x86::has_avx2() {
        // SAFETY: the processor has AVX2, as was just asked.
        return unsafe { x86::descend(nodes, starts, leaves, needle) };
    }
    descend_by(nodes, starts, leaves, |node| scalar::count_below_node(node, needle))
}

/// One node of the fence tree, on cache-line boundaries: [`signed`] digests.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct FenceNode(pub(crate) [i64; NODE_DIGESTS]);

/// A node at the bottom, with something for each digest: what a search ends with lies beside it, in the
/// same page.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct FenceLeaf<T> {
    pub(crate) node: FenceNode,
    pub(crate) beside: [T; NODE_DIGESTS],
}

/// Asks for the first `lines` cache lines of `items`, without waiting for them.
#[inline(always)]
pub(crate) fn prefetch<T>(items: &[T], lines: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let (start, bytes) = (items.as_ptr().cast::<i8>(), size_of_val(items));
        for line in 0..lines.min(bytes.div_ceil(LINE_BYTES)) {
            // SAFETY: the address lies within the slice, and a prefetch reads nothing.
            unsafe { _mm_prefetch(start.add(line * LINE_BYTES), _MM_HINT_T0) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (items, lines);
}

/// The same for what lies at an address, whether or not anything does.
#[inline(always)]
pub(crate) fn prefetch_at(address: usize, lines: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..lines {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let place = std::ptr::without_provenance::<i8>(address.wrapping_add(line * LINE_BYTES));
        // SAFETY: a prefetch is a hint: it neither faults nor reads, whatever the address.
        unsafe { _mm_prefetch(place, _MM_HINT_T0) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (address, lines);
}

#[inline(always)]
fn descend_by<T>(
    nodes: &[FenceNode],
    starts: &[usize],
    leaves: &[FenceLeaf<T>],
    count_below: impl Fn(&[i64; NODE_DIGESTS]) -> usize,
) -> usize {
    let rank = starts.iter().fold(0, |rank, start| {
        let below = nodes.get(start + rank).map_or(0, |node| count_below(&node.0));
        rank * NODE_DIGESTS + below
    });
    let Some(leaf) = leaves.get(rank) else { return rank * NODE_DIGESTS };
    prefetch(std::slice::from_ref(leaf), size_of::<FenceLeaf<T>>() / LINE_BYTES);
    rank * NODE_DIGESTS + count_below(&leaf.node.0)
}

/// Halves `digests` until a window of at most 64 is left that holds the first one not below the
/// needle, or ends before it; gives how many digests precede the window.
#[inline(always)]
fn narrow<const WIDTH: usize>(
    digests: &[u8],
    below: impl Fn([u8; WIDTH]) -> bool,
) -> (usize, &[u8]) {
    let (mut base, mut count) = (0, digests.len() / WIDTH);
    while count > WINDOW_DIGESTS {
        let half = count / 2;
        let at = (base + half - 1) * WIDTH;
        let pivot = digests[at..].first_chunk::<WIDTH>();
        if pivot.is_some_and(|pivot| below(*pivot)) {
            base += half;
        }
        count -= half;
    }
    (base, &digests[base * WIDTH..(base + count) * WIDTH])
}

/// What the vector code means.
mod scalar {
    use super::NODE_DIGESTS;

    /// Of blocks that are shorter than a vector; elsewhere of machines that have none.
    #[cold]
    #[inline(never)]
    pub(super) fn tag_mask(bytes: &[u8], count: usize, tag: u8) -> u32 {
        let tags = bytes.iter().take(count.min(super::MASK_TAGS)).enumerate();
        tags.fold(0, |mask, (index, byte)| mask | (u32::from(*byte == tag) << index))
    }

    #[inline]
    pub(super) fn count_below_node(node: &[i64; NODE_DIGESTS], needle: i64) -> usize {
        node.iter().map(|digest| usize::from(*digest < needle)).sum()
    }

    #[inline]
    pub(super) fn count_below_u64(digests: &[u8], needle: u64) -> usize {
        let (digests, _) = digests.as_chunks::<8>();
        digests.iter().map(|digest| usize::from(u64::from_le_bytes(*digest) < needle)).sum()
    }

    #[inline]
    pub(super) fn count_below_u32(digests: &[u8], needle: u32) -> usize {
        let (digests, _) = digests.as_chunks::<4>();
        digests.iter().map(|digest| usize::from(u32::from_le_bytes(*digest) < needle)).sum()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8,
        _mm256_castsi256_pd, _mm256_castsi256_ps, _mm256_cmpgt_epi32, _mm256_cmpgt_epi64,
        _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_movemask_pd, _mm256_movemask_ps,
        _mm256_packs_epi16, _mm256_packs_epi32, _mm256_set1_epi32, _mm256_set1_epi64x,
        _mm256_xor_si256,
    };

    use super::{FenceLeaf, FenceNode, MASK_TAGS, NODE_DIGESTS, descend_by, scalar};

    /// The processor is asked once; afterwards this is a load and a branch.
    #[inline]
    pub(super) fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt")
    }

    // Two SSE2 comparisons rather than one of AVX2: every x86-64 processor has them, so they can
    // be inlined into the read path, where the call that a run-time choice needs costs more than
    // the instruction it saves.
    #[target_feature(enable = "sse2")]
    #[inline]
    pub(super) fn tag_mask(tags: &[u8; MASK_TAGS], tag: u8) -> u32 {
        let wanted = _mm_set1_epi8(tag.cast_signed());
        // SAFETY: both loads of 16 bytes lie within the 32; they need no alignment.
        let (low, high) = unsafe {
            let tags = tags.as_ptr();
            (_mm_loadu_si128(tags.cast()), _mm_loadu_si128(tags.add(16).cast()))
        };
        let low = _mm_movemask_epi8(_mm_cmpeq_epi8(low, wanted)).cast_unsigned();
        let high = _mm_movemask_epi8(_mm_cmpeq_epi8(high, wanted)).cast_unsigned();
        low | (high << 16)
    }

    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn descend<T>(
        nodes: &[FenceNode],
        starts: &[usize],
        leaves: &[FenceLeaf<T>],
        needle: i64,
    ) -> usize {
        let needle = _mm256_set1_epi64x(needle);
        descend_by(nodes, starts, leaves, |node: &[i64; NODE_DIGESTS]| {
            let less = |lane: usize| {
                // SAFETY: lane < 4, so the 32 bytes at 4 * lane lie within the 16 digests.
                let digests =
                    unsafe { _mm256_loadu_si256(node.as_ptr().add(4 * lane).cast::<__m256i>()) };
                _mm256_cmpgt_epi64(needle, digests)
            };
            // Of each answer of eight bytes two are kept: their order does not matter, only how many.
            let half = |a, b| _mm256_packs_epi32(a, b);
            let answers = _mm256_packs_epi16(half(less(0), less(1)), half(less(2), less(3)));
            _mm256_movemask_epi8(answers).count_ones() as usize / 2
        })
    }

    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn count_below_u64(digests: &[u8], needle: u64) -> usize {
        let flip = _mm256_set1_epi64x(i64::MIN);
        let bound = _mm256_xor_si256(_mm256_set1_epi64x(needle.cast_signed()), flip);
        let (chunks, rest) = digests.as_chunks::<32>();
        let mut below = 0;
        for chunk in chunks {
            // SAFETY: the load covers exactly the chunk's 32 bytes; it needs no alignment.
            let digests = unsafe { _mm256_loadu_si256(chunk.as_ptr().cast::<__m256i>()) };
            let less = _mm256_cmpgt_epi64(bound, _mm256_xor_si256(digests, flip));
            below += _mm256_movemask_pd(_mm256_castsi256_pd(less)).count_ones() as usize;
        }
        below + scalar::count_below_u64(rest, needle)
    }

    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn count_below_u32(digests: &[u8], needle: u32) -> usize {
        let flip = _mm256_set1_epi32(i32::MIN);
        let bound = _mm256_xor_si256(_mm256_set1_epi32(needle.cast_signed()), flip);
        let (chunks, rest) = digests.as_chunks::<32>();
        let mut below = 0;
        for chunk in chunks {
            // SAFETY: the load covers exactly the chunk's 32 bytes; it needs no alignment.
            let digests = unsafe { _mm256_loadu_si256(chunk.as_ptr().cast::<__m256i>()) };
            let less = _mm256_cmpgt_epi32(bound, _mm256_xor_si256(digests, flip));
            below += _mm256_movemask_ps(_mm256_castsi256_ps(less)).count_ones() as usize;
        }
        below + scalar::count_below_u32(rest, needle)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn bytes_of<const WIDTH: usize>(digests: impl Iterator<Item = [u8; WIDTH]>) -> Vec<u8> {
        digests.flatten().collect()
    }

    proptest! {
        #[test]
        fn tags_compare_as_the_scalar_twin_says(
            bytes in vec(0_u8..4, 0..80),
            count in 0_usize..=32,
            tag in 0_u8..4,
        ) {
            let count = count.min(bytes.len());
            prop_assert_eq!(tag_mask(&bytes, count, tag), scalar::tag_mask(&bytes, count, tag));
        }

        #[test]
        fn a_rank_counts_what_is_below(
            mut digests in vec(prop_oneof![any::<u64>(), 0_u64..9, Just(u64::MAX)], 0..300),
            needle in prop_oneof![any::<u64>(), 0_u64..9, Just(u64::MAX)],
        ) {
            digests.sort_unstable();
            let bytes = bytes_of(digests.iter().map(|digest| digest.to_le_bytes()));
            prop_assert_eq!(rank_u64(&bytes, needle), digests.partition_point(|d| *d < needle));

            let mut halves: Vec<u32> = digests.iter().map(|d| (d >> 32) as u32 | (*d as u32)).collect();
            halves.sort_unstable();
            let needle = needle as u32;
            let bytes = bytes_of(halves.iter().map(|digest| digest.to_le_bytes()));
            prop_assert_eq!(rank_u32(&bytes, needle), halves.partition_point(|d| *d < needle));
        }

        #[test]
        fn a_node_is_counted_as_the_scalar_twin_counts(
            mut digests in vec(any::<i64>(), NODE_DIGESTS),
            needle in any::<i64>(),
        ) {
            digests.sort_unstable();
            let node = FenceNode(digests.try_into().expect("16 digests"));
            let leaf = FenceLeaf { node, beside: [0_u64; NODE_DIGESTS] };
            for needle in [needle, node.0[7], i64::MIN, i64::MAX] {
                let below = scalar::count_below_node(&node.0, needle);
                prop_assert_eq!(descend(&[], &[], &[leaf], needle), below);
            }
        }
    }

    #[test]
    fn signed_digests_are_in_the_order_of_digests() {
        let digests = [0, 1, (1 << 63) - 1, 1 << 63, u64::MAX];
        assert!(digests.map(signed).is_sorted());
    }

    #[test]
    fn a_tree_without_leaves_has_one_place() {
        assert_eq!(descend::<u8>(&[], &[], &[], 9), 0);
    }

    #[test]
    fn prefetching_takes_any_slice() {
        prefetch::<u64>(&[], 4);
        prefetch(&[1; 100], 4);
    }
}
