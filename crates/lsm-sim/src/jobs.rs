//! Independent pieces of work, numbered from 0, carried out by several threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Calls `work` with 0, 1, 2, ... on so many threads until it has no more to do (`None`) or fails,
/// and hands each result to `take`, in the order in which they are done.
///
/// # Errors
/// The first failure.
pub fn in_parallel<T: Send, E: Send>(
    threads: usize,
    work: impl Fn(u64) -> Option<Result<T, E>> + Sync,
    take: impl FnMut(T) + Send,
) -> Result<(), E> {
    let next = AtomicU64::new(0);
    let failure = Mutex::new(None);
    let take = Mutex::new(take);
    let run = || {
        while failure.lock().expect("no holder panicked").is_none() {
            match work(next.fetch_add(1, Ordering::Relaxed)) {
                None => return,
                Some(Ok(result)) => (*take.lock().expect("no holder panicked"))(result),
                Some(Err(error)) => {
                    failure.lock().expect("no holder panicked").get_or_insert(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(run);
        }
    });
    failure.into_inner().expect("no holder panicked").map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_is_done_once() {
        let mut done = Vec::new();
        let work = |number| (number < 100).then_some(Ok::<_, ()>(number));
        in_parallel(3, work, |number| done.push(number)).expect("nothing fails");
        done.sort_unstable();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_failure_ends_it() {
        let work = |number| Some(if number < 10 { Ok(()) } else { Err(number) });
        assert!(in_parallel(2, work, |()| {}).expect_err("it fails") >= 10);
    }
}
