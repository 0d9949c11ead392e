//! Which threads go first when processors are scarce.
#![allow(unsafe_code)] // One of the few files that may: the standard library does not ask this.

/// How much less a thread that gives way is served: a tenth of the time that others get, while
/// they want it, and everything that they leave.
#[cfg(target_os = "linux")]
const NICE: libc::c_int = 10;

/// Makes the calling thread give way to all others that want to run: for work in the background,
/// so that whoever waits for an answer is not kept waiting for a merge. It gets whatever time is
/// left. Where threads have no priorities of their own, nothing happens.
///
/// ```
/// std::thread::spawn(lsm_io::give_way).join().unwrap();
/// ```
pub fn give_way() {
    #[cfg(target_os = "linux")]
    // SAFETY: the call takes numbers only. 0 stands for the calling thread, whose niceness is its
    // own on Linux. It can fail only where raising niceness is forbidden, and then the thread runs
    // as before.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn niceness() -> libc::c_int {
        // SAFETY: the call takes numbers only.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    #[test]
    fn only_the_thread_that_asks_gives_way() {
        let before = niceness();
        let asked = std::thread::spawn(|| {
            give_way();
            niceness()
        });
        assert_eq!(asked.join().expect("no panic"), before.max(NICE));
        assert_eq!(niceness(), before);
    }
}
