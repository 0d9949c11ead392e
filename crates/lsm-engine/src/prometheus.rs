//! Metrics as text that Prometheus and its kin read.
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4. Names end
//! with their unit, and those of counters with `_total`; times are seconds.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use lsm_compaction::Pressure;

use crate::budget::MemoryMetrics;
use crate::histogram::Times;
use crate::metrics::{BlobMetrics, CpuTimes, Metrics};
use crate::samples::{PathTimes, TouchMetrics};

/// Ends of the buckets of a histogram, in nanoseconds, as powers of two: from 64 ns to 69 s.
const BUCKET_BITS: std::ops::RangeInclusive<u32> = 6..=36;
/// Each bucket is four times as long as the one before.
const BUCKET_STEP: usize = 2;

impl Metrics {
    /// All of it as text in Prometheus' format, for a program to serve at `/metrics`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let db = lsm_engine::Db::open(dir.path())?;
    /// db.put("key", "value")?;
    /// let text = db.metrics().to_prometheus();
    /// assert!(text.contains("\nlsm_entries_written_total 1\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_prometheus(&self) -> String {
        let mut page = Page(String::new());
        self.write_order(&mut page);
        self.write_work(&mut page);
        self.write_pressure(&mut page);
        self.write_reads(&mut page);
        self.write_kept(&mut page);
        write_times(&mut page, &self.times);
        page.0
    }

    fn write_order(&self, page: &mut Page) {
        page.gauge(
            "lsm_appended_seq_no",
            "Newest sequence number in the log's buffer",
            self.appended,
        );
        page.gauge("lsm_durable_seq_no", "Newest sequence number on disk", self.durable);
        page.gauge("lsm_visible_seq_no", "Newest sequence number that reads see", self.visible);
        page.gauge("lsm_flushed_seq_no", "Everything up to here is in tables", self.flushed);
        let help = "Records that a power cut would take";
        page.gauge("lsm_not_durable_records", help, self.records_not_durable());
        let help = "Durable records that are in no table yet";
        page.gauge("lsm_not_flushed_records", help, self.records_not_flushed());
        let help = "Commits that wait for a write or a sync of the log";
        page.gauge("lsm_waiting_commits", help, self.commits_waiting);
        page.counter(
            "lsm_log_rounds_total",
            "Rounds in which the log was written",
            self.log_rounds,
        );
        page.counter("lsm_log_syncs_total", "Rounds that synced", self.log_syncs);
        let help = "Log segments made of the files of old ones";
        page.counter("lsm_log_segments_recycled_total", help, self.log_segments_recycled);
        page.gauge("lsm_log_bytes", "Bytes of log that a replay would read", self.log_bytes);
        page.counter("lsm_lookups_total", "Point reads and seeks", self.lookups);
        page.counter("lsm_entries_written_total", "Puts and deletes", self.entries_written);
        let help = "Key and value bytes of puts and deletes";
        page.counter("lsm_user_written_bytes_total", help, self.user_bytes_written);
    }

    fn write_work(&self, page: &mut Page) {
        page.begin("lsm_disk_written_bytes_total", "counter", "Bytes written to the disk by cause");
        for (cause, bytes) in [
            ("log", self.log_bytes_written),
            ("log_fill", self.log_bytes_filled),
            ("flush", self.flush_bytes_written),
            ("recovery", self.recovery_bytes_written),
            ("ingest", self.ingest_bytes_written),
            ("compaction", self.compaction_bytes_written),
            ("checkpoint", self.checkpoint_bytes_written),
            ("export", self.export_bytes_written),
            ("manifest", self.manifest_bytes_written),
        ] {
            page.labelled("lsm_disk_written_bytes_total", "cause", cause, bytes);
        }
        page.counter("lsm_flushes_total", "Memtables flushed", self.flushes);
        let help =
            "Bytes of blob files that flushes, merges and bulk loads wrote, among theirs, too";
        page.counter("lsm_blob_written_bytes_total", help, self.blob_bytes_written);
        let help = "Bulk loads that became part of a keyspace";
        page.counter("lsm_ingests_total", help, self.ingests);
        page.counter("lsm_compactions_total", "Merges carried out", self.compactions);
        let help = "Bytes of tables that merges read";
        page.counter("lsm_compaction_read_bytes_total", help, self.compaction_bytes_read);
        let help = "Entries that merges dropped";
        page.counter("lsm_entries_dropped_total", help, self.entries_dropped);
        let help = "Values that compaction filters took away";
        page.counter("lsm_filter_removed_total", help, self.filter_removed);
        let help = "Values that compaction filters changed";
        page.counter("lsm_filter_replaced_total", help, self.filter_replaced);
        let help = "Values that stay because a compaction filter failed";
        page.counter("lsm_filter_failures_total", help, self.filter_failures);
        let help = "Sealed memtables that wait to be flushed";
        page.gauge("lsm_sealed_memtables", help, self.sealed_memtables);
        let help = "Compaction plans that are being carried out";
        page.gauge("lsm_running_compactions", help, self.compactions_running);
        let help = "Bytes that wait to be merged";
        page.gauge("lsm_compaction_debt_bytes", help, self.compaction_debt_bytes);
        let help = "Dead files that wait to be removed";
        page.gauge("lsm_files_to_remove", help, self.files_to_remove);
        let CpuTimes { log, flush, compaction } = self.cpu;
        let name = "lsm_background_cpu_seconds_total";
        page.begin(name, "counter", "Processor time of work in the background");
        for (work, time) in [("log", log), ("flush", flush), ("compaction", compaction)] {
            page.labelled(name, "work", work, seconds(time));
        }
        let help = "Failures of work in the background";
        page.counter("lsm_background_errors_total", help, self.background_errors);
        let help = "Whether work in the background failed and has not succeeded since";
        page.flag("lsm_background_failing", help, self.last_background_error.is_some());
    }

    fn write_pressure(&self, page: &mut Page) {
        let (level, delay_ns) = match &self.pressure {
            Pressure::Flow => (0, 0),
            Pressure::Slow { delay_ns_per_kib, .. } => (1, *delay_ns_per_kib),
            Pressure::Stop { .. } => (2, 0),
        };
        page.gauge("lsm_pressure", "What writes feel: 0 flow, 1 slow, 2 stop", level);
        let help = "Delay of slowed writes for each KiB";
        page.gauge("lsm_write_delay_seconds_per_kib", help, delay_ns as f64 / 1e9);
        page.begin(
            "lsm_stalled_writes_total",
            "counter",
            "Writes held up, by what they waited for",
        );
        for stall in &self.stalls {
            page.labelled("lsm_stalled_writes_total", "cause", stall.cause.name(), stall.writes);
        }
        page.begin("lsm_stalled_seconds_total", "counter", "Time that writes were held up");
        for stall in &self.stalls {
            let waited = seconds(stall.waited);
            page.labelled("lsm_stalled_seconds_total", "cause", stall.cause.name(), waited);
        }
        let help = "Whether writes fail until the database is opened again";
        page.flag("lsm_read_only", help, self.poison.is_some());
        let help = "Whether the disk is full, and only deletes are accepted";
        page.flag("lsm_no_space", help, self.no_space.is_some());
        let help = "Room on the disk kept in reserve";
        page.gauge("lsm_reserve_bytes", help, self.reserve_bytes);
        let help = "Bytes written for each byte that users wrote";
        page.gauge("lsm_write_amplification", help, self.write_amplification());
    }

    fn write_reads(&self, page: &mut Page) {
        let help = "Tables whose filter wrongly said perhaps";
        page.counter("lsm_filter_false_positives_total", help, self.filter_false_positives);
        let help = "Entries that scans stepped over because they do not count";
        page.counter("lsm_entries_passed_total", help, self.entries_passed);
        if let Some(age_ms) = self.oldest_tombstone_age_ms {
            let help = "At most so long ago the oldest tombstone in a table was written";
            page.gauge("lsm_oldest_tombstone_seconds", help, age_ms as f64 / 1000.0);
        }
        if let Some(age_ms) = self.oldest_blob_garbage_age_ms {
            let help = "At most so long ago a large value in a blob file became garbage";
            page.gauge("lsm_oldest_blob_garbage_seconds", help, age_ms as f64 / 1000.0);
        }
        let TouchMetrics { reads, tables, blocks } = self.touched;
        let help = "Point reads of which it was counted what they touch";
        page.counter("lsm_sampled_reads_total", help, reads);
        page.counter("lsm_sampled_tables_total", "Tables that those touched", tables);
        page.counter("lsm_sampled_blocks_total", "Blocks that those touched", blocks);
        page.counter("lsm_cache_hits_total", "Blocks found in the cache", self.cache_hits);
        page.counter("lsm_cache_misses_total", "Blocks not found there", self.cache_misses);
        page.counter("lsm_tables_opened_total", "Tables opened", self.tables_opened);
    }

    fn write_kept(&self, page: &mut Page) {
        let memory = &self.memory;
        let MemoryMetrics {
            budget_bytes,
            limit_bytes,
            active_memtable_bytes,
            sealed_memtable_bytes,
            held_memtable_bytes,
            spare_memtable_bytes,
            memtable_bytes_max,
            cache_bytes,
            cache_bytes_max,
            table_bytes,
            cursor_bytes,
            blob_bytes,
        } = *memory;
        page.gauge("lsm_memory_budget_bytes", "Budget for all kinds of memory", budget_bytes);
        if let Some(bytes) = limit_bytes {
            let help = "The most that this process may use";
            page.gauge("lsm_memory_limit_bytes", help, bytes);
        }
        page.begin("lsm_memory_bytes", "gauge", "Memory in use by kind");
        for (kind, bytes) in [
            ("active_memtables", active_memtable_bytes),
            ("sealed_memtables", sealed_memtable_bytes),
            ("held_memtables", held_memtable_bytes),
            ("spare_memtables", spare_memtable_bytes),
            ("cache", cache_bytes),
            ("tables", table_bytes),
            ("cursors", cursor_bytes),
            ("blobs", blob_bytes),
        ] {
            page.labelled("lsm_memory_bytes", "kind", kind, bytes);
        }
        page.begin("lsm_memory_max_bytes", "gauge", "The most that a kind of memory may take now");
        page.labelled("lsm_memory_max_bytes", "kind", "memtables", memtable_bytes_max);
        page.labelled("lsm_memory_max_bytes", "kind", "cache", cache_bytes_max);
        page.gauge("lsm_snapshots", "Snapshots and scans registered", self.snapshots);
        if let Some(oldest) = self.oldest_snapshot {
            page.gauge("lsm_oldest_snapshot_seq_no", "The oldest of them", oldest);
        }
        if let Some(age_ms) = self.oldest_snapshot_age_ms {
            let help = "How long the oldest of them has been there";
            page.gauge("lsm_oldest_snapshot_age_seconds", help, age_ms as f64 / 1000.0);
        }
        let help = "Records written after the oldest snapshot";
        page.gauge("lsm_behind_snapshot_records", help, self.records_behind_oldest_snapshot());
        let levels = || (0..).zip(&self.levels);
        page.begin("lsm_level_tables", "gauge", "Tables by level");
        levels().for_each(|(n, level)| page.labelled("lsm_level_tables", "level", n, level.tables));
        page.begin("lsm_level_runs", "gauge", "Runs by level");
        levels().for_each(|(n, level)| page.labelled("lsm_level_runs", "level", n, level.runs));
        page.begin("lsm_level_bytes", "gauge", "Bytes of tables by level");
        levels().for_each(|(n, level)| page.labelled("lsm_level_bytes", "level", n, level.bytes));
        page.begin("lsm_level_entries", "gauge", "Entries by level");
        levels().for_each(|(n, it)| page.labelled("lsm_level_entries", "level", n, it.entries));
        page.begin("lsm_level_tombstones", "gauge", "Tombstones by level");
        levels()
            .for_each(|(n, it)| page.labelled("lsm_level_tombstones", "level", n, it.tombstones));
        page.begin("lsm_level_range_deletes", "gauge", "Range deletes by level");
        levels().for_each(|(n, it)| {
            page.labelled("lsm_level_range_deletes", "level", n, it.range_deletes);
        });
        page.begin("lsm_level_raw_bytes", "gauge", "Key and value bytes by level, before encoding");
        levels().for_each(|(n, it)| page.labelled("lsm_level_raw_bytes", "level", n, it.raw_bytes));
        let help = "Bytes at the deepest level of each keyspace";
        page.gauge("lsm_bottom_bytes", help, self.bottom_bytes);
        let BlobMetrics { files, bytes, live_values, live_bytes, garbage_bytes } = self.blobs;
        page.gauge("lsm_blob_files", "Files of large values", files);
        page.gauge("lsm_blob_file_bytes", "Their bytes", bytes);
        page.gauge("lsm_blob_values", "Large values to which tables refer", live_values);
        page.gauge("lsm_blob_live_bytes", "Bytes of those", live_bytes);
        let help = "Bytes of large values to which no table refers any more";
        page.gauge("lsm_blob_garbage_bytes", help, garbage_bytes);
        let help = "Bytes of tables and blob files for each byte that counts, by estimate";
        page.gauge("lsm_space_amplification", help, self.space_amplification());
    }
}

fn write_times(page: &mut Page, times: &PathTimes) {
    let PathTimes { get, multi_get, write, durable_wait, seek, sync, flush, compaction } = times;
    page.times("lsm_get_seconds", "Point reads, one in 256", get);
    page.times("lsm_multi_get_seconds", "Reads of several keys at once, one in 256", multi_get);
    page.times("lsm_write_seconds", "Writes until acknowledged, one in 256", write);
    let help = "The part of those that waited for its durability";
    page.times("lsm_durable_wait_seconds", help, durable_wait);
    page.times("lsm_seek_seconds", "Seeks of cursors and iterators, one in 256", seek);
    page.times("lsm_sync_seconds", "Syncs of the log", sync);
    page.times("lsm_flush_seconds", "Flushes of a memtable", flush);
    page.times("lsm_compaction_seconds", "Merges, moves and drops of tables", compaction);
}

/// Text in the making.
struct Page(String);

impl Page {
    /// Begins a family of samples: what follows has its name.
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn counter(&mut self, name: &str, help: &str, count: u64) {
        self.begin(name, "counter", help);
        self.line(format_args!("{name} {count}"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.begin(name, "gauge", help);
        self.line(format_args!("{name} {value}"));
    }

    fn flag(&mut self, name: &str, help: &str, is_set: bool) {
        self.gauge(name, help, u8::from(is_set));
    }

    fn labelled(&mut self, name: &str, label: &str, is: impl Display, value: impl Display) {
        self.line(format_args!("{name}{{{label}=\"{is}\"}} {value}"));
    }

    fn times(&mut self, name: &str, help: &str, times: &Times) {
        self.begin(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        for bits in BUCKET_BITS.step_by(BUCKET_STEP) {
            let end = Duration::from_nanos(1 << bits);
            self.labelled(&bucket, "le", seconds(end), times.count_below(end));
        }
        self.labelled(&bucket, "le", "+Inf", times.count());
        self.line(format_args!("{name}_sum {}", seconds(times.total())));
        self.line(format_args!("{name}_count {}", times.count()));
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{text}").expect("text grows");
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e9
}
