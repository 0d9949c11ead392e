//! A limit on the bytes a second that background work may write, flushes before compactions; or that
//! a verification may read.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use lsm_io::{File, Mapping, Result, SharedFile, SharedStores};

/// Who goes first when the rate is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Writers wait for it.
    Flush,
    /// Nobody waits for it yet.
    Compaction,
}

/// A token bucket of bytes that holds at most a tenth of a second's worth.
#[derive(Debug, Default)]
pub(crate) struct RateLimiter {
    /// 0: no limit.
    bytes_per_second: AtomicU64,
    bucket: Mutex<Bucket>,
    refilled: Condvar,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Bytes that may be written now; negative while a large write is paid off.
    tokens: f64,
    refilled_at: Option<Instant>,
    flushes_waiting: usize,
}

impl RateLimiter {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Arc<Self> {
        let limiter = Self::default();
        limiter.set_rate(bytes_per_second);
        Arc::new(limiter)
    }

    pub(crate) fn set_rate(&self, bytes_per_second: Option<u64>) {
        self.bytes_per_second.store(bytes_per_second.unwrap_or(0), Ordering::Relaxed);
        self.refilled.notify_all();
    }

    /// Waits until `bytes` may be written, or read.
    pub(crate) fn pay(&self, bytes: usize, priority: Priority) {
        if self.bytes_per_second.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut bucket = self.bucket.lock().expect("no holder panicked");
        bucket.flushes_waiting += usize::from(priority == Priority::Flush);
        loop {
            // Read anew each time: the rate is changeable live.
            let rate = self.bytes_per_second.load(Ordering::Relaxed) as f64;
            if rate == 0.0 {
                break;
            }
            let now = Instant::now();
            let since = bucket.refilled_at.map_or(0.1, |at| (now - at).as_secs_f64());
            bucket.tokens = (bucket.tokens + since * rate).min(rate / 10.0);
            bucket.refilled_at = Some(now);
            let must_yield = priority == Priority::Compaction && bucket.flushes_waiting > 0;
            if bucket.tokens > 0.0 && !must_yield {
                bucket.tokens -= bytes as f64;
                break;
            }
            let wait = Duration::from_secs_f64((-bucket.tokens / rate).clamp(0.001, 0.1));
            bucket = self.refilled.wait_timeout(bucket, wait).expect("no holder panicked").0;
        }
        bucket.flushes_waiting -= usize::from(priority == Priority::Flush);
    }
}

/// A file whose reads and writes wait for the limiter. Who writes tables reads nothing back.
#[derive(Debug)]
pub(crate) struct LimitedFile {
    file: SharedFile,
    limiter: Arc<RateLimiter>,
    priority: Priority,
}

impl LimitedFile {
    pub(crate) fn new(file: SharedFile, limiter: Arc<RateLimiter>, priority: Priority) -> Self {
        Self { file, limiter, priority }
    }
}

impl File for LimitedFile {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn len(&self) -> Result<u64> {
        self.file.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.limiter.pay(buffer.len(), self.priority);
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.limiter.pay(bytes.len(), self.priority);
        self.file.write_at(offset, bytes)
    }

    fn write_at_cached(&self, offset: u64, bytes: &[u8]) -> lsm_io::Result<()> {
        self.limiter.pay(bytes.len(), self.priority);
        self.file.write_at_cached(offset, bytes)
    }

    fn sync(&self) -> Result<()> {
        self.file.sync()
    }

    fn set_len(&self, bytes: u64) -> Result<()> {
        self.file.set_len(bytes)
    }

    fn map(&self) -> Result<Mapping> {
        self.file.map()
    }

    /// Limited files are tables, which are written in whole blocks.
    fn map_for_stores(&self) -> Result<Option<SharedStores>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_rate_nothing_waits() {
        let limiter = RateLimiter::new(None);
        limiter.pay(usize::MAX / 2, Priority::Compaction);
    }

    #[test]
    fn lifting_the_limit_frees_whoever_waits() {
        let limiter = RateLimiter::new(Some(1));
        limiter.pay(1_000_000, Priority::Flush);
        let waiting = Arc::clone(&limiter);
        let thread = std::thread::spawn(move || waiting.pay(1, Priority::Compaction));
        limiter.set_rate(None);
        thread.join().expect("no panic");
    }
}
