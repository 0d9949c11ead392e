//! What the operating system knows of this process and of a directory.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

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
        total += if metadata.is_dir() { space_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(total)
}

/// Copies a directory; what is a hole in a file stays one.
pub(crate) fn copy_dir(source: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let target = target.join(entry.file_name());
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else if metadata.blocks() * 512 < metadata.len() {
            copy_sparse(&entry.path(), &target, metadata.len())?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn copy_sparse(source: &Path, target: &Path, bytes: u64) -> io::Result<()> {
    let (mut source, mut target) = (fs::File::open(source)?, fs::File::create(target)?);
    target.set_len(bytes)?;
    let mut chunk = vec![0; 1 << 20];
    loop {
        let count = source.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        if chunk[..count].iter().all(|&byte| byte == 0) {
            target.seek(SeekFrom::Current(count as i64))?;
        } else {
            target.write_all(&chunk[..count])?;
        }
    }
}
