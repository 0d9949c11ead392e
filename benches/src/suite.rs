//! A run: for each row, the engines in turn, again and again, each time in a fresh process.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::child;
use crate::figures::{Figures, RowFigures};
use crate::limit;
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

/// An engine while a row is measured.
struct Turn<'a> {
    engine: &'a Engine,
    figures: Figures,
    /// Whether the engine can do what the row does.
    is_offered: bool,
    /// Whether it is measured no more.
    is_over: bool,
}

impl<'a> Turn<'a> {
    /// With the figures that are there already, taken out of `noted`.
    fn new(engine: &'a Engine, noted: &mut RowFigures) -> Self {
        let place = noted.engines.iter().position(|figures| figures.engine == engine.name);
        let figures = place.map(|place| noted.engines.swap_remove(place));
        let figures = figures.unwrap_or_else(|| Figures {
            engine: engine.name.to_owned(),
            is_lsm: engine.is_lsm,
            values: Vec::new(),
        });
        Self { engine, figures, is_offered: true, is_over: false }
    }
}

impl Run<'_> {
    /// Measures, prints and reports; whether every measurement finished.
    pub(crate) fn carry_out(&self) -> Result<bool> {
        fs::create_dir_all(&self.out)?;
        let noted = self.noted()?;
        let settings = self.settings(&noted);
        settings.iter().for_each(|line| println!("{line}"));
        let mut rows: Vec<(RowFigures, Vec<Verdict>)> = Vec::new();
        for row in &self.rows {
            let measured = self.row(row, &noted)?;
            if measured.engines.is_empty() {
                continue;
            }
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
    fn settings(&self, noted: &[Value]) -> Vec<String> {
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
        let mut lines = vec![first];
        if self.only_reports {
            let words = |value: &Value, name: &str| value[name].as_str().unwrap_or("?").to_owned();
            let mut engines = BTreeMap::new();
            for value in noted {
                let settings = || words(value, "settings");
                engines.entry(words(value, "engine")).or_insert_with(settings);
            }
            lines.extend(engines.iter().map(|(engine, settings)| format!("{engine} {settings}")));
        } else {
            let settings = scale.settings(&self.dir, Durability::Os);
            lines.extend(
                self.engines
                    .iter()
                    .map(|engine| format!("{} {}", engine.name, (engine.settings)(&settings))),
            );
        }
        lines
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

    /// What was noted of a row: an engine each, in the order of their first measurements.
    fn noted_row(row: &'static Row, noted: &[Value]) -> RowFigures {
        let mut engines: Vec<Figures> = Vec::new();
        for value in noted.iter().filter(|value| value["row"] == row.name) {
            let name = value["engine"].as_str().unwrap_or("?");
            match engines.iter_mut().find(|figures| figures.engine == name) {
                Some(figures) => figures.values.push(value.clone()),
                None => engines.push(Figures {
                    engine: name.to_owned(),
                    is_lsm: value["is_lsm"] == true,
                    values: vec![value.clone()],
                }),
            }
        }
        RowFigures { row, engines }
    }

    fn row(&self, row: &'static Row, noted: &[Value]) -> Result<RowFigures> {
        let mut measured = Self::noted_row(row, noted);
        if self.only_reports {
            return Ok(measured);
        }
        let mut turns: Vec<Turn<'_>> =
            self.engines.iter().map(|engine| Turn::new(engine, &mut measured)).collect();
        for repetition in 0..self.repetitions {
            let stores = turns.iter().filter(|turn| turn.engine.name != limit::ENGINE.name);
            let figures = stores.filter_map(|turn| turn.figures.figure(row));
            let best =
                figures.reduce(|best, next| if row.ratio(next, best) > 1.0 { next } else { best });
            for turn in &mut turns {
                let count = turn.figures.values.len();
                let is_hopeless =
                    turn.figures.figure(row).zip(best).filter(|_| !turn.figures.is_ours());
                let is_hopeless =
                    is_hopeless.is_some_and(|(figure, best)| row.ratio(figure, best) < HOPELESS);
                if turn.is_over || is_hopeless || count > repetition {
                    continue;
                }
                match self.measurement(turn.engine, row) {
                    Ok(Value::Null) => (turn.is_offered, turn.is_over) = (false, true),
                    Ok(value) => {
                        self.note(&value)?;
                        turn.figures.values.push(value);
                    }
                    Err(error) => {
                        // Not tried again; the table says so.
                        eprintln!("{}: {}: {error}", row.name, turn.engine.name);
                        turn.is_over = true;
                    }
                }
            }
        }
        turns.retain(|turn| turn.is_offered);
        Ok(RowFigures { row, engines: turns.into_iter().map(|turn| turn.figures).collect() })
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
        child::measure(engine, row, &path, &self.scale)
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
        let mut command = child::command("prepare", engine, row, path, &self.scale);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
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

    fn note(&self, value: &Value) -> Result<()> {
        let path = self.out.join(FIGURES_FILE);
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        Ok(writeln!(file, "{value}")?)
    }
}
