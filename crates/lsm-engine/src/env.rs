//! The world as the engine sees it: files, time, randomness, threads. All four are passed in, so
//! that a test can stand in for each of them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lsm_io::{SharedFs, StdFs};

/// How background work (flush, compaction, log segments, deletion of files) is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spawn {
    /// By threads of the engine's own.
    Threads,
    /// Only when the owner of the database asks for a step: the order of events is the test's.
    #[cfg(any(test, feature = "testing"))]
    Manual,
}

/// What the engine needs of the world. The default is the real one.
#[derive(Clone)]
pub struct Env {
    /// Files and directories.
    pub fs: SharedFs,
    /// Milliseconds since 1970.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Lets so much time go by on that clock: an open may have to wait for it after a crash.
    pub wait: Arc<dyn Fn(Duration) + Send + Sync>,
    /// A number nobody can foresee, drawn when a database is created or opened.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Who does background work.
    pub spawn: Spawn,
}

impl Env {
    /// The simulated world of a test: `fs`, a clock that stands still, for which nobody waits, a fixed
    /// seed and no threads.
    #[cfg(any(test, feature = "testing"))]
    pub fn simulated(fs: SharedFs) -> Self {
        Self {
            fs,
            clock: Arc::new(|| 1_700_000_000_000),
            wait: Arc::new(|_| {}),
            random: Arc::new(|| 0x5EED),
            spawn: Spawn::Manual,
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.clock)()
    }
}

impl Default for Env {
    fn default() -> Self {
        Self {
            fs: StdFs::shared(),
            clock: Arc::new(|| {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }),
            wait: Arc::new(std::thread::sleep),
            random: Arc::new(|| {
                use std::hash::{BuildHasher, RandomState};
                // The standard library seeds its hasher from the system's random source.
                RandomState::new().hash_one(std::process::id())
            }),
            spawn: Spawn::Threads,
        }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("fs", &self.fs).field("spawn", &self.spawn).finish()
    }
}
