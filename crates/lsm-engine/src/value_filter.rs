//! Compaction filters as keyspaces have them: by a name that is saved, and what works under it.
//!
//! What a filter decides is told in `lsm-compaction`'s `filter.rs`. It changes what the present shows
//! and no snapshot. Those that a merge finds in the list are kept as ever. For those who begin to read
//! while it is under way the list says so, and they hold the views that they find for as long as they
//! read: whatever they see of a value, they see always.
//!
//! Order: the list says so before the merge copies it, and until the view shows what was merged.
//! Whoever enters in between could otherwise see a value before that, and its absence afterwards.

use std::sync::Arc;

use lsm_compaction::CompactionFilter;

use crate::error::Result;
use crate::keyspace::KeyspaceCore;
use crate::named::{Given, Named};

/// A compaction filter, to be set as a keyspace's
/// [`compaction_filter`](crate::KeyspaceOptions::compaction_filter). Two are equal if their names are.
///
/// ```
/// use lsm_engine::{CompactionFilter, Db, FilterDecision, KeyspaceOptions, Reads, ValueFilter};
///
/// struct NoDrafts;
///
/// impl CompactionFilter for NoDrafts {
///     fn name(&self) -> &str {
///         "no-drafts"
///     }
///
///     fn filter(&self, _key: &[u8], value: &[u8]) -> FilterDecision {
///         if value.starts_with(b"draft") { FilterDecision::Remove } else { FilterDecision::Keep }
///     }
/// }
///
/// # let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path())?;
/// let options = KeyspaceOptions {
///     compaction_filter: Some(ValueFilter::new(NoDrafts)),
///     ..KeyspaceOptions::default()
/// };
/// let letters = db.keyspace_with("letters", options)?;
/// letters.put("1", "draft of a letter")?;
/// letters.compact_range::<&str>(..)?;
/// assert_eq!(letters.get("1")?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ValueFilter(Named<dyn CompactionFilter>);

impl ValueFilter {
    /// A filter under its own name.
    pub fn new(filter: impl CompactionFilter) -> Self {
        let filter: Arc<dyn CompactionFilter> = Arc::new(filter);
        Self(Named::new(filter.name(), Some(Arc::clone(&filter))))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// What was saved: only the name is known.
    pub(crate) fn saved(name: &str) -> Self {
        Self(Named::new(name, None))
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.0.check("compaction_filter")
    }
}

impl KeyspaceCore {
    /// What merges ask here, if it was given.
    pub(crate) fn value_filter(&self) -> Option<Arc<dyn CompactionFilter>> {
        self.options().compaction_filter.as_ref().and_then(|filter| filter.0.works().cloned())
    }

    /// Takes the filter that a user opens the keyspace with, if it is the one that the keyspace has
    /// or if it has none. Says whether its name is still to be saved.
    ///
    /// # Errors
    /// `Invalid` if it is another one, or if none is given where one is needed.
    pub(crate) fn take_filter(&self, given: Option<&ValueFilter>, may_miss: bool) -> Result<bool> {
        let mut options = self.options.lock().expect("no holder panicked");
        let saved = options.compaction_filter.as_ref().map(|it| &it.0);
        let may_miss = may_miss || saved.is_some_and(|saved| saved.works().is_some());
        let inner = given.map(|it| &it.0);
        let found = Named::compare(saved, inner, &self.name, "compaction filter", may_miss)?;
        if found == Given::Same && inner.is_some_and(|given| given.works().is_some()) {
            *options = Arc::new(options.with_filter(given));
        }
        Ok(found == Given::New)
    }

    /// The filter that options which are to take the place of the keyspace's come with. The name of
    /// the one that it has is enough.
    ///
    /// # Errors
    /// `Invalid` for the name of another.
    pub(crate) fn changed_filter(&self, to: Option<&ValueFilter>) -> Result<Option<ValueFilter>> {
        let saved = self.options().compaction_filter.clone();
        match to {
            Some(to) if to.0.works().is_none() && saved.as_ref() == Some(to) => Ok(saved),
            Some(to) => to.0.check_works("compaction_filter").map(|()| Some(to.clone())),
            None => Ok(None),
        }
    }
}
