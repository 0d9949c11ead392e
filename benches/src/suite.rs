//! A run: for each row, the engines in turn, again and again, each time in a fresh process.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process;
use crate::report;
use crate::row::{Row, Start};
use crate::scale::Scale;
use crate::store::{Engine, Result};

/// An engine slower than this share of the best is measured once.
const HOPELESS: f64 = 0.1;

/// What to run.
pub(crate) struct Run<'a> {
    pub(crate) engines: Vec<&'a Engine>,
    pub(crate) rows: Vec<&'static Row>,
    pub(crate) scale: Scale,
    pub(crate) repetitions: usize,
    /// Where stores are made; what is made is removed.
    pub(crate) dir: PathBuf,
    /// Where each measurement is added as a line of JSON.
    pub(crate) json: Option<PathBuf>,
}

impl Run<'_> {
    /// Measures and prints; whether everything finished.
    pub(crate) fn carry_out(&self) -> Result<bool> {
        self.print_settings();
        fs::create_dir_all(&self.dir)?;
        let mut is_complete = true;
        for row in &self.rows {
            let measurements = self.row(row)?;
            is_complete &= measurements.iter().all(|(_, values)| !values.is_empty());
            report::print(row, &measurements);
        }
        fs::remove_dir_all(&self.dir)?;
        Ok(is_complete)
    }

    fn print_settings(&self) {
        let scale = &self.scale;
        println!(
            "{} entries, 16-byte keys, {}-byte values, half compressible; {} s a row, {} \
             repetitions (median shown); writes survive {} unless the row says otherwise",
            scale.entries,
            scale.value_bytes,
            scale.seconds,
            self.repetitions,
            if scale.in_memory { "nothing" } else { "a killed process" },
        );
        for engine in &self.engines {
            let settings = scale.settings(&self.dir, crate::store::Durability::Os);
            println!("{:<10} {}", engine.name, (engine.settings)(&settings));
        }
    }

    /// All measurements of a row, by engine.
    fn row(&self, row: &Row) -> Result<Vec<(&'static str, Vec<Value>)>> {
        let mut measurements: Vec<(&'static str, Vec<Value>)> =
            self.engines.iter().map(|engine| (engine.name, Vec::new())).collect();
        for repetition in 0..self.repetitions {
            let speed = |values: &[Value]| values.first().and_then(|v| v["ops_per_second"].as_f64());
            let best = measurements.iter().filter_map(|(_, v)| speed(v)).fold(0.0, f64::max);
            for (engine, (_, values)) in self.engines.iter().zip(&mut measurements) {
                let is_hopeless = speed(values).is_some_and(|ops| ops < HOPELESS * best);
                // What failed once is not tried again, and says so in the table.
                if is_hopeless || values.len() < repetition {
                    continue;
                }
                match self.measurement(engine, row) {
                    Ok(value) => {
                        self.note(&value)?;
                        values.push(value);
                    }
                    Err(error) => eprintln!("{}: {}: {error}", row.name, engine.name),
                }
            }
        }
        Ok(measurements)
    }

    fn measurement(&self, engine: &Engine, row: &Row) -> Result<Value> {
        let scratch = self.dir.join("scratch");
        let _ = fs::remove_dir_all(&scratch);
        let path = match row.start {
            Start::Empty => {
                fs::create_dir_all(&scratch)?;
                scratch.clone()
            }
            Start::Loaded => self.prepared(engine, row)?,
            Start::LoadedCopy | Start::Killed => {
                process::copy_dir(&self.prepared(engine, row)?, &scratch)?;
                scratch.clone()
            }
        };
        let output = self.child("measure", engine, row, &path)?;
        let _ = fs::remove_dir_all(&scratch);
        // An engine may print as it likes: the measurement is the last line.
        let line = output.lines().last().ok_or("the measurement printed nothing")?;
        Ok(serde_json::from_str(line)?)
    }

    /// The store in which a row begins: made once for each engine and number of entries.
    fn prepared(&self, engine: &Engine, row: &Row) -> Result<PathBuf> {
        let kind = if row.start == Start::Killed { "killed" } else { "loaded" };
        let name = format!("{}-{kind}-{}", engine.name, row.entries(&self.scale));
        let path = self.dir.join(name);
        if !path.exists() {
            fs::create_dir_all(&path)?;
            if let Err(error) = self.child("prepare", engine, row, &path) {
                let _ = fs::remove_dir_all(&path);
                return Err(error);
            }
        }
        Ok(path)
    }

    fn child(&self, task: &str, engine: &Engine, row: &Row, path: &Path) -> Result<String> {
        let output = Command::new(std::env::current_exe()?)
            .args([task, "--engine", engine.name, "--row", row.name, "--path"])
            .arg(path)
            .args(self.scale.arguments())
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("{task} ended with {}", output.status).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn note(&self, value: &Value) -> Result<()> {
        if let Some(path) = &self.json {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(file, "{value}")?;
        }
        Ok(())
    }
}
