//! A run: for each row, the engines in turn, again and again, each time in a fresh process.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::figures::{Figures, RowFigures};
use crate::process;
use crate::report;
use crate::row::{Row, Start};
use crate::scale::Scale;
use crate::store::{Durability, Engine, Result};
use crate::table;
use crate::target::{self, Verdict};

/// An engine slower than this share of the best is measured once.
const HOPELESS: f64 = 0.1;
/// Where each measurement is a line of JSON.
const FIGURES_FILE: &str = "figures.jsonl";

/// What to run.
pub(crate) struct Run<'a> {
    pub(crate) engines: Vec<&'a Engine>,
    pub(crate) rows: Vec<&'static Row>,
    pub(crate) scale: Scale,
    pub(crate) repetitions: usize,
    /// Where stores are made; what is made is removed.
    pub(crate) dir: PathBuf,
    /// Where figures, charts and report go.
    pub(crate) out: PathBuf,
    /// Whether figures of the same scale that are there already count.
    pub(crate) resumes: bool,
    /// Whether nothing is measured and only what is there is reported.
    pub(crate) only_reports: bool,
}

impl Run<'_> {
    /// Measures, prints and reports; whether every measurement finished.
    pub(crate) fn carry_out(&self) -> Result<bool> {
        fs::create_dir_all(&self.out)?;
        let settings = self.settings();
        settings.iter().for_each(|line| println!("{line}"));
        let noted = self.noted()?;
        let mut rows: Vec<(RowFigures, Vec<Verdict>)> = Vec::new();
        for row in &self.rows {
            let measured = self.row(row, &noted)?;
            let earlier: Vec<_> = rows.iter().map(|(earlier, _)| earlier.clone()).collect();
            let verdicts = target::verdicts(&measured, &self.scale, &earlier);
            table::print(&measured, &verdicts);
            rows.push((measured, verdicts));
            // After each row, so that a run that is cut short has a report.
            report::write(&self.out, &settings, &rows)?;
        }
        table::print_summary(&rows);
        println!("figures, charts and report.html are in {}", self.out.display());
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        let measured = rows.iter().flat_map(|(measured, _)| &measured.engines);
        Ok(measured.filter(|figures| figures.values.is_empty()).count() == 0)
    }

    /// What all rows share, and each engine's settings.
    fn settings(&self) -> Vec<String> {
        let scale = &self.scale;
        let first = format!(
            "{} entries, 16-byte keys, {}-byte values, half compressible; {} s a row; median of \
             {}, least and greatest; writes survive {} unless the row says otherwise",
            scale.entries,
            scale.value_bytes,
            scale.seconds,
            self.repetitions,
            if scale.in_memory { "nothing" } else { "a killed process" },
        );
        let engines = self.engines.iter().map(|engine| {
            let settings = scale.settings(&self.dir, Durability::Os);
            format!("{} {}", engine.name, (engine.settings)(&settings))
        });
        std::iter::once(first).chain(engines).collect()
    }

    /// The measurements of an earlier run at the same scale; none, and none are left, unless this
    /// run resumes it.
    fn noted(&self) -> Result<Vec<Value>> {
        let path = self.out.join(FIGURES_FILE);
        if !path.exists() {
            return Ok(Vec::new());
        }
        if !self.resumes {
            fs::remove_file(&path)?;
            return Ok(Vec::new());
        }
        let scale = self.scale.arguments().join(" ");
        // A line that was cut short by the end of its run is as good as not there.
        let lines = fs::read_to_string(&path)?;
        let values = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(values.filter(|value| value["scale"] == *scale).collect())
    }

    fn row(&self, row: &'static Row, noted: &[Value]) -> Result<RowFigures> {
        let of = |engine: &&Engine| {
            let is_its =
                |value: &&Value| value["row"] == row.name && value["engine"] == engine.name;
            let values = noted.iter().filter(is_its).take(self.repetitions).cloned().collect();
            Figures { engine: engine.name.to_owned(), is_lsm: engine.is_lsm, values }
        };
        let mut measured = RowFigures { row, engines: self.engines.iter().map(of).collect() };
        if self.only_reports {
            measured.engines.retain(|figures| !figures.values.is_empty());
            return Ok(measured);
        }
        for repetition in 0..self.repetitions {
            let best = measured
                .engines
                .iter()
                .filter_map(|figures| figures.figure(row))
                .reduce(|best, next| if row.ratio(next, best) > 1.0 { next } else { best });
            for (engine, figures) in self.engines.iter().zip(&mut measured.engines) {
                let is_hopeless = figures.figure(row).zip(best);
                let is_hopeless =
                    is_hopeless.is_some_and(|(figure, best)| row.ratio(figure, best) < HOPELESS);
                // What failed once is not tried again, and says so in the table.
                if is_hopeless || figures.values.len() != repetition {
                    continue;
                }
                match self.measurement(engine, row) {
                    Ok(value) => {
                        self.note(&value)?;
                        figures.values.push(value);
                    }
                    Err(error) => eprintln!("{}: {}: {error}", row.name, engine.name),
                }
            }
        }
        Ok(measured)
    }

    fn measurement(&self, engine: &Engine, row: &Row) -> Result<Value> {
        let scratch = self.dir.join("scratch");
        if scratch.exists() {
            fs::remove_dir_all(&scratch)?;
        }
        let path = match row.start {
            Start::Loaded => self.prepared(engine, row)?,
            Start::Empty => {
                fs::create_dir_all(&scratch)?;
                scratch.clone()
            }
            Start::LoadedCopy | Start::Killed => {
                process::copy_dir(&self.prepared(engine, row)?, &scratch)?;
                scratch.clone()
            }
        };
        process::sync_dir(&path)?;
        let output = self.child("measure", engine, row, &path).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("the measurement ended with {}", output.status).into());
        }
        // An engine may print as it likes: the measurement is the last line.
        let output = String::from_utf8(output.stdout)?;
        let line = output.lines().last().ok_or("the measurement printed nothing")?;
        Ok(serde_json::from_str(line)?)
    }

    /// The store in which a row begins: made once for each engine and size.
    fn prepared(&self, engine: &Engine, row: &Row) -> Result<PathBuf> {
        let scale = row.scale(&self.scale);
        let kind = if row.start == Start::Killed { "killed" } else { "loaded" };
        let name = format!("{}-{kind}-{}-{}", engine.name, scale.entries, scale.value_bytes);
        let path = self.dir.join(name);
        if !path.exists() {
            fs::create_dir_all(&path)?;
            if let Err(error) = self.prepare(engine, row, &path) {
                fs::remove_dir_all(&path)?;
                return Err(error);
            }
        }
        Ok(path)
    }

    fn prepare(&self, engine: &Engine, row: &Row, path: &Path) -> Result<()> {
        let mut child = self.child("prepare", engine, row, path).stdout(Stdio::piped()).spawn()?;
        if row.start == Start::Killed {
            let stdout = child.stdout.take().ok_or("the child has no output")?;
            let is_ready =
                BufReader::new(stdout).lines().map_while(|line| line.ok()).any(|l| l == "ready");
            child.kill()?;
            child.wait()?;
            return if is_ready { Ok(()) } else { Err("the store could not be made".into()) };
        }
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("prepare ended with {status}").into()) }
    }

    fn child(&self, task: &str, engine: &Engine, row: &Row, path: &Path) -> Command {
        // The running program, whatever has become of its file since.
        let mut command = Command::new("/proc/self/exe");
        command.args([task, "--engine", engine.name, "--row", row.name, "--path"]);
        command.arg(path).args(self.scale.arguments());
        command
    }

    fn note(&self, value: &Value) -> Result<()> {
        let path = self.out.join(FIGURES_FILE);
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        Ok(writeln!(file, "{value}")?)
    }
}
