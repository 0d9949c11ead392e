//! Compare and set: a write that depends on what is there.

use lsm_entry::SeqNo;

use crate::db::Db;
use crate::error::{ErrorKind, Result};
use crate::keyspace::Keyspace;
use crate::reads::Reads;
use crate::transaction::Transaction;

impl Keyspace {
    /// Sets `key` to `value` (`None`: removes it) if its value is `expected` (`None`: it has none),
    /// in one instant. Returns the write's sequence number, or `None`, having written nothing, if
    /// another value is there.
    ///
    /// ```
    /// # use lsm_engine::Db;
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// assert!(db.put_if("lock", None, Some(b"mine"))?.is_some());
    /// assert!(db.put_if("lock", None, Some(b"yours"))?.is_none(), "somebody has it");
    /// assert!(db.put_if("lock", Some(b"mine"), None)?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`put`](Self::put), and those of a read.
    pub fn put_if(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Option<SeqNo>> {
        let key = key.as_ref();
        loop {
            let tx = Transaction::begin(&self.db);
            let there = tx.within(self);
            if there.get(key)?.as_deref() != expected {
                return Ok(None);
            }
            match value {
                Some(value) => there.put(key, value),
                None => there.delete(key),
            }
            match tx.commit() {
                // Somebody else was first, and what is there now decides.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                outcome => return outcome.map(Some),
            }
        }
    }
}

impl Db {
    /// Sets `key` of the default keyspace if its value is `expected`; see [`Keyspace::put_if`].
    ///
    /// # Errors
    /// Those of [`Keyspace::put_if`].
    pub fn put_if(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<Option<SeqNo>> {
        self.default_keyspace().put_if(key, expected, value)
    }
}
