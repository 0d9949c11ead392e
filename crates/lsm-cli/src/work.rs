//! What an open database has done since it was opened, shown.

use std::io::{self, Write};
use std::ops::AddAssign;

use lsm_engine::Metrics;
use serde_json::{Value, json};

use crate::units::{bytes, count, ratio};

/// Bytes written for the user, and on their account.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) user_bytes: u64,
    pub(crate) log_bytes: u64,
    pub(crate) log_syncs: u64,
    pub(crate) flush_bytes: u64,
    pub(crate) flushes: u64,
    pub(crate) compaction_bytes: u64,
    pub(crate) compactions: u64,
    pub(crate) stall_ms: u64,
}

impl From<&Metrics> for Work {
    fn from(metrics: &Metrics) -> Self {
        Self {
            user_bytes: metrics.user_bytes_written,
            log_bytes: metrics.log_bytes_written,
            log_syncs: metrics.log_syncs,
            flush_bytes: metrics.flush_bytes_written,
            flushes: metrics.flushes,
            compaction_bytes: metrics.compaction_bytes_written,
            compactions: metrics.compactions,
            stall_ms: metrics.stall_ms,
        }
    }
}

/// Work of several opens of one database.
impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.user_bytes += other.user_bytes;
        self.log_bytes += other.log_bytes;
        self.log_syncs += other.log_syncs;
        self.flush_bytes += other.flush_bytes;
        self.flushes += other.flushes;
        self.compaction_bytes += other.compaction_bytes;
        self.compactions += other.compactions;
        self.stall_ms += other.stall_ms;
    }
}

impl Work {
    /// What was done after `earlier` was counted.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            user_bytes: self.user_bytes - earlier.user_bytes,
            log_bytes: self.log_bytes - earlier.log_bytes,
            log_syncs: self.log_syncs - earlier.log_syncs,
            flush_bytes: self.flush_bytes - earlier.flush_bytes,
            flushes: self.flushes - earlier.flushes,
            compaction_bytes: self.compaction_bytes - earlier.compaction_bytes,
            compactions: self.compactions - earlier.compactions,
            stall_ms: self.stall_ms - earlier.stall_ms,
        }
    }

    /// Everything written, whatever for.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.log_bytes + self.flush_bytes + self.compaction_bytes
    }

    /// Prints it in a few lines, each behind `indent` spaces.
    pub(crate) fn print(&self, out: &mut impl Write, indent: usize) -> io::Result<()> {
        let mut line = |name: &str, text: String| writeln!(out, "{:indent$}{name:<12} {text}", "");
        line("given", format!("{} of keys and values", bytes(self.user_bytes)))?;
        line("log", format!("{} in {} syncs", bytes(self.log_bytes), count(self.log_syncs)))?;
        line("flushes", format!("{} in {}", bytes(self.flush_bytes), count(self.flushes)))?;
        let compactions = count(self.compactions);
        line("compactions", format!("{} in {compactions}", bytes(self.compaction_bytes)))?;
        let amplification = ratio(self.written_bytes(), self.user_bytes);
        line(
            "together",
            format!("write amplification {amplification}: so many bytes a byte given"),
        )?;
        if self.stall_ms > 0 {
            line("waited", format!("{} ms for flushes and compactions", count(self.stall_ms)))?;
        }
        Ok(())
    }

    /// The same as a JSON object.
    pub(crate) fn json(&self) -> Value {
        let amplification =
            (self.user_bytes > 0).then(|| self.written_bytes() as f64 / self.user_bytes as f64);
        json!({
            "user_bytes": self.user_bytes,
            "log_bytes": self.log_bytes,
            "log_syncs": self.log_syncs,
            "flush_bytes": self.flush_bytes,
            "flushes": self.flushes,
            "compaction_bytes": self.compaction_bytes,
            "compactions": self.compactions,
            "stall_ms": self.stall_ms,
            "write_amplification": amplification,
        })
    }
}
