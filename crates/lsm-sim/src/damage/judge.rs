//! Opens a damaged database, reads it in every way there is, and judges the answers.
//!
//! After a clean close every answer is the one before the damage, or an error that names the damaged
//! file, and no damage to bytes that mean something passes unnoticed. After a kill the log may be
//! cut, but not below what a readable mark proves, and the cut is reported.

use lsm_engine::{Compression, Db, Error, ErrorKind, Keyspace, ReadMode, Reads};
use lsm_io::SimFs;
use lsm_manifest::{FileKind, parse_file_name};

use crate::contents::State;
use crate::contents::{KEYS, KEYSPACES, key_bytes};

use super::change::{Change, Family};
use super::specimen::{DIR, Specimen, frames, options};

/// What a damaged database answered; a wrong answer is an error of [`judge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Everything is there.
    Right,
    /// A prefix that holds everything proven durable is there, and the report says what was cut.
    Cut,
    /// An error, from opening, reading or verifying, that names the file.
    Typed,
}

/// Damages a specimen and holds what it then answers against its history.
///
/// # Errors
/// Which answer was wrong.
pub fn judge(specimen: &Specimen, change: &Change, mode: ReadMode) -> Result<Outcome, String> {
    let fs = specimen.disk();
    change.apply(&fs, specimen);
    let image = fs.kill_image();
    let proven = specimen.commits_proven(&fs);
    let mut reading =
        Reading { specimen, change, possible: (proven..=specimen.commits()).collect(), errors: 0 };
    let db = match open(&fs, mode) {
        Ok(db) => db,
        Err(error) => {
            reading.check_error(&error)?;
            return Ok(Outcome::Typed);
        }
    };
    reading.read_all(&db)?;
    let is_damage_known = reading.verify(&db)?;
    if reading.errors > 0 && !is_damage_known {
        return Err("a read met damage that verify passes over".into());
    }
    if is_damage_known {
        return Ok(Outcome::Typed);
    }
    let report = db.recovery_report();
    let is_cut_reported = report.cut.is_some() || report.manifest_cut.is_some();
    drop(db);
    let outcome = if is_cut_reported { Outcome::Cut } else { Outcome::Right };
    if is_cut_reported && matches!(change, Change::Bit(bit) if bit / 8 < specimen.torn_from) {
        return Err("an edit was cut although a later one proves it".into());
    }
    if !is_cut_reported && reading.should_notice(&image) {
        return Err("the damage passed unnoticed".into());
    }
    if matches!(kind_of(specimen), FileKind::Log | FileKind::Manifest) {
        // What recovery has decided stays so.
        let db = open(&fs, mode).map_err(|error| format!("at the second open: {error}"))?;
        reading.read_all(&db).map_err(|wrong| format!("at the second open: {wrong}"))?;
        if reading.errors > 0 {
            return Err("the second open reads worse than the first".into());
        }
    }
    Ok(outcome)
}

fn open(fs: &SimFs, mode: ReadMode) -> lsm_engine::Result<Db> {
    Db::open_with(DIR, options(fs, mode, Compression::None, 1))
}

fn kind_of(specimen: &Specimen) -> FileKind {
    let name = specimen.path.file_name().unwrap_or_default().to_string_lossy();
    parse_file_name(&name).0
}

/// A reading of the whole database.
struct Reading<'a> {
    specimen: &'a Specimen,
    change: &'a Change,
    /// The numbers of commits that agree with every answer so far.
    possible: Vec<usize>,
    errors: usize,
}

impl Reading<'_> {
    fn read_all(&mut self, db: &Db) -> Result<(), String> {
        let names = db.keyspaces();
        for number in 0..usize::from(KEYSPACES) {
            let name = if number == 0 { "default".into() } else { format!("keyspace-{number}") };
            if !names.contains(&name) {
                self.keep(&format!("keyspace {name} is missing"), |state| {
                    state[number].is_empty()
                })?;
                continue;
            }
            let keyspace = db.keyspace(&name).map_err(|error| error.to_string())?;
            self.read_keys(number, &keyspace)?;
            self.scan(number, &keyspace)?;
            self.walk(number, &keyspace)?;
        }
        Ok(())
    }

    fn read_keys(&mut self, number: usize, keyspace: &Keyspace) -> Result<(), String> {
        let keys: Vec<Vec<u8>> = (0..KEYS).map(key_bytes).collect();
        for key in &keys {
            if let Some(found) = self.take(keyspace.get(key))? {
                self.keep(&format!("get {key:?} in keyspace {number}"), |state| {
                    state[number].get(key).map(Vec::as_slice) == found.as_deref()
                })?;
            }
        }
        if let Some(all) = self.take(keyspace.multi_get(&keys))? {
            self.keep(&format!("multi_get in keyspace {number}"), |state| {
                let expected = keys.iter().map(|key| state[number].get(key).map(Vec::as_slice));
                expected.eq(all.iter().map(|value| value.as_deref()))
            })?;
        }
        Ok(())
    }

    /// Scans forward and backward. An error may end a scan, but what came before it is right.
    fn scan(&mut self, number: usize, keyspace: &Keyspace) -> Result<(), String> {
        for is_reverse in [false, true] {
            let mut scan = keyspace.iter();
            let mut found = Vec::new();
            let mut is_whole = true;
            while let Some(entry) = if is_reverse { scan.next_back() } else { scan.next() } {
                match self.take(entry)? {
                    Some(entry) => found.push(entry),
                    None => {
                        is_whole = false;
                        break;
                    }
                }
            }
            let what = format!("a scan of keyspace {number}, reverse: {is_reverse}");
            self.keep(&what, |state| {
                let map = &state[number];
                let mut forward = map.iter();
                let mut expected = std::iter::from_fn(|| {
                    if is_reverse { forward.next_back() } else { forward.next() }
                });
                let agrees = found.iter().all(|(key, value)| {
                    expected.next().is_some_and(|(k, v)| *k == key[..] && *v == value[..])
                });
                agrees && (!is_whole || found.len() == map.len())
            })?;
        }
        Ok(())
    }

    /// Seeks every key with one cursor, and steps on from it and back.
    fn walk(&mut self, number: usize, keyspace: &Keyspace) -> Result<(), String> {
        let mut cursor = keyspace.cursor();
        for key in (0..KEYS).step_by(5).map(key_bytes) {
            for steps in [0, 1, -1] {
                let moved = cursor.seek(&key).and_then(|()| match steps {
                    1 if cursor.key().is_some() => cursor.next(),
                    -1 if cursor.key().is_some() => cursor.prev(),
                    _ => Ok(()),
                });
                if self.take(moved)?.is_none() {
                    continue;
                }
                let at = cursor.entry();
                self.keep(&format!("seek {key:?} and {steps} in keyspace {number}"), |state| {
                    let map = &state[number];
                    let sought = map.range(key.clone()..).next();
                    let expected = match (steps, sought) {
                        (1, Some(_)) => map.range(key.clone()..).nth(1),
                        (-1, Some(_)) => map.range(..key.clone()).next_back(),
                        _ => sought,
                    };
                    expected.map(|(key, value)| (&key[..], &value[..])) == at
                })?;
            }
        }
        Ok(())
    }

    /// Whether verify finds something wrong.
    fn verify(&mut self, db: &Db) -> Result<bool, String> {
        let Some(report) = self.take(db.verify())? else { return Ok(true) };
        for damage in &report.damage {
            if self.change.is_within_the_file() && damage.path != self.specimen.path {
                return Err(format!("verify blames another file: {damage:?}"));
            }
        }
        Ok(!report.is_clean())
    }

    /// The answer, or that there was an error of the right kind instead.
    fn take<T>(&mut self, result: lsm_engine::Result<T>) -> Result<Option<T>, String> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                self.check_error(&error)?;
                self.errors += 1;
                Ok(None)
            }
        }
    }

    fn check_error(&self, error: &Error) -> Result<(), String> {
        let message = error.to_string();
        if error.kind() != ErrorKind::Corrupt {
            return Err(format!("an error that is not of corruption: {error:?}"));
        }
        let name = self.specimen.path.file_name().unwrap_or_default().to_string_lossy();
        let names_the_file = message.contains(&*name) || !self.change.is_within_the_file();
        if !names_the_file || !message.contains(" at byte ") {
            return Err(format!("an error that does not name {name} and a place: {message}"));
        }
        Ok(())
    }

    /// Keeps the numbers of commits after which the answer is right; there must be one.
    fn keep(&mut self, what: &str, agrees: impl Fn(&State) -> bool) -> Result<(), String> {
        let states = &self.specimen.history.states;
        let before = self.possible.clone();
        self.possible.retain(|commits| agrees(&states[*commits]));
        if self.possible.is_empty() {
            return Err(format!(
                "{what}: the answer is that of no number of commits among {before:?}"
            ));
        }
        Ok(())
    }

    /// Whether somebody should have said something: bytes that mean something have changed, and the
    /// file does not simply end earlier, as one does that was never longer. `image` is the disk as
    /// the open found it.
    fn should_notice(&self, image: &SimFs) -> bool {
        let Specimen { path, used_bytes, is_closed, .. } = self.specimen;
        if *self.change == Change::Remove {
            return *used_bytes > 0;
        }
        let (before, after) = (self.specimen.bytes(), image.read_file(path));
        if before[..*used_bytes] == after[..after.len().min(*used_bytes)] {
            return false;
        }
        let (_, simply_ends) = frames(&image.shared(), path);
        let is_all_there = self.possible.contains(&self.specimen.commits());
        match self.change.family() {
            Family::Bits => true,
            // No harm may come of what is not where it belongs, and nobody has to say so then.
            Family::Pieces | Family::Files => !is_all_there && !simply_ends,
            Family::Lengths | Family::Pages => *is_closed || !simply_ends,
        }
    }
}
