//! What a merge asks of its sources: a wrong answer here is slow, not false.

use std::cell::Cell;
use std::convert::Infallible;

use lsm_entry::{Cursor, Direction, Entry, MergingCursor, OwnedEntry, SeqNo, Stretch, VecCursor};

/// A source that counts how often it is asked where it stands.
struct Asked {
    inner: VecCursor,
    questions: Cell<usize>,
}

impl Cursor for Asked {
    type Error = Infallible;

    fn seek_first(&mut self) -> Result<(), Infallible> {
        self.inner.seek_first()
    }

    fn seek_last(&mut self) -> Result<(), Infallible> {
        self.inner.seek_last()
    }

    fn seek(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Infallible> {
        self.inner.seek(key, seq_no)
    }

    fn seek_for_prev(&mut self, key: &[u8], seq_no: SeqNo) -> Result<(), Infallible> {
        self.inner.seek_for_prev(key, seq_no)
    }

    fn next(&mut self) -> Result<(), Infallible> {
        self.inner.next()
    }

    fn prev(&mut self) -> Result<(), Infallible> {
        self.inner.prev()
    }

    fn entry(&self) -> Option<Entry<'_>> {
        self.questions.set(self.questions.get() + 1);
        self.inner.entry()
    }

    fn stretch(&self, direction: Direction) -> Option<Stretch<'_>> {
        self.inner.stretch(direction)
    }

    fn steps_before(&self, key: &[u8], direction: Direction) -> usize {
        self.inner.steps_before(key, direction)
    }
}

/// Deals the keys to sources, walks 10,000 steps over them and counts the questions of a step.
fn questions_a_step(
    direction: Direction,
    sources: usize,
    key: impl Fn(u64) -> String,
    source_of: impl Fn(u64) -> usize,
) -> f64 {
    let mut dealt = vec![Vec::new(); sources];
    for n in 0..20_000 {
        dealt[source_of(n)].push(OwnedEntry::from(Entry::put(key(n).as_bytes(), n + 1, b"")));
    }
    let cursor = |entries| Asked {
        inner: VecCursor::new(entries).with_stretches(32),
        questions: Cell::new(0),
    };
    let mut merged = MergingCursor::new(dealt.into_iter().map(cursor).collect());
    let Ok(()) = match direction {
        Direction::Forward => merged.seek_first(),
        Direction::Backward => merged.seek_last(),
    };
    merged.sources().iter().for_each(|source| source.questions.set(0));
    for _ in 0..10_000 {
        let Ok(()) = match direction {
            Direction::Forward => merged.next(),
            Direction::Backward => merged.prev(),
        };
    }
    let questions: usize = merged.sources().iter().map(|source| source.questions.get()).sum();
    questions as f64 / 10_000.0
}

#[track_caller]
fn check_questions(
    at_most: f64,
    sources: usize,
    key: impl Fn(u64) -> String,
    source_of: impl Fn(u64) -> usize,
) {
    for direction in [Direction::Forward, Direction::Backward] {
        let questions = questions_a_step(direction, sources, &key, &source_of);
        assert!(questions <= at_most, "{questions} questions a step {direction:?}");
    }
}

fn numbered(n: u64) -> String {
    format!("{n:08}")
}

#[test]
fn a_source_alone_is_asked_nothing() {
    check_questions(0.0, 1, numbered, |_| 0);
}

#[test]
fn a_source_whose_stretches_stand_alone_is_asked_once_a_stretch() {
    check_questions(0.1, 8, numbered, |n| (n / 2500) as usize);
    check_questions(0.3, 8, numbered, |n| if n % 500 == 0 { 1 + n as usize / 500 % 7 } else { 0 });
}

#[test]
fn a_source_into_whose_stretches_few_others_reach_is_asked_next_to_nothing() {
    check_questions(0.17, 2, numbered, |n| usize::from(n % 50 == 25));
}

#[test]
fn of_shuffled_sources_only_the_one_that_moved_is_asked() {
    check_questions(1.1, 8, numbered, |n| ((n * 0x9E37) >> 8) as usize % 8);
}

#[test]
fn a_long_prefix_that_many_keys_share_hides_nothing() {
    let tenants = |n| format!("tenant/{:04}/department/of/user/{:08}", n / 1000, n % 1000);
    check_questions(1.6, 8, tenants, |n| ((n * 0x9E37) >> 8) as usize % 8);
}

#[test]
fn a_source_that_stands_far_away_does_not_hide_how_the_others_differ() {
    let key = |n| if n == 19_999 { "zebra".into() } else { format!("tenant/0042/{n:08}/profile") };
    check_questions(1.2, 8, key, |n| {
        if n == 19_999 { 0 } else { 1 + ((n * 0x9E37) >> 8) as usize % 7 }
    });
}

#[test]
fn versions_of_one_key_in_every_source_cost_a_look_at_each_and_no_more() {
    check_questions(8.0, 4, |n| numbered(n / 4), |n| n as usize % 4);
}
