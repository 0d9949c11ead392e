//! What the operating system knows of this process and of a directory.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::store::Result;

/// How often memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(20);

/// Bytes that this process has caused to be written to storage; 0 where it cannot be told.
pub(crate) fn bytes_written() -> u64 {
    field("/proc/self/io", "write_bytes:").unwrap_or(0)
}

/// Processor time that all threads of this process have used, in seconds.
pub(crate) fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The fields after the command, which is in parentheses: user time is the 12th, system time
    // the 13th, in ticks of which a second has 100.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

fn rss_anon_bytes() -> Option<u64> {
    field("/proc/self/status", "RssAnon:").map(|kib| kib * 1024)
}

fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Watches this process's anonymous memory from a thread of its own.
pub(crate) struct MemoryWatch {
    stop: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl MemoryWatch {
    pub(crate) fn start() -> Self {
        let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = thread::spawn({
            let (stop, peak) = (Arc::clone(&stop), Arc::clone(&peak));
            move || loop {
                peak.fetch_max(rss_anon_bytes().unwrap_or(0), Ordering::Relaxed);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                thread::park_timeout(SAMPLE_INTERVAL);
            }
        });
        Self { stop, peak, thread }
    }

    /// The most bytes seen.
    pub(crate) fn peak_bytes(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        let _ = self.thread.join();
        self.peak.load(Ordering::Relaxed)
    }
}

/// Bytes that a directory's files take on disk.
pub(crate) fn space_bytes(dir: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total +=
            if metadata.is_dir() { space_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(total)
}

/// Copies a directory; what is a hole in a file stays one.
pub(crate) fn copy_dir(source: &Path, target: &Path) -> Result<()> {
    succeed(Command::new("cp").args(["--archive", "--sparse=auto", "--"]).args([source, target]))
}

/// Waits until what was written to a directory's file system is on disk, so that one measurement
/// does not pay for what came before it.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    succeed(Command::new("sync").arg("--file-system").arg(dir))
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}").into()) }
}

/// How long an engine has to be quiet before it counts as settled.
const QUIET: Duration = Duration::from_millis(100);
const QUIET_POLL: Duration = Duration::from_millis(20);
/// A process that uses less of the processor than this while it is watched does nothing.
const QUIET_CPU_SECONDS: f64 = 0.015;

/// For engines that do not say when their background work is done: waits until `is_busy` is false
/// and the process has hardly used the processor for a while. Returns that while.
pub fn wait_until_quiet(is_busy: impl Fn() -> bool) -> Duration {
    let (mut since, mut cpu) = (Instant::now(), cpu_seconds());
    loop {
        thread::sleep(QUIET_POLL);
        if is_busy() || cpu_seconds() - cpu > QUIET_CPU_SECONDS {
            (since, cpu) = (Instant::now(), cpu_seconds());
        } else if since.elapsed() >= QUIET {
            return since.elapsed();
        }
    }
}
