//! Merge operators as keyspaces hold them: by a name that is saved, and what works under it.
//!
//! What an operator computes is told in `lsm-compaction`'s `operator.rs`; how it is checked against
//! the saved name when a keyspace is opened, here.
//!
//! Order: the name is durable before the first operand is written, for operands without a name are
//! bytes that nobody can read.

use std::sync::Arc;

use lsm_compaction::{MergeOperator, fold_operands};

use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::KeyspaceCore;
use crate::named::{Given, Named};
use crate::operators;

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
#[derive(Clone, Debug, PartialEq)]
pub struct Operator(Named<dyn MergeOperator>);

impl Operator {
    /// An operator under its own name.
    pub fn new(operator: impl MergeOperator) -> Self {
        let operator: Arc<dyn MergeOperator> = Arc::new(operator);
        Self(Named::new(operator.name(), Some(Arc::clone(&operator))))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// What was saved: this library's own operators work, of others only the name is known.
    pub(crate) fn saved(name: &str) -> Self {
        Self(Named::new(name, operators::own(name)))
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.0.check("merge_operator")
    }
}

impl KeyspaceCore {
    /// What works on operands here, if it was given.
    pub(crate) fn operator(&self) -> Option<Arc<dyn MergeOperator>> {
        self.operator.get().and_then(|operator| operator.0.works().cloned())
    }

    /// Takes the operator that a user opens the keyspace with, if it is the one that the keyspace has
    /// or if it has none. Says whether its name is still to be saved.
    ///
    /// # Errors
    /// `Invalid` if it is another one, or if none is given where one is needed.
    pub(crate) fn take_operator(&self, given: Option<&Operator>, may_miss: bool) -> Result<bool> {
        let saved = self.options().merge_operator.clone();
        let may_miss = may_miss || self.operator().is_some();
        let (saved, inner) = (saved.as_ref().map(|it| &it.0), given.map(|it| &it.0));
        let found = Named::compare(saved, inner, &self.name, "merge operator", may_miss)?;
        if let (Given::Same, Some(given)) = (found, given) {
            self.set_operator(given);
        }
        Ok(found == Given::New)
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
                to.map_or("none".to_owned(), |to| format!("\"{}\"", to.name())),
                self.name,
                saved.name()
            ))),
            (None, Some(to)) => to.0.check_works("merge_operator"),
            _ => Ok(()),
        }
    }

    /// From now on operands can be read and written. The name is saved already.
    pub(crate) fn set_operator(&self, operator: &Operator) {
        if operator.0.works().is_some() {
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
                Some(saved) => {
                    format!("was opened without its merge operator \"{}\"", saved.name())
                }
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
            Some(saved) => self.merge_error(saved.name(), key, reason),
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
