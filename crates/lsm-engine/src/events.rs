//! What happens inside, told to whoever listens.
//!
//! An event is put into a queue where it happens, also under locks, and delivered by a thread that
//! does nothing else, so a listener holds nobody up and may call the database itself. The queue has
//! an end: a listener that is too slow for what happens misses the newest events, and is told how
//! many. Nothing is built, queued or started before somebody listens.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use lsm_compaction::Pressure;

use crate::env::Spawn;
use crate::error::{Error, Result};
use crate::options::Options;

/// Events that wait for slow listeners; later ones are missed.
const QUEUE_MAX: usize = 1024;

/// Something that happened inside a database. `Display` says it in words.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A sync failed that must not be tried again: the database takes no writes until it is
    /// reopened. Reads go on.
    Poisoned {
        /// What writes fail with from now on.
        error: Error,
    },
    /// The disk is full: only deletes are accepted, and what was kept in reserve was given up so
    /// that they, flushes and compactions find room.
    NoSpace {
        /// What failed for want of room.
        error: Error,
    },
    /// There is room again, and all writes are accepted.
    SpaceRegained,
    /// Background work failed, otherwise than the last time; it is tried again.
    BackgroundError {
        /// Which work.
        work: Work,
        /// What failed.
        error: Error,
    },
    /// A memtable became tables of level 0.
    Flushed {
        /// The keyspace's name.
        keyspace: String,
        /// How many tables were written; none if nothing in the memtable was worth keeping.
        tables: usize,
        /// Their bytes.
        bytes: u64,
        /// Their entries.
        entries: u64,
    },
    /// A bulk load became part of a keyspace.
    Ingested {
        /// The keyspace's name.
        keyspace: String,
        /// How many tables it brought.
        tables: u64,
        /// Their bytes.
        bytes: u64,
        /// Their entries.
        entries: u64,
    },
    /// Tables were merged, moved or dropped.
    Compacted {
        /// The keyspace's name.
        keyspace: String,
        /// Why, in words.
        reason: String,
        /// The level that took the result.
        level: usize,
        /// How many tables went in.
        tables_in: usize,
        /// Their bytes.
        bytes_in: u64,
        /// How many tables came out.
        tables_out: usize,
        /// Their bytes.
        bytes_out: u64,
    },
    /// Compaction met damage in tables and leaves them alone until the database is opened anew.
    TablesSetAside {
        /// The keyspace's name.
        keyspace: String,
        /// The numbers of the tables.
        tables: Vec<u64>,
        /// What is damaged.
        error: Error,
    },
    /// Flushes or compactions lag so far behind that writes wait.
    Stalled {
        /// What they wait for.
        pressure: Pressure,
    },
    /// Writes need not wait any more.
    Resumed,
    /// Listeners were too slow for what happened.
    Missed {
        /// So many events were not delivered.
        events: u64,
    },
}

/// Kinds of background work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Work {
    /// Keeping the log: segments ahead of their use, and the removal of files.
    Log,
    /// Turning memtables into tables.
    Flush,
    /// Merging tables.
    Compaction,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "keeping the log",
            Self::Flush => "a flush",
            Self::Compaction => "a compaction",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisoned { error } => write!(f, "{error}"),
            Self::NoSpace { error } => {
                write!(f, "the disk is full, only deletes are accepted: {error}")
            }
            Self::SpaceRegained => f.write_str("there is room again, all writes are accepted"),
            Self::BackgroundError { work, error } => write!(f, "{work} failed: {error}"),
            Self::Flushed { keyspace, tables, bytes, entries } => write!(
                f,
                "keyspace {keyspace}: flushed {entries} entries into {tables} tables of {bytes} bytes"
            ),
            Self::Ingested { keyspace, tables, bytes, entries } => write!(
                f,
                "keyspace {keyspace}: loaded {entries} entries in {tables} tables of {bytes} bytes"
            ),
            Self::Compacted {
                keyspace,
                reason,
                level,
                tables_in,
                bytes_in,
                tables_out,
                bytes_out,
            } => write!(
                f,
                "keyspace {keyspace}: {tables_in} tables of {bytes_in} bytes became {tables_out} \
                 of {bytes_out} bytes at level {level}, because {reason}"
            ),
            Self::TablesSetAside { keyspace, tables, error } => write!(
                f,
                "keyspace {keyspace}: tables {tables:?} are left alone until the next open: {error}"
            ),
            Self::Stalled { pressure } => write!(f, "writes wait: {pressure}"),
            Self::Resumed => f.write_str("writes go on"),
            Self::Missed { events } => write!(f, "{events} events were missed"),
        }
    }
}

/// Is called with each event; see [`Db::on_event`](crate::Db::on_event).
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(&Event) + Send + Sync>);

impl Listener {
    /// Calls `listen` with each event.
    ///
    /// ```
    /// use lsm_engine::{Db, Listener, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let listener = Some(Listener::new(|event| eprintln!("{event}")));
    /// let db = Db::open_with(dir.path(), Options { listener, ..Options::default() })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(listen: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listen))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// The events of one database on their way to its listeners.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Whether anybody listens: all that an event costs otherwise is to ask this.
    is_heard: AtomicBool,
    listeners: Mutex<Vec<Listener>>,
    queue: Mutex<Queue>,
    came: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    missed: u64,
    is_closed: bool,
}

impl Events {
    /// Those of a database that is being opened.
    ///
    /// # Errors
    /// Those of [`listen`](Self::listen).
    pub(crate) fn of(options: &Options) -> Result<Arc<Self>> {
        let events = Arc::new(Self::default());
        if let Some(listener) = &options.listener {
            events.listen(listener.clone(), options.env.spawn)?;
        }
        Ok(events)
    }

    /// Adds a listener, and the thread that calls it if the engine has threads.
    ///
    /// # Errors
    /// `Io` if the system gives no more threads.
    pub(crate) fn listen(self: &Arc<Self>, listener: Listener, spawn: Spawn) -> Result<()> {
        if spawn == Spawn::Threads {
            let mut thread = self.thread.lock().expect("no holder panicked");
            if thread.is_none() && !self.queue().is_closed {
                let events = Arc::clone(self);
                let builder = std::thread::Builder::new().name("lsm-events".into());
                let spawned = builder.spawn(move || events.deliver_until_closed());
                *thread = Some(spawned.map_err(|error| {
                    let path = std::path::Path::new("listeners");
                    Error::from(lsm_io::Error::io("start a thread for", path, error))
                })?);
            }
        }
        self.listeners.lock().expect("no holder panicked").push(listener);
        self.is_heard.store(true, Ordering::Release);
        Ok(())
    }

    /// Tells an event. Waits for nobody, so it may be called under any lock.
    #[inline]
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.is_heard.load(Ordering::Relaxed) {
            self.enter(event());
        }
    }

    #[cold]
    fn enter(&self, event: Event) {
        let mut queue = self.queue();
        if queue.events.len() < QUEUE_MAX {
            queue.events.push_back(event);
        } else {
            queue.missed += 1;
        }
        drop(queue);
        self.came.notify_one();
    }

    /// Delivers what waits: where the engine has no threads, its owner's does it.
    pub(crate) fn deliver_waiting(&self) {
        while self.is_heard.load(Ordering::Relaxed) {
            let mut queue = self.queue();
            if queue.events.is_empty() {
                return;
            }
            let events = queue.take();
            drop(queue);
            self.deliver(&events);
        }
    }

    fn deliver_until_closed(&self) {
        loop {
            let mut queue = self.queue();
            while queue.events.is_empty() && !queue.is_closed {
                queue = self.came.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            let events = queue.take();
            drop(queue);
            if events.is_empty() {
                return;
            }
            self.deliver(&events);
        }
    }

    /// Calls every listener, holding no lock. One that panics has only itself to blame: the others
    /// are called all the same, and so is it with the next event.
    fn deliver(&self, events: &[Event]) {
        let listeners = self.listeners.lock().expect("no holder panicked").clone();
        for event in events {
            for listener in &listeners {
                let _ = catch_unwind(AssertUnwindSafe(|| (listener.0)(event)));
            }
        }
    }

    /// Delivers what waits, and nothing after it. Waits for listeners that are being called, unless
    /// one of them is the caller.
    pub(crate) fn close(&self) {
        self.queue().is_closed = true;
        self.came.notify_all();
        let thread = self.thread.lock().expect("no holder panicked").take();
        match thread {
            Some(thread) if thread.thread().id() != std::thread::current().id() => {
                let _ = thread.join();
            }
            Some(_) => {}
            None => self.deliver_waiting(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Everything in it, the oldest first, and how many are not in it.
    fn take(&mut self) -> Vec<Event> {
        let mut events = Vec::from(std::mem::take(&mut self.events));
        let missed = std::mem::take(&mut self.missed);
        if missed > 0 {
            events.push(Event::Missed { events: missed });
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(events: &Arc<Events>) -> Arc<Mutex<Vec<String>>> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&heard);
        let listen = move |event: &Event| sink.lock().expect("no panic").push(event.to_string());
        events.listen(Listener::new(listen), Spawn::Manual).expect("needs no thread");
        heard
    }

    #[test]
    fn an_event_that_nobody_hears_is_not_even_built() {
        let events = Arc::new(Events::default());
        events.tell(|| unreachable!("nobody listens"));
        let heard = heard(&events);
        events.tell(|| Event::Resumed);
        events.deliver_waiting();
        assert_eq!(*heard.lock().expect("no panic"), ["writes go on"]);
    }

    #[test]
    fn a_listener_that_is_too_slow_hears_how_much_it_missed() {
        let events = Arc::new(Events::default());
        let heard = heard(&events);
        (0..QUEUE_MAX + 10).for_each(|_| events.tell(|| Event::Resumed));
        events.deliver_waiting();
        let heard = heard.lock().expect("no panic");
        assert_eq!(heard.len(), QUEUE_MAX + 1);
        assert_eq!(heard.last().expect("there are some"), "10 events were missed");
    }
}
