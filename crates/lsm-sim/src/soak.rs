//! The long run on a real disk: a child process loads entries and is killed at random moments; what
//! it acknowledged must be there, what is read back must equal the model, and memory must stay
//! within its budget.
//!
//! Entry `n` has a key and a value that follow from `n` and the seed, and entries are loaded in
//! ascending `n`: so the whole model is one number, how many were acknowledged.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use lsm_engine::{Db, Durability, Options, Reads, WriteBatch, WriteOptions};
use lsm_workload::{Rng, key_bytes};

/// Entries in one durable batch.
const BATCH_ENTRIES: u64 = 1000;
/// Bytes of a value.
const VALUE_BYTES: usize = 100;

/// What to soak.
#[derive(Clone, Debug)]
pub struct Soak {
    /// Entries to load.
    pub entries: u64,
    /// Decides keys, values and the moments of the kills.
    pub seed: u64,
    /// How often the loader is killed.
    pub kills: u64,
    /// The engine's budget.
    pub memory_bytes: u64,
    /// Where the database lies.
    pub dir: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct SoakReport {
    /// Kills that hit the loader at work.
    pub kills: u64,
    /// Entries read back and compared.
    pub compared: u64,
    /// Most anonymous memory that a loader held, in bytes.
    pub peak_anonymous_bytes: u64,
    /// How long loading took, restarts included.
    pub loading: Duration,
    /// Bytes of tables at the end.
    pub table_bytes: u64,
}

fn options(memory_bytes: u64) -> Options {
    Options { memory_bytes, ..Options::default() }
}

/// The value of entry `n`: half of it random, half of it repeated.
fn value_of(n: u64, seed: u64) -> [u8; VALUE_BYTES] {
    let mut value = [b'.'; VALUE_BYTES];
    Rng::new(n ^ seed.rotate_left(32)).fill(&mut value[..VALUE_BYTES / 2]);
    value
}

impl Soak {
    /// Loads, kills, restarts, and reads everything back.
    ///
    /// # Errors
    /// What was lost, wrong, or beyond the budget, in words.
    pub fn run(&self) -> Result<SoakReport, String> {
        let mut report = SoakReport::default();
        let mut rng = Rng::new(self.seed);
        let bar = progress("loading", self.entries);
        let began = Instant::now();
        let mut acknowledged = 0;
        while acknowledged < self.entries {
            let kill_after = (report.kills < self.kills).then(|| {
                let remaining = self.kills - report.kills;
                rng.below(2 * (self.entries - acknowledged) / (remaining + 1) + 1)
            });
            let outcome = self.load(acknowledged, kill_after, &bar)?;
            report.peak_anonymous_bytes =
                report.peak_anonymous_bytes.max(outcome.peak_anonymous_bytes);
            if outcome.was_killed {
                report.kills += 1;
                bar.println(format!(
                    "seed {}: killed (SIGKILL) after {} acknowledged entries",
                    self.seed, outcome.acknowledged
                ));
            }
            acknowledged = self.check_survivors(outcome.acknowledged)?;
        }
        bar.finish_and_clear();
        report.loading = began.elapsed();
        self.compare_all(&mut report)?;
        let limit = self.memory_bytes + self.memory_bytes / 5;
        if report.peak_anonymous_bytes > limit {
            return Err(format!(
                "peak anonymous memory {} exceeds the budget of {} plus a fifth",
                report.peak_anonymous_bytes, self.memory_bytes
            ));
        }
        Ok(report)
    }

    /// Runs a loader from entry `from` on, killing it once `kill_after` further ones are
    /// acknowledged.
    fn load(
        &self,
        from: u64,
        kill_after: Option<u64>,
        bar: &ProgressBar,
    ) -> Result<Loaded, String> {
        let told = |error: std::io::Error| format!("could not run the loader: {error}");
        let mut child = Command::new(std::env::current_exe().map_err(told)?)
            .arg("soak-loader")
            .args(["--from", &from.to_string(), "--entries", &self.entries.to_string()])
            .args(["--seed", &self.seed.to_string()])
            .args(["--memory-bytes", &self.memory_bytes.to_string()])
            .arg("--dir")
            .arg(&self.dir)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(told)?;
        let pipe = child.stdout.take().expect("piped above");
        let mut loaded = Loaded { acknowledged: from, ..Loaded::default() };
        for line in BufReader::new(pipe).lines() {
            let line = line.map_err(told)?;
            let mut words = line.split_whitespace();
            let (Some("acked"), Some(count), Some(memory)) =
                (words.next(), words.next(), words.next())
            else {
                continue;
            };
            // A line cut off by the kill is no acknowledgement.
            let (Ok(count), Ok(memory)) = (count.parse(), memory.parse::<u64>()) else { continue };
            loaded.acknowledged = count;
            loaded.peak_anonymous_bytes = loaded.peak_anonymous_bytes.max(memory);
            bar.set_position(count);
            if !loaded.was_killed && kill_after.is_some_and(|after| count - from >= after) {
                loaded.was_killed = true;
                child.kill().map_err(told)?;
            }
        }
        let status = child.wait().map_err(told)?;
        if !loaded.was_killed && !status.success() {
            return Err(format!("the loader failed: {status}"));
        }
        Ok(loaded)
    }

    /// Opens after a kill: everything acknowledged is there, and nothing but a prefix. Returns how
    /// many entries survived.
    fn check_survivors(&self, acknowledged: u64) -> Result<u64, String> {
        let db = self.open()?;
        let has = |n: u64| self.has(&db, n);
        if acknowledged > 0 && !has(acknowledged - 1)? {
            return Err(format!("entry {} was acknowledged and is lost", acknowledged - 1));
        }
        let mut survived = acknowledged;
        while survived < self.entries && has(survived)? {
            survived += 1;
        }
        if !survived.is_multiple_of(BATCH_ENTRIES) && survived != self.entries {
            return Err(format!("the batch around entry {survived} is there only in part"));
        }
        db.close().map_err(|error| error.to_string())?;
        Ok(survived)
    }

    fn compare_all(&self, report: &mut SoakReport) -> Result<(), String> {
        let db = self.open()?;
        let bar = progress("comparing", self.entries);
        for n in 0..self.entries {
            if !self.has(&db, n)? {
                return Err(format!("entry {n} was acknowledged and is lost"));
            }
            report.compared += 1;
            if n.is_multiple_of(8192) {
                bar.set_position(n);
            }
        }
        bar.finish_and_clear();
        let mut scanned = 0;
        let mut cursor = db.cursor();
        cursor.seek_first().map_err(|error| error.to_string())?;
        while cursor.key().is_some() {
            scanned += 1;
            cursor.next().map_err(|error| error.to_string())?;
        }
        if scanned != self.entries {
            return Err(format!("a scan finds {scanned} entries instead of {}", self.entries));
        }
        report.table_bytes = db.metrics().table_bytes();
        Ok(())
    }

    fn open(&self) -> Result<Db, String> {
        Db::open_with(&self.dir, options(self.memory_bytes)).map_err(|error| error.to_string())
    }

    fn has(&self, db: &Db, n: u64) -> Result<bool, String> {
        let found = db.get(key_bytes(n)).map_err(|error| error.to_string())?;
        match found {
            None => Ok(false),
            Some(value) if value[..] == value_of(n, self.seed) => Ok(true),
            Some(value) => Err(format!("entry {n} has the wrong value {value:?}")),
        }
    }
}

#[derive(Debug, Default)]
struct Loaded {
    acknowledged: u64,
    was_killed: bool,
    peak_anonymous_bytes: u64,
}

/// The child: loads entries in durable batches, and says after each how many are acknowledged and
/// how much anonymous memory it holds.
///
/// # Errors
/// What the engine says.
pub fn load(
    dir: &Path,
    from: u64,
    entries: u64,
    seed: u64,
    memory_bytes: u64,
) -> Result<(), String> {
    let told = |error: lsm_engine::Error| error.to_string();
    let db = Db::open_with(dir, options(memory_bytes)).map_err(told)?;
    let mut batch = WriteBatch::new();
    let mut out = std::io::stdout().lock();
    let mut next = from;
    while next < entries {
        batch.clear();
        let end = (next + BATCH_ENTRIES).min(entries);
        for n in next..end {
            batch.put(key_bytes(n), value_of(n, seed));
        }
        db.write_with(&batch, WriteOptions::durability(Durability::Disk)).map_err(told)?;
        next = end;
        writeln!(out, "acked {next} {}", anonymous_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| error.to_string())?;
    }
    db.close().map_err(told)
}

/// Anonymous memory of this process, as the kernel counts it; 0 where it does not say.
pub fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn progress(what: &'static str, total: u64) -> ProgressBar {
    let style = "{msg} {bar:40} {human_pos}/{human_len} {per_sec} {eta} left";
    let style = ProgressStyle::with_template(style).expect("a valid template");
    ProgressBar::new(total).with_style(style).with_message(what)
}
