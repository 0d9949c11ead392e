//! What must hold once a history with a fault in it is over: after a power cut, with calls that fail no
//! more, and where a failed sync has ended all writing.

use lsm_engine::{Durability, Env, ErrorKind, Keyspace, Options, Step, WriteBatch};
use lsm_io::CrashPolicy;

use crate::contents::{State, key_bytes, value_bytes};
use crate::data::KEYSPACES;
use crate::faults::FaultCount;
use crate::faults::run::Run;

impl Run {
    /// What must hold once the history is over.
    pub(super) fn end(mut self) -> Result<Option<FaultCount>, String> {
        if self.fs.faults_struck() == 0 {
            return Ok(None);
        }
        if self.db.is_some() {
            self.check_contents().map_err(|wrong| format!("at the end: {wrong}"))?;
        }
        self.cut_the_power()?;
        match self.poison() {
            true => self.stays_poisoned()?,
            false => self.goes_on()?,
        }
        Ok(Some(self.count))
    }

    /// Cuts the power here, in every way, and holds what is found against the model.
    fn cut_the_power(&mut self) -> Result<(), String> {
        for policy in CrashPolicy::ALL {
            let located = |wrong: String| format!("then a power cut, {policy:?}: {wrong}");
            let image = self.fs.crash_image(policy, self.seed);
            let env = Env::simulated(image.shared());
            let mut after = Self {
                options: Options { env, ..self.options.clone() },
                db: None,
                keyspaces: Vec::new(),
                snapshots: Vec::new(),
                model: self.model.clone(),
                visible: State::new(),
                fs: image,
                seed: self.seed,
                count: FaultCount::default(),
            };
            after.reopen().map_err(located)?;
            let found = after.contents().map_err(located)?.ok_or("it cannot be read")?;
            after.model.crashed(&found, true).map_err(located)?;
            after.check_clean().map_err(located)?;
            self.count.images += 1;
        }
        Ok(())
    }

    /// Every byte is well, and every table is one of the database's.
    fn check_clean(&self) -> Result<(), String> {
        let db = self.db.as_ref().ok_or("it is not open")?;
        let report = db.verify().map_err(|error| error.to_string())?;
        if let Some(damage) = report.damage.first() {
            return Err(format!("verify finds {damage:?}"));
        }
        let shapes = self.keyspaces.iter().flatten().map(Keyspace::shape);
        let named: Vec<_> = shapes
            .flat_map(|shape| shape.runs)
            .flat_map(|run| run.tables)
            .map(|table| format!("{:06}.sst", table.number))
            .collect();
        let files = self.fs.files().into_iter();
        let mut names = files.filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned()));
        match names.find(|name| name.ends_with(".sst") && !named.contains(name)) {
            Some(name) => Err(format!("{name} is left over: no version names it")),
            None => Ok(()),
        }
    }

    /// A sync has failed for good: nothing is written any more, reads go on, and the next open finds
    /// what was acknowledged.
    fn stays_poisoned(&mut self) -> Result<(), String> {
        self.count.poisoned = 1;
        self.fs.heal();
        let db = self.db.clone().ok_or("it is not open")?;
        let steps = self.fs.steps();
        let refused = [
            db.put("after", "").map(drop),
            db.delete("after").map(drop),
            db.flush(),
            db.settle(),
            db.keyspace("after").map(drop),
            db.set_options(db.options()),
            db.compact_range::<&[u8]>(..),
        ];
        for (index, refused) in refused.into_iter().enumerate() {
            match refused {
                Err(error) if error.kind() == ErrorKind::ReadOnly => {}
                other => return Err(format!("poisoned, and attempt {index} gives {other:?}")),
            }
        }
        for step in [Step::Log, Step::Flush, Step::Compact] {
            db.step(step).map_err(|error| format!("poisoned, and {step:?} is tried: {error}"))?;
        }
        if self.fs.steps() != steps {
            return Err("something is written after a sync has failed for good".into());
        }
        self.check_contents().map_err(|wrong| format!("poisoned, and reads: {wrong}"))?;
        drop(db);
        self.close()?;
        self.reopen()?;
        self.found(false)?;
        self.check_clean()
    }

    /// Calls succeed again: the database goes on by itself, whatever has failed before.
    fn goes_on(&mut self) -> Result<(), String> {
        self.fs.heal();
        let located = |wrong: String| format!("calls succeed again, and: {wrong}");
        if self.db.is_none() {
            self.reopen().map_err(located)?;
            self.found(false).map_err(located)?;
        }
        let db = self.db.clone().ok_or("it does not open")?;
        for number in 1..KEYSPACES {
            let keyspace = db.keyspace(&format!("keyspace-{number}"));
            let keyspace = keyspace.map_err(|error| located(error.to_string()))?;
            self.keyspaces[usize::from(number)] = Some(keyspace);
        }
        let write = [(0, 5, Some(77)), (1, 6, Some(78))];
        let batch = WriteBatch::new();
        self.write(&db, batch, Vec::new(), &write, Durability::Disk).map_err(located)?;
        if self.visible[0].get(&key_bytes(5)) != Some(&value_bytes(77)) {
            return Err(located("a write is refused".into()));
        }
        let settled = db.flush().and_then(|()| db.settle());
        settled.map_err(|error| located(error.to_string()))?;
        self.snapshots.clear();
        self.check_contents().map_err(located)?;
        let metrics = db.metrics();
        if let Some(error) = metrics.no_space.or(metrics.poison).or(metrics.last_background_error) {
            return Err(located(error.to_string()));
        }
        drop(db);
        if !self.close()? {
            return Err(located("it does not close".into()));
        }
        self.reopen().map_err(located)?;
        self.found(true).map_err(located)?;
        self.check_clean().map_err(located)?;
        self.count.healed = 1;
        Ok(())
    }
}
