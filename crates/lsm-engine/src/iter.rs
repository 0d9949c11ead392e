//! The entries of a range as a Rust iterator, and what an iterator has seen.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::keyspace::KeyspaceCore;
use crate::reads::Scan;
use crate::scan::EntryCursor;
use crate::snapshot::Registered;
use crate::spread::Held;
use crate::value::{Key, Value};

/// The entries of a range, ascending, from both ends. It reads one moment, whatever is written
/// meanwhile. After an error it yields nothing more.
pub struct Iter {
    core: Held<KeyspaceCore>,
    moment: Registered,
    scan: Scan,
    front: Option<EntryCursor>,
    back: Option<EntryCursor>,
    front_key: Option<Key>,
    back_key: Option<Key>,
    is_done: bool,
    loads_values: bool,
    /// Told how far it has come, where a transaction must know.
    witness: Option<Arc<Mutex<SeenRange>>>,
}

impl Iter {
    pub(crate) fn new(moment: Registered, core: Held<KeyspaceCore>, scan: Scan) -> Self {
        Self {
            core,
            moment,
            scan,
            front: None,
            back: None,
            front_key: None,
            back_key: None,
            is_done: false,
            loads_values: true,
            witness: None,
        }
    }

    /// The same, telling `witness` how far it comes.
    pub(crate) fn witnessed(mut self, witness: Arc<Mutex<SeenRange>>) -> Self {
        self.witness = Some(witness);
        self
    }

    /// The same, for whoever wants no values: those in blob files are not read, and seem empty.
    pub(crate) fn keys_only(mut self) -> Self {
        self.loads_values = false;
        self
    }

    /// A cursor for one end, which reads what the other end reads if that has begun.
    fn begin(&self, other: Option<&EntryCursor>) -> EntryCursor {
        match other {
            Some(other) => other.beside(),
            None if self.loads_values => EntryCursor::new(self.moment.clone(), self.core.clone()),
            None => EntryCursor::new(self.moment.clone(), self.core.clone()).keys_only(),
        }
    }

    fn step_front(&mut self) -> Result<Option<(Key, Value)>> {
        let cursor = match &mut self.front {
            Some(cursor) => {
                cursor.next()?;
                cursor
            }
            None => {
                let cursor = self.begin(self.back.as_ref());
                let cursor = self.front.insert(cursor);
                match &self.scan.lower {
                    Bound::Unbounded => cursor.seek_first()?,
                    Bound::Included(key) => cursor.seek(key)?,
                    Bound::Excluded(key) => {
                        cursor.seek(key)?;
                        if cursor.key() == Some(key.as_slice()) {
                            cursor.next()?;
                        }
                    }
                }
                cursor
            }
        };
        let Some((key, value)) = cursor.entry() else { return Ok(None) };
        let is_inside = match &self.scan.upper {
            Bound::Unbounded => true,
            Bound::Included(upper) => key <= upper.as_slice(),
            Bound::Excluded(upper) => key < upper.as_slice(),
        };
        let has_met = self.back_key.as_ref().is_some_and(|back| key.cmp(back) != Ordering::Less);
        if !is_inside || has_met {
            return Ok(None);
        }
        Ok(Some(cursor.keep((key, value))))
    }

    fn step_back(&mut self) -> Result<Option<(Key, Value)>> {
        let cursor = match &mut self.back {
            Some(cursor) => {
                cursor.prev()?;
                cursor
            }
            None => {
                let cursor = self.begin(self.front.as_ref());
                let cursor = self.back.insert(cursor);
                match &self.scan.upper {
                    Bound::Unbounded => cursor.seek_last()?,
                    Bound::Included(key) => cursor.seek_for_prev(key)?,
                    Bound::Excluded(key) => {
                        cursor.seek_for_prev(key)?;
                        if cursor.key() == Some(key.as_slice()) {
                            cursor.prev()?;
                        }
                    }
                }
                cursor
            }
        };
        let Some((key, value)) = cursor.entry() else { return Ok(None) };
        let is_inside = match &self.scan.lower {
            Bound::Unbounded => true,
            Bound::Included(lower) => key >= lower.as_slice(),
            Bound::Excluded(lower) => key > lower.as_slice(),
        };
        let has_met =
            self.front_key.as_ref().is_some_and(|front| key.cmp(front) != Ordering::Greater);
        if !is_inside || has_met {
            return Ok(None);
        }
        Ok(Some(cursor.keep((key, value))))
    }

    /// Latches the end: of the range, or of what could be read.
    fn latch(&mut self, step: Result<Option<(Key, Value)>>) -> Option<Result<(Key, Value)>> {
        let item = step.transpose();
        if !matches!(item, Some(Ok(_))) {
            self.is_done = true;
            self.front = None;
            self.back = None;
        }
        if let Some(witness) = &self.witness {
            let mut seen = witness.lock().expect("no holder panicked");
            seen.front.clone_from(&self.front_key);
            seen.back.clone_from(&self.back_key);
            seen.is_whole = self.is_done;
        }
        item
    }
}

/// How far an iterator has come from both ends of its range: what it has seen of the database,
/// absent keys included.
#[derive(Debug)]
pub(crate) struct SeenRange {
    scan: Scan,
    /// The last key yielded from the front.
    front: Option<Key>,
    /// The last key yielded from the back.
    back: Option<Key>,
    /// The ends have met.
    is_whole: bool,
}

impl SeenRange {
    /// Nothing of `scan` yet.
    pub(crate) fn new(scan: Scan) -> Self {
        Self { scan, front: None, back: None, is_whole: false }
    }

    /// All of `scan`.
    pub(crate) fn whole(scan: Scan) -> Self {
        Self { scan, front: None, back: None, is_whole: true }
    }

    /// The ranges between which and the ends of the scan everything was seen.
    pub(crate) fn parts(&self) -> Vec<Scan> {
        if self.is_whole {
            return vec![self.scan.clone()];
        }
        let included = |key: &Key| Bound::Included(key.to_vec());
        let lower_part = self
            .front
            .as_ref()
            .map(|front| Scan { lower: self.scan.lower.clone(), upper: included(front) });
        let upper_part = self
            .back
            .as_ref()
            .map(|back| Scan { lower: included(back), upper: self.scan.upper.clone() });
        lower_part.into_iter().chain(upper_part).collect()
    }
}

impl Iterator for Iter {
    type Item = Result<(Key, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let step = self.step_front();
        if let Ok(Some((key, _))) = &step {
            self.front_key = Some(key.clone());
        }
        self.latch(step)
    }
}

impl DoubleEndedIterator for Iter {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let step = self.step_back();
        if let Ok(Some((key, _))) = &step {
            self.back_key = Some(key.clone());
        }
        self.latch(step)
    }
}

impl std::iter::FusedIterator for Iter {}

impl fmt::Debug for Iter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter").field("scan", &self.scan).finish()
    }
}
