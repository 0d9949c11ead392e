//! Merge operators as keyspaces hold them: by a name that is saved, and what works under it.
//!
//! What an operator computes is told in `lsm-compaction`'s `operator.rs`; how it is checked against
//! the saved name when a keyspace is opened, here.
//!
//! Order: the name is durable before the first operand is written, for operands without a name are
//! bytes that nobody can read.

use std::fmt;
use std::sync::Arc;

use lsm_compaction::{MergeOperator, fold_operands};

use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::KeyspaceCore;
use crate::operators;

/// The longest name of a merge operator, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// A merge operator, to be set as a keyspace's
/// [`merge_operator`](crate::KeyspaceOptions::merge_operator). Two are equal if their names are.
///
/// ```
/// use lsm_engine::{Counter, Db, KeyspaceOptions, Operator, Reads};
///
/// # let dir = tempfile::tempdir()?;
/// let db = Db::open(dir.path())?;
/// let options = KeyspaceOptions {
///     merge_operator: Some(Operator::new(Counter)),
///     ..KeyspaceOptions::default()
/// };
/// let visits = db.keyspace_with("visits", options)?;
/// visits.merge("front page", Counter::operand(1))?; // Reads nothing.
/// visits.merge("front page", Counter::operand(1))?;
/// let value = visits.get("front page")?.expect("there were some");
/// assert_eq!(Counter::number(&value), Some(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Operator {
    name: Arc<str>,
    /// `None`: only the name is known, for it was saved.
    works: Option<Arc<dyn MergeOperator>>,
}

impl Operator {
    /// An operator under its own name.
    pub fn new(operator: impl MergeOperator) -> Self {
        Self { name: operator.name().into(), works: Some(Arc::new(operator)) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was saved: this library's own operators work, of others only the name is known.
    pub(crate) fn saved(name: &str) -> Self {
        Self { name: name.into(), works: operators::own(name) }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let is_length_good = (1..=NAME_BYTES_MAX).contains(&self.name.len());
        if is_length_good && self.name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "option merge_operator is called \"{}\"; 1 to {NAME_BYTES_MAX} visible ASCII characters are \
             accepted",
            self.name.escape_debug()
        )))
    }
}

impl PartialEq for Operator {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Operator").field(&self.name).finish()
    }
}

impl KeyspaceCore {
    /// What works on operands here, if it was given.
    pub(crate) fn operator(&self) -> Option<Arc<dyn MergeOperator>> {
        self.operator.get().and_then(|operator| operator.works.clone())
    }

    /// Takes the operator that a user opens the keyspace with, if it is the one that the keyspace has
    /// or if it has none. Says whether its name is still to be saved.
    ///
    /// # Errors
    /// `Invalid` if it is another one, or if none is given where one is needed.
    pub(crate) fn take_operator(&self, given: Option<&Operator>, may_miss: bool) -> Result<bool> {
        let saved = self.options().merge_operator.clone();
        let refuse = |has: &str, opened: &str| {
            let name = &self.name;
            Err(Error::invalid(format!("keyspace \"{name}\" has {has}; it is opened {opened}")))
        };
        match (saved, given) {
            (None, None) => Ok(false),
            (None, Some(_)) => Ok(true),
            (Some(saved), None) => {
                if self.operator().is_some() || may_miss {
                    return Ok(false);
                }
                refuse(&format!("merge operator \"{}\"", saved.name), "without one")
            }
            (Some(saved), Some(given)) if saved != *given => {
                let with = format!("with \"{}\"", given.name);
                refuse(&format!("merge operator \"{}\"", saved.name), &with)
            }
            (Some(_), Some(given)) => {
                self.set_operator(given);
                Ok(false)
            }
        }
    }

    /// Whether options with this operator may take the place of those that the keyspace has.
    ///
    /// # Errors
    /// `Invalid`: an operator stays, for the operands that were written for it do.
    pub(crate) fn check_change(&self, to: Option<&Operator>) -> Result<()> {
        let saved = self.options().merge_operator.clone();
        match (saved, to) {
            (Some(saved), to) if to.is_none_or(|to| *to != saved) => Err(Error::invalid(format!(
                "option merge_operator is {}; keyspace \"{}\" has \"{}\", which stays",
                to.map_or("none".to_owned(), |to| format!("\"{}\"", to.name)),
                self.name,
                saved.name
            ))),
            (None, Some(Operator { name, works: None })) => Err(Error::invalid(format!(
                "option merge_operator is \"{name}\", which is no more than a name"
            ))),
            _ => Ok(()),
        }
    }

    /// From now on operands can be read and written. The name is saved already.
    pub(crate) fn set_operator(&self, operator: &Operator) {
        if operator.works.is_some() {
            // Whoever came first under the same name does the same.
            let _ = self.operator.set(operator.clone());
        }
    }

    /// What `operands`, oldest first, make of `base`.
    pub(crate) fn fold(
        &self,
        key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>> {
        let Some(operator) = self.operator() else { return Err(self.no_operator(key)) };
        fold_operands(&*operator, key, base, operands)
            .map_err(|reason| self.merge_error(operator.name(), key, &reason))
    }

    /// Refuses an operand that the operator does not take, and any where there is none.
    pub(crate) fn check_operand(&self, key: &[u8], operand: &[u8]) -> Result<()> {
        let Some(operator) = self.operator() else {
            let saved = self.options().merge_operator.clone();
            let what = match saved {
                Some(saved) => format!("was opened without its merge operator \"{}\"", saved.name),
                None => "has no merge operator".to_owned(),
            };
            return Err(Error::invalid(format!("keyspace \"{}\" {what}", self.name)));
        };
        operator.check(key, operand).map_err(|reason| {
            Error::invalid(format!(
                "merge operator \"{}\" takes no such operand for key \"{}\": {reason}",
                operator.name(),
                key.escape_ascii()
            ))
        })
    }

    fn no_operator(&self, key: &[u8]) -> Error {
        let reason = "it was not given when the keyspace was opened";
        match &self.options().merge_operator {
            Some(saved) => self.merge_error(&saved.name, key, reason),
            None => self.merge_error("?", key, "the keyspace has none"),
        }
    }

    fn merge_error(&self, operator: &str, key: &[u8], reason: &str) -> Error {
        let message = format!(
            "merge operator \"{operator}\" cannot tell the value of key \"{}\" in keyspace \"{}\": \
             {reason}",
            key.escape_ascii(),
            self.name
        );
        Error::new(ErrorKind::Merge, message)
    }
}
