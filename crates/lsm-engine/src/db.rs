//! The database as its user holds it.
//!
//! Here it is opened, written to in batches, made durable, watched and closed. What it does for its
//! default keyspace is in `db/default_keyspace.rs`; further keyspaces are in `keyspaces.rs`.

mod default_keyspace;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use lsm_entry::SeqNo;

use crate::background::Step;
use crate::batch::WriteBatch;
use crate::error::Result;
use crate::events::{Event, Listener};
use crate::history::Retention;
use crate::keyspace::Keyspace;
use crate::options::{Options, WriteOptions, check_write_rate};
use crate::recover;
use crate::recovery_report::RecoveryReport;
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::spread::Spread;
use crate::ticket::Ticket;
use crate::waiter::Goal;

/// An open database: a crash-safe, ordered map from bytes to bytes.
///
/// Owned, cheap to clone, `Send + Sync`. The database closes cleanly when the last handle of any
/// kind (`Db`, [`Keyspace`], [`Snapshot`], an iterator) is dropped; [`close`](Self::close) does it
/// with a result.
///
/// ```
/// use lsm_engine::{Db, Reads};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("my.db");
/// let db = Db::open(path)?;
/// db.put("user:1", "Ada")?; // On disk when it returns.
/// assert_eq!(db.get("user:1")?.as_deref(), Some(&b"Ada"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Db {
    handle: Spread<Handle>,
    default: Keyspace,
}

/// What keeps the database open.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`.
        let _ = self.shared.close();
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("dir", &self.shared.dir).finish()
    }
}

impl Db {
    /// Opens the database in directory `path`, creating it if there is none. One that was closed is read
    /// without a change to its files; the first write, or the first quarter of a second, gives it a new
    /// log, and may wait for that. After a crash it may wait up to 200 ms for the clock, if values have
    /// expired just before.
    ///
    /// # Errors
    /// `Busy` if another process has it open, `Corrupt` if acknowledged data is damaged, `Invalid`
    /// if the path is a file or belongs to something else, `Io`, `NoSpace`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Options::default())
    }

    /// Opens with options.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), and `Invalid` for an unacceptable option, which is named.
    #[allow(clippy::needless_pass_by_value)]
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Ok(Self::from_shared(recover::open(path.as_ref(), options)?))
    }

    /// Opens for reading what another process may be writing: no lock, no change to the directory.
    /// It shows one moment; [`refresh`](Self::refresh) moves on to the present.
    ///
    /// # Errors
    /// `Invalid` if there is no database, `Corrupt`, `Io`.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_read_only_with(path, Options::default())
    }

    /// Opens for reading with options, of which only those that concern reading matter.
    ///
    /// # Errors
    /// Those of [`open_read_only`](Self::open_read_only).
    #[allow(clippy::needless_pass_by_value)]
    pub fn open_read_only_with(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        Ok(Self::from_shared(crate::read_only::open(path.as_ref(), options)?))
    }

    fn from_shared(shared: Arc<Shared>) -> Self {
        let core = shared.default_keyspace.clone();
        let handle = Spread::new(&Arc::new(Handle { shared }));
        let default = Keyspace { db: handle.clone(), core };
        Self { handle, default }
    }

    pub(crate) fn handle(&self) -> &Spread<Handle> {
        &self.handle
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// A database opened read-only moves on to what the writer has made durable or handed to the
    /// operating system since. It may wait up to 200 ms for the clock, beside a writer in whose database
    /// values are found expired.
    ///
    /// # Errors
    /// `Invalid` on a writable database, `Corrupt`, `Io`.
    pub fn refresh(&self) -> Result<()> {
        crate::read_only::refresh(self.shared())
    }

    /// Writes a batch: together or not at all, over all its keyspaces. One that holds nothing writes
    /// nothing and waits for nothing, whatever durability it asks for: [`sync`](Self::sync) is what
    /// brings earlier writes to the disk.
    ///
    /// # Errors
    /// `Invalid` for a [key](crate::MAX_KEY_BYTES) or [value](crate::MAX_VALUE_BYTES) beyond its limit
    /// and for a batch longer than a quarter of [`Options::memory_bytes`], `ReadOnly`, `NoSpace`,
    /// `Io`. After an error whose [outcome is unknown](crate::Error::is_outcome_unknown), it may be found at the
    /// next open.
    pub fn write(&self, batch: &WriteBatch) -> Result<()> {
        self.write_with(batch, WriteOptions::default()).map(drop)
    }

    /// Writes a batch; returns the sequence number of its last record.
    ///
    /// # Errors
    /// Those of [`write`](Self::write), and `Busy` past the deadline.
    pub fn write_with(&self, batch: &WriteBatch, options: WriteOptions) -> Result<SeqNo> {
        let seq_no = self.shared().write_batch(batch, None, options)?;
        self.default.sweep_after_batch(batch);
        Ok(seq_no)
    }

    /// Takes a batch into the order and returns at once with a ticket. The batch becomes visible
    /// when the ticket resolves; dropping the ticket cancels nothing.
    ///
    /// ```
    /// # use lsm_engine::{Db, WriteBatch};
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// let mut batch = WriteBatch::new();
    /// batch.put("key", "value");
    /// let ticket = db.write_async(&batch)?;
    /// // ... more writes ...
    /// ticket.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`write`](Self::write) that come before the batch has a place in the order.
    pub fn write_async(&self, batch: &WriteBatch) -> Result<Ticket> {
        self.write_async_with(batch, WriteOptions::default())
    }

    /// The same, saying how. A [deadline](WriteOptions::deadline) of zero never waits for a place in
    /// the order: while flushes or compactions lag the answer is `Busy`, with the time after which to
    /// try again. So a thread of an async runtime is never held up.
    ///
    /// # Errors
    /// Those of [`write_with`](Self::write_with) that come before the batch has a place in the order.
    pub fn write_async_with(&self, batch: &WriteBatch, options: WriteOptions) -> Result<Ticket> {
        let shared = self.shared();
        let durability = options.durability.unwrap_or(shared.options.durability);
        let through = shared.submit(batch, None, options, durability)?;
        // Whether anybody waits for the ticket or not, the write goes on.
        if shared.commit.needs_leader() {
            shared.background.wake_log();
        }
        Ok(Ticket { handle: self.handle.hold(), through })
    }

    /// Waits until everything up to `seq_no` is on disk, starting a sync if none covers it.
    ///
    /// # Errors
    /// `ReadOnly` if a sync failed.
    pub fn wait_durable(&self, seq_no: SeqNo) -> Result<()> {
        let shared = self.shared();
        if shared.is_read_only {
            return shared.check_writable();
        }
        shared.commit.reach(Goal::Durable(seq_no.min(shared.commit.appended())))
    }

    /// Waits until everything written so far is on disk.
    ///
    /// # Errors
    /// `ReadOnly` if a sync failed, be it that of the manifest: of a load whose
    /// [outcome is unknown](crate::Error::is_outcome_unknown) nobody can say that it is there.
    pub fn sync(&self) -> Result<()> {
        let commit = &self.shared().commit;
        self.wait_durable(commit.appended())?;
        commit.poison().map_or(Ok(()), |poison| Err(poison.clone()))
    }

    /// Writes everything in memory to tables; returns when it is done.
    ///
    /// # Errors
    /// `ReadOnly`, `NoSpace`, `Io`.
    pub fn flush(&self) -> Result<()> {
        let shared = self.shared();
        shared.check_writable()?;
        shared.live_keyspaces().iter().try_for_each(|core| shared.flush_keyspace(core))
    }

    /// A moment that stays readable.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(&self.handle)
    }

    /// The newest sequence number that reads see.
    pub fn visible_seq_no(&self) -> SeqNo {
        self.shared().commit.visible()
    }

    /// Calls `listener` with everything that happens from now on: failed syncs, a full disk, flushes,
    /// compactions, writes that have to wait, ... ([`Event`](crate::Event)).
    ///
    /// Listeners are called one event at a time, in order, by a thread of their own and under no lock.
    /// A slow one holds up no write and no read, but misses events once a thousand of them wait, and
    /// [closing](Self::close) waits until it has seen those that do. One that panics harms nobody.
    /// A listener stays until the database is closed; it must not keep a handle of its database, or
    /// that never happens by itself.
    ///
    /// ```
    /// use lsm_engine::{Db, Event};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path())?;
    /// db.on_event(|event| match event {
    ///     Event::Poisoned { error } => eprintln!("call somebody: {error}"),
    ///     Event::Flushed { .. } | Event::Compacted { .. } => {}
    ///     other => eprintln!("{other}"),
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Closed`; `Io` if the system gives no thread to call it with.
    pub fn on_event(&self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Result<()> {
        let shared = self.shared();
        shared.check_open()?;
        shared.events.listen(Listener::new(listener), shared.options.env.spawn)
    }

    /// What opening it found and did.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.shared().report
    }

    /// Changes the limit of bytes a second that flushes and compactions write together; `None`: there
    /// is none. See [`Options::write_rate_bytes_per_second`].
    ///
    /// # Errors
    /// `Invalid` for less than the option takes; the limit stays as it was then.
    pub fn set_write_rate(&self, bytes_per_second: Option<u64>) -> Result<()> {
        check_write_rate(bytes_per_second)?;
        self.shared().limiter.set_rate(bytes_per_second);
        Ok(())
    }

    /// Changes how much of the log is kept for followers, and for how long at most, as
    /// [`Options::changes_retention_bytes`] and [`Options::changes_retention_ms`] say it for an opening.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// let db = lsm_engine::Db::open(dir.path())?;
    /// db.set_changes_retention(256 << 20, Some(24 * 3600 * 1000)); // A day, or 256 MiB.
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_changes_retention(&self, bytes: u64, ms: Option<u64>) {
        self.shared().set_retention(Retention { bytes_max: bytes, age_ms_max: ms });
    }

    /// Waits until no background work is left: nothing to flush, no plan to carry out, no file to
    /// remove. Helps with the work meanwhile.
    ///
    /// # Errors
    /// Those of flushes and compactions; `NoSpace` where they wait for room on the disk.
    pub fn settle(&self) -> Result<()> {
        let shared = self.shared();
        // What is left for a pause is work, too.
        let _settling = shared.rest.settle();
        loop {
            shared.check_writable()?;
            let did_work = shared.step(Step::Flush)?
                || shared.step(Step::Compact)?
                || shared.step(Step::Log)?;
            if did_work {
                continue;
            }
            if shared.is_waiting_for_room()
                && let Some(error) = shared.no_room()
            {
                return Err(error);
            }
            if !shared.is_compacting_anything() && !shared.has_sealed() {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// Does one piece of background work; `false` if there was none of this kind.
    ///
    /// # Errors
    /// Those of the work.
    #[cfg(any(test, feature = "testing"))]
    pub fn step(&self, step: Step) -> Result<bool> {
        self.shared().step(step)
    }

    /// Closes the database: flushes, syncs, and says in the manifest that it was closed. Other
    /// handles fail with `Closed` from then on.
    ///
    /// # Errors
    /// `NoSpace`, `Io`: what could not be flushed is still in the log, and nothing is lost.
    /// `ReadOnly` after a failed sync: what was acknowledged at its durability is there, and what was
    /// not may be.
    #[allow(clippy::needless_pass_by_value)]
    pub fn close(self) -> Result<()> {
        self.handle.shared.close()
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("dir", &self.shared().dir).finish()
    }
}

impl Shared {
    fn has_sealed(&self) -> bool {
        self.live_keyspaces().iter().any(|core| !core.view.load().sealed.is_empty())
    }
}
