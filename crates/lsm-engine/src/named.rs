//! What users implement and keyspaces have by a name that is saved: merge operators and compaction
//! filters.
//!
//! The code is the user's and is given anew with each open; the name tells whether it is the same.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// A name, and what works under it.
pub(crate) struct Named<W: ?Sized> {
    name: Arc<str>,
    /// `None`: only the name is known, for it was saved.
    works: Option<Arc<W>>,
}

/// How what a keyspace is opened with stands to what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// It is the same, and may be taken.
    Same,
    /// The keyspace has none, and one is given: its name is still to be saved.
    New,
    /// None is given, and none is needed.
    None,
}

impl<W: ?Sized> Named<W> {
    pub(crate) fn new(name: &str, works: Option<Arc<W>>) -> Self {
        Self { name: name.into(), works }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn works(&self) -> Option<&Arc<W>> {
        self.works.as_ref()
    }

    /// Whether the name is one that can be saved.
    pub(crate) fn check(&self, option: &str) -> Result<()> {
        let is_length_good = (1..=NAME_BYTES_MAX).contains(&self.name.len());
        if is_length_good && self.name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "option {option} is called \"{}\"; 1 to {NAME_BYTES_MAX} visible ASCII characters are \
             accepted",
            self.name.escape_debug()
        )))
    }

    /// Holds what a keyspace is opened with against what it has, which is called `what`. `may_miss`:
    /// nobody needs it this time.
    ///
    /// # Errors
    /// `Invalid` if it is another one, or if none is given where one is needed.
    pub(crate) fn compare(
        saved: Option<&Self>,
        given: Option<&Self>,
        keyspace: &str,
        what: &str,
        may_miss: bool,
    ) -> Result<Given> {
        let opened = match (saved, given) {
            (None, None) => return Ok(Given::None),
            (None, Some(_)) => return Ok(Given::New),
            (Some(saved), Some(given)) if saved == given => return Ok(Given::Same),
            (Some(_), None) if may_miss => return Ok(Given::None),
            (Some(_), None) => "without one".to_owned(),
            (Some(_), Some(given)) => format!("with \"{}\"", given.name),
        };
        let saved = saved.map_or("", Self::name);
        Err(Error::invalid(format!(
            "keyspace \"{keyspace}\" has {what} \"{saved}\"; it is opened {opened}"
        )))
    }

    /// Refuses what is given as an option of a keyspace that does not have it, and is but a name.
    pub(crate) fn check_works(&self, option: &str) -> Result<()> {
        if self.works.is_some() {
            return Ok(());
        }
        let name = &self.name;
        Err(Error::invalid(format!("option {option} is \"{name}\", which is no more than a name")))
    }
}

impl<W: ?Sized> Clone for Named<W> {
    fn clone(&self) -> Self {
        Self { name: Arc::clone(&self.name), works: self.works.clone() }
    }
}

impl<W: ?Sized> PartialEq for Named<W> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl<W: ?Sized> fmt::Debug for Named<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.name, f)
    }
}
