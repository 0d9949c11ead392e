//! How long a thread has run.
#![allow(unsafe_code)] // One of the few files that may: the standard library does not ask this.

use std::time::Duration;

/// The processor time that the calling thread has used so far, waiting not counted; `None` where
/// the system does not tell.
///
/// ```
/// let before = lsm_io::thread_cpu_time();
/// std::hint::black_box((0..1000_u64).sum::<u64>());
/// assert!(lsm_io::thread_cpu_time() >= before);
/// ```
pub fn thread_cpu_time() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    {
        let mut time = std::mem::MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: `time` has the size and alignment that the call writes to.
        let status =
            unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr()) };
        if status != 0 {
            return None;
        }
        // SAFETY: the call succeeded, so it filled the whole structure.
        let time = unsafe { time.assume_init() };
        let nanoseconds = u32::try_from(time.tv_nsec).ok()?;
        Some(Duration::new(u64::try_from(time.tv_sec).ok()?, nanoseconds))
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_sleep_takes_next_to_none() {
        let used = |work: &dyn Fn()| {
            let before = thread_cpu_time().expect("Linux tells");
            work();
            thread_cpu_time().expect("Linux tells") - before
        };
        let slept = used(&|| std::thread::sleep(Duration::from_millis(50)));
        let worked = used(&|| {
            let mut word = 1_u64;
            for _ in 0..5_000_000 {
                word = std::hint::black_box(word.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1);
            }
        });
        assert!(slept < worked, "{slept:?} asleep, {worked:?} at work");
    }
}
