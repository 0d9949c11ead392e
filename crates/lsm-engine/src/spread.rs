//! Shared ownership that many threads take and give back all the time, each counting on a cache line of
//! its own: a count that two processors change in turns costs either of them a miss each time.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::stats::{LANES, lane};

/// A value that is shared, with a count for each lane of threads.
pub(crate) struct Spread<T> {
    lanes: Arc<[Held<T>; LANES]>,
}

/// The value of a [`Spread`], held by a count of one lane. It may go to any thread, and be let go of there.
pub(crate) struct Held<T>(Arc<Lane<T>>);

/// Two cache lines, for processors bring them in by pairs.
#[repr(align(128))]
struct Lane<T>(Arc<T>);

impl<T> Spread<T> {
    pub(crate) fn new(value: &Arc<T>) -> Self {
        let held = |_| Held(Arc::new(Lane(Arc::clone(value))));
        Self { lanes: Arc::new(std::array::from_fn(held)) }
    }

    /// The value, counted where the calling thread counts.
    #[inline]
    pub(crate) fn hold(&self) -> Held<T> {
        self.lanes[lane()].clone()
    }
}

impl<T> Clone for Spread<T> {
    fn clone(&self) -> Self {
        Self { lanes: Arc::clone(&self.lanes) }
    }
}

impl<T> Clone for Held<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Spread<T> {
    type Target = Arc<T>;

    #[inline]
    fn deref(&self) -> &Arc<T> {
        &self.lanes[0]
    }
}

impl<T> Deref for Held<T> {
    type Target = Arc<T>;

    #[inline]
    fn deref(&self) -> &Arc<T> {
        &self.0.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Spread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_there_until_the_last_holder_has_let_go_of_it() {
        let value = Arc::new("value".to_owned());
        let gone = Arc::downgrade(&value);
        let spread = Spread::new(&value);
        drop(value);
        let held =
            std::thread::scope(|scope| scope.spawn(|| spread.hold()).join()).expect("no panic");
        drop((spread.clone(), held.clone(), spread));
        assert_eq!(held.as_str(), "value");
        drop(held);
        assert!(gone.upgrade().is_none());
    }
}
