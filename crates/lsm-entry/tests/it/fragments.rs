//! Fragments against the range deletes that they are made of.

use lsm_entry::{Fragment, Fragments, MAX_SEQ_NO, RangeDelete, SeqNo, is_below};
use proptest::collection::vec;
use proptest::prelude::*;

/// Every key of one letter, and some between two.
fn keys() -> impl Iterator<Item = Vec<u8>> {
    (b'a'..=b'l').flat_map(|letter| [vec![letter], vec![letter, 0], vec![letter, b'z']])
}

/// Bounds that meet often; an empty upper one has no end.
fn bounds() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let bound = prop::sample::select(keys().chain([Vec::new()]).collect::<Vec<_>>());
    vec((bound.clone(), bound), 0..12)
}

fn range_deletes(bounds: &[(Vec<u8>, Vec<u8>)]) -> Vec<RangeDelete> {
    let numbered = bounds.iter().cloned().zip(1..);
    numbered.map(|((lower, upper), seq_no)| RangeDelete { lower, upper, seq_no }).collect()
}

/// What covers `key` for a reader at `seq_no`, asked of each range delete.
fn cover(range_deletes: &[RangeDelete], key: &[u8], seq_no: SeqNo) -> SeqNo {
    let covers = |range: &&RangeDelete| {
        range.seq_no <= seq_no && range.lower.as_slice() <= key && is_below(key, &range.upper)
    };
    range_deletes.iter().filter(covers).map(|range| range.seq_no).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn fragments_say_what_the_range_deletes_say(bounds in bounds(), shuffled in any::<u64>()) {
        let given = range_deletes(&bounds);
        let mut order = given.clone();
        order.sort_by_key(|range| range.seq_no.wrapping_mul(shuffled | 1));
        let fragments: Fragments = order.into_iter().collect();
        for key in keys() {
            for seq_no in (0..=given.len() as u64).chain([MAX_SEQ_NO]) {
                prop_assert_eq!(fragments.cover(&key, seq_no), cover(&given, &key, seq_no));
            }
        }
    }

    #[test]
    fn fragments_are_disjoint_and_read_back_as_fewest_range_deletes(bounds in bounds()) {
        let given = range_deletes(&bounds);
        let fragments: Fragments = given.iter().cloned().collect();
        let list: Vec<_> = fragments.iter().collect();
        for pair in list.windows(2) {
            prop_assert!(!pair[0].upper().is_empty() && pair[0].upper() <= pair[1].lower());
        }
        let whole = fragments.range_deletes();
        prop_assert!(whole.is_sorted());
        let mut covering: Vec<_> = given.into_iter().filter(RangeDelete::covers_anything).collect();
        covering.sort();
        // Each has a number of its own here, so none joins another.
        prop_assert_eq!(&whole, &covering);
        prop_assert_eq!(whole.into_iter().collect::<Fragments>(), fragments);
    }

    #[test]
    fn what_lies_around_a_key_is_the_same_all_over(bounds in bounds()) {
        let fragments: Fragments = range_deletes(&bounds).into_iter().collect();
        for key in keys() {
            let around = fragments.around(&key);
            prop_assert!(around.lower <= key.as_slice() && is_below(&key, around.upper));
            for other in keys() {
                if around.lower <= other.as_slice() && is_below(&other, around.upper) {
                    let covers = |key: &[u8]| fragments.cover(key, MAX_SEQ_NO);
                    prop_assert_eq!(covers(&other), covers(&key));
                }
            }
        }
    }

    #[test]
    fn overlapping_fragments_are_those_that_share_a_key(bounds in bounds(), other in bounds()) {
        let fragments: Fragments = range_deletes(&bounds).into_iter().collect();
        for (lower, upper) in other.iter().filter(|(lower, upper)| is_below(lower, upper)) {
            let found: Vec<_> = fragments.overlapping(lower, upper).map(Fragment::lower).collect();
            let all = fragments.iter().filter(|f| {
                is_below(f.lower(), upper) && is_below(lower, f.upper())
            });
            prop_assert_eq!(found, all.map(Fragment::lower).collect::<Vec<_>>());
        }
    }

    #[test]
    fn clipped_fragments_cover_what_they_did_inside_and_nothing_outside(
        bounds in bounds(),
        other in bounds(),
    ) {
        let fragments: Fragments = range_deletes(&bounds).into_iter().collect();
        for (lower, upper) in other.iter().filter(|(lower, upper)| is_below(lower, upper)) {
            let clipped = fragments.clipped(lower, upper);
            for key in keys() {
                let is_inside = *lower <= key && is_below(&key, upper);
                let numbers = |of: &Fragments| of.find(&key).map(|it| it.seq_nos().to_vec());
                let expected = if is_inside { numbers(&fragments) } else { None };
                prop_assert_eq!(numbers(&clipped), expected);
            }
        }
    }
}

#[test]
fn a_fragment_hides_all_until_something_newer_is_written_under_it() {
    let mut fragments = Fragments::default();
    let range = |lower: &[u8], upper: &[u8], seq_no| RangeDelete {
        lower: lower.into(),
        upper: upper.into(),
        seq_no,
    };
    fragments.insert(range(b"b", b"m", 5));
    let hides_all = |fragments: &Fragments, key: &[u8], seq_no| {
        fragments.find(key).is_some_and(|fragment| fragment.hides_all(seq_no))
    };
    assert!(hides_all(&fragments, b"c", 5));
    assert!(!hides_all(&fragments, b"c", 4), "the reader is older");
    fragments.note_write(b"c");
    assert!(!hides_all(&fragments, b"c", 9));
    fragments.insert(range(b"a", b"d", 7));
    assert!(hides_all(&fragments, b"c", 9), "the newer one covers what was written");
    assert!(!hides_all(&fragments, b"e", 9), "that lies beyond the newer one");
}
