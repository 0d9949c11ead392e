//! Never a wrong "no", and as few wrong "perhaps" as the formula says.

use lsm_bloom::{Filter, FilterBuilder, false_positive_rate};

use crate::{filter_of, hash};

#[test]
fn what_was_added_is_never_denied() {
    for keys in [0, 1, 2, 50, 51, 52, 1000, 100_000] {
        for bits_per_key in [1.0, 4.0, 10.0, 20.0, 64.0] {
            let bytes = filter_of(keys, bits_per_key);
            let filter = Filter::parse(&bytes).expect("just built");
            assert!((0..keys).all(|n| filter.may_contain(hash(n))), "{keys} at {bits_per_key}");
        }
    }
}

/// Asks a filter of 200,000 keys for a million others.
#[track_caller]
fn check_rate(bits_per_key: f32, lower: f64, upper: f64) {
    let bytes = filter_of(200_000, bits_per_key);
    let filter = Filter::parse(&bytes).expect("just built");
    let asked = 1_000_000;
    let wrong = (0..asked).filter(|n| filter.may_contain(hash((1 << 40) + n))).count();
    let measured = wrong as f64 / asked as f64;
    assert!((lower..upper).contains(&measured), "{measured} at {bits_per_key} bits");
    let ratio = measured / false_positive_rate(bits_per_key);
    assert!((0.9..1.15).contains(&ratio), "{ratio} of what is documented, {bits_per_key} bits");
}

#[test]
fn at_ten_bits_a_key_about_one_answer_in_a_hundred_is_wrong() {
    check_rate(10.0, 0.0090, 0.0114);
}

#[test]
fn the_measured_rate_is_the_documented_one() {
    check_rate(1.0, 0.55, 0.75);
    check_rate(4.0, 0.14, 0.17);
    check_rate(8.0, 0.021, 0.026);
    check_rate(14.0, 0.0016, 0.0021);
    check_rate(16.0, 0.0007, 0.0010);
}

#[test]
fn an_empty_filter_denies_everything() {
    let bytes = filter_of(0, 10.0);
    let filter = Filter::parse(&bytes).expect("just built");
    assert!((0..1000).all(|n| !filter.may_contain(hash(n))));
}

#[test]
fn a_hash_added_twice_in_a_row_takes_room_once() {
    let mut builder = FilterBuilder::new(10.0);
    (0..20_000).for_each(|n| (0..3).for_each(|_| builder.add(hash(n))));
    assert_eq!(builder.len(), 20_000);
    assert_eq!(builder.finish(), filter_of(20_000, 10.0));
}

#[test]
fn impossible_numbers_of_bits_are_brought_into_range() {
    for (given, used) in [(0.0, 1.0), (-5.0, 1.0), (f32::INFINITY, 64.0), (f32::NAN, 10.0)] {
        assert_eq!(filter_of(100, given), filter_of(100, used), "{given}");
    }
}
