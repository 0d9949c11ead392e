//! What a recovery found and did, shown.

use std::io::{self, Write};

use lsm_engine::RecoveryReport;
use serde_json::{Value, json};

use crate::units::{bytes, count, counted, duration};

/// Prints the report in a few lines, each behind `indent` spaces.
pub(crate) fn print(
    out: &mut impl Write,
    report: &RecoveryReport,
    indent: usize,
) -> io::Result<()> {
    let mut line = |name: &str, text: String| writeln!(out, "{:indent$}{name:<12} {text}", "");
    if report.created {
        return line("created", "there was no database before".into());
    }
    if report.closed_cleanly {
        line("closed", "cleanly: there was nothing to recover".into())?;
    } else {
        line("closed", "not at all: the log was replayed".into())?;
    }
    line(
        "log",
        format!(
            "{} with {}; {} were in no table yet",
            counted(report.segments_read as u64, "segment", "segments"),
            counted(report.batches_replayed, "whole batch", "whole batches"),
            counted(report.entries_replayed, "entry", "entries"),
        ),
    )?;
    if report.batches_above_mark > 0 {
        let batches = count(report.batches_above_mark);
        line("last group", format!("{batches} of them lay behind the newest sync mark"))?;
    }
    match &report.cut {
        Some(cut) => line("cut", cut.clone())?,
        None => line("cut", "nothing".into())?,
    }
    if let Some(cut) = &report.manifest_cut {
        line("cut", cut.clone())?;
    }
    for loss in &report.losses {
        line("lost", loss.clone())?;
    }
    if report.tables_written > 0 {
        line("written", counted(report.tables_written as u64, "table", "tables"))?;
    }
    if report.files_removed > 0 {
        let files = counted(report.files_removed as u64, "file", "files");
        line("removed", format!("{files} that nothing named"))?;
    }
    for file in &report.files_set_aside {
        line("set aside", format!("lost/{file}"))?;
    }
    if let Some(limit) = report.memory_limit_bytes {
        let budget = bytes(report.memory_bytes);
        line("memory", format!("a budget of {budget} where {} may be used", bytes(limit)))?;
    }
    line("newest", format!("sequence number {}", count(report.last_seq_no)))?;
    line("took", duration(report.elapsed))
}

/// The report as a JSON object.
pub(crate) fn json(report: &RecoveryReport) -> Value {
    json!({
        "created": report.created,
        "closed_cleanly": report.closed_cleanly,
        "segments_read": report.segments_read,
        "batches_replayed": report.batches_replayed,
        "entries_replayed": report.entries_replayed,
        "batches_above_mark": report.batches_above_mark,
        "cut": report.cut,
        "manifest_cut": report.manifest_cut,
        "losses": report.losses,
        "tables_written": report.tables_written,
        "files_removed": report.files_removed,
        "files_set_aside": report.files_set_aside,
        "memory_bytes": report.memory_bytes,
        "memory_limit_bytes": report.memory_limit_bytes,
        "last_seq_no": report.last_seq_no,
        "elapsed_us": u64::try_from(report.elapsed.as_micros()).unwrap_or(u64::MAX),
    })
}
