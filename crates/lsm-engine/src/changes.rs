//! What was written, batch by batch, for those who follow it.
//!
//! The log is the feed: each frame below the durable position, and below `visible`, is one change. A
//! follower reads the segments' files by itself, behind the writer, who never waits for it and does
//! not know how far it is. So a follower that lags may find that a segment is gone: the options say how
//! much of the log is kept for it, and how long (`history.rs`).

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use lsm_entry::{Entry, Record, Records, SeqNo, ValueKind};
use lsm_manifest::{FileKind, Manifest, file_name};
use lsm_wal::{FRAME_HEADER_BYTES, FrameKind, FrameReader, FrameRef, FrameStep};

use crate::batch::DEFAULT_KEYSPACE;
use crate::db::{Db, Handle};
use crate::error::{Error, Result};
use crate::note::Note;
use crate::read_only;
use crate::shared::Shared;
use crate::spread::Held;

/// How long the iterator waits at once.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How often whoever only reads looks what the writer has written.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Changes that happened together: a batch, or an ingest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The number of the first of them.
    pub first_seq_no: SeqNo,
    /// The number of the last of them: whoever has taken this change in follows on from here.
    pub last_seq_no: SeqNo,
    /// What changed, in order. Entries of keyspaces that have been dropped since are left out.
    pub entries: Vec<EntryChange>,
}

/// One of the changes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryChange {
    /// The name of the keyspace.
    pub keyspace: Arc<str>,
    /// What happened in it.
    pub kind: ChangeKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// A key got a value.
    Put {
        /// The key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
        /// When it expires, in milliseconds since 1970.
        expires_at_ms: Option<u64>,
    },
    /// A key went.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
    /// All keys of a range went.
    DeleteRange {
        /// The first of them.
        lower: Vec<u8>,
        /// The first key behind them; empty: there is none.
        upper: Vec<u8>,
    },
    /// An operand was added to a key's value.
    Merge {
        /// The key.
        key: Vec<u8>,
        /// The operand, for the keyspace's operator.
        operand: Vec<u8>,
    },
    /// A bulk load or tables became part of the keyspace. The log does not hold their entries: whoever
    /// wants them reads the range, or exports it.
    Ingest {
        /// The smallest key.
        lower: Vec<u8>,
        /// The largest key.
        upper: Vec<u8>,
        /// How many entries, puts and deletes.
        entries: u64,
    },
}

/// What was written from some number on, in order, durable batches only, following what is being
/// written. Keeps the database open.
///
/// As an [`Iterator`] it waits for each next change, and ends with an error; the database being closed
/// is one. A task waits with [`next_change`](Self::next_change).
pub struct Changes {
    db: Held<Handle>,
    /// The number from which on nothing was told yet.
    next: SeqNo,
    /// Where it comes in the log.
    place: Option<Place>,
    /// Names of keyspaces by id.
    names: HashMap<u32, Arc<str>>,
    has_ended: bool,
}

/// A segment that is being read.
struct Place {
    number: u64,
    end_seq_no: SeqNo,
    reader: FrameReader,
}

/// What reading on in a segment came to.
enum Found {
    /// The next change.
    Change(Change),
    /// A frame that tells nothing.
    Nothing,
    /// No further frame is here.
    End,
}

impl Db {
    /// Every change after `since`, the last one that the caller has seen (0: none), in order, and then
    /// those to come. A change is told when it is on disk, whatever durability it asked for, and
    /// never one that a crash takes back.
    ///
    /// On a database opened read-only, beside the process that writes, the newest batches are told when
    /// the writer's next group says that they are on disk, or when it has closed. A writer that keeps
    /// changes for followers syncs them with each flush at the latest; else those that asked for less than
    /// the disk may go into tables, and their part of the log away, without.
    ///
    /// How far back the log goes, [`Options::changes_retention_bytes`] says: without it, to what a
    /// recovery would need, and not beyond the last opening. [`Options::changes_retention_ms`] bounds
    /// how long it is kept.
    ///
    /// ```
    /// use lsm_engine::{ChangeKind, Db};
    /// use std::time::Duration;
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path())?;
    /// let mut changes = db.changes(0)?;
    /// db.put("user:1", "Ada")?;
    /// let change = changes.next_within(Duration::from_secs(10))?.expect("it is on disk");
    /// assert!(matches!(&change.entries[0].kind, ChangeKind::Put { key, .. } if key == b"user:1"));
    /// assert_eq!(changes.next_within(Duration::ZERO)?, None);
    /// let resumed = db.changes(change.last_seq_no)?; // After a restart of the follower, say.
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`Options::changes_retention_bytes`]: crate::Options::changes_retention_bytes
    /// [`Options::changes_retention_ms`]: crate::Options::changes_retention_ms
    ///
    /// # Errors
    /// `HistoryGone` if the log does not go back so far any more (the error names the oldest change
    /// that is there); `Invalid` if `since` is beyond what was ever written; `Closed`; before the first
    /// write, and where the log of what is in tables has yet to be synced, also what a write could fail with.
    pub fn changes(&self, since: SeqNo) -> Result<Changes> {
        let shared = self.shared();
        shared.check_open()?;
        let appended = shared.commit.appended();
        if since > appended {
            return Err(Error::invalid(format!(
                "changes after {since}; the last that was written is {appended}"
            )));
        }
        let next = since + 1;
        shared.history.begin_following();
        let db = self.handle().hold();
        let changes = Changes { db, next, place: None, names: HashMap::new(), has_ended: false };
        if !shared.is_read_only {
            shared.begin()?;
            shared.sync_log_of_tables()?;
        }
        shared.segment_of(next).map_err(|oldest| Error::history_gone(next, oldest))?;
        Ok(changes)
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.db.shared.history.end_following();
    }
}

impl Changes {
    /// The next change, if there is one within so long.
    ///
    /// # Errors
    /// `HistoryGone` if this follower was so slow that the log has gone on without it; `Closed`,
    /// `Corrupt`, `Io`.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Change>> {
        let now = Instant::now();
        let deadline = now.checked_add(timeout).unwrap_or(now + PATIENCE);
        loop {
            if let Some(change) = self.next_there()? {
                return Ok(Some(change));
            }
            let (shared, next) = (Arc::clone(&self.db.shared), self.next);
            if shared.is_read_only {
                if Instant::now() >= deadline {
                    return Ok(None);
                }
                std::thread::sleep(LOOK_AGAIN.min(timeout));
                read_only::refresh(&shared)?;
                continue;
            }
            if !shared.commit.followers.wait(deadline, || shared.has_news_of(next)) {
                return Ok(None);
            }
        }
    }

    /// The next change, as a future: no thread waits for it, and it needs no runtime of any kind. Dropping
    /// it loses nothing.
    ///
    /// What is there already is read from the log's files as it is polled, as a rule out of the operating
    /// system's cache.
    ///
    /// ```
    /// # use lsm_engine::Db;
    /// # use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
    /// # let dir = tempfile::tempdir()?;
    /// let db = Db::open(dir.path())?;
    /// let mut changes = db.changes(0)?;
    /// db.put("user:1", "Ada")?;
    /// # let mut context = Context::from_waker(Waker::noop());
    /// # let Poll::Ready(Ok(change)) = pin!(changes.next_change()).poll(&mut context) else { panic!() };
    /// # stringify! {
    /// let change = changes.next_change().await?;
    /// # };
    /// assert_eq!(change.entries.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// It resolves to those of [`next_within`](Self::next_within), and `Invalid` on a database opened
    /// read-only, whose writer calls nobody in this process.
    pub fn next_change(&mut self) -> NextChange<'_> {
        NextChange(self)
    }

    /// The number of the last change that was told: to go on from with [`Db::changes`].
    pub fn seq_no(&self) -> SeqNo {
        self.next - 1
    }

    /// The next change that is durable already.
    fn next_there(&mut self) -> Result<Option<Change>> {
        let shared = Arc::clone(&self.db.shared);
        shared.check_open()?;
        let mut has_reread = false;
        while self.next <= shared.feed_end() {
            let mut place = match self.place.take() {
                Some(place) => place,
                None => self.enter()?,
            };
            let found = self.read(&mut place);
            match found {
                Ok(Found::Change(change)) => {
                    self.place = Some(place);
                    return Ok(Some(change));
                }
                Ok(Found::Nothing) => self.place = Some(place),
                // What is durable is in the file by now. If it is not here, it is in another one.
                Ok(Found::End) if !has_reread => {
                    has_reread = true;
                    place.reader.reread();
                    let elsewhere = self.segment()?.number != place.number;
                    self.place = (!elsewhere).then_some(place);
                    has_reread &= !elsewhere;
                }
                Ok(Found::End) => return Err(self.missing(&place)),
                // The file may have been given up, and used again, while it was read.
                Err(error) => return Err(self.segment().err().unwrap_or(error)),
            }
        }
        Ok(None)
    }

    /// The segment that holds the next change.
    fn segment(&self) -> Result<lsm_wal::SegmentInfo> {
        let segment = self.db.shared.segment_of(self.next);
        segment.map_err(|oldest| Error::history_gone(self.next, oldest))
    }

    fn enter(&self) -> Result<Place> {
        let (shared, segment) = (&self.db.shared, self.segment()?);
        let path = shared.dir.join(file_name(FileKind::Log, segment.number));
        let opened = FrameReader::open(&shared.fs, &path, Some(shared.database_id));
        // It may have been given up just now.
        let reader = match opened {
            Err(error) => return Err(self.segment().err().unwrap_or(error.into())),
            Ok(reader) => reader,
        };
        Ok(Place { number: segment.number, end_seq_no: segment.end_seq_no, reader })
    }

    /// What is due is not where it should be.
    fn missing(&self, place: &Place) -> Error {
        match self.db.shared.segment_of(place.end_seq_no) {
            // Between kept segments one may have been used again by an earlier process.
            Ok(later) if place.end_seq_no > self.next && later.number != place.number => {
                Error::history_gone(self.next, later.first_seq_no)
            }
            _ => {
                let reason = format!("change {} is not in the log", self.next);
                lsm_io::Error::corrupt(place.reader.path(), place.reader.offset(), reason).into()
            }
        }
    }

    fn read(&mut self, place: &mut Place) -> Result<Found> {
        let FrameStep::Frame(frame) = place.reader.next()? else { return Ok(Found::End) };
        if frame.seq_end() <= self.next || !frame.kind.takes_seq_no() {
            // Closing frames and marks have no number; others were told before.
            return Ok(Found::Nothing);
        }
        if frame.seq_start > self.next {
            // It leaves out what is due.
            return Ok(Found::End);
        }
        let change = match frame.kind {
            FrameKind::BATCH => self.batch(&frame)?,
            FrameKind::NOTE => self.note(&frame)?,
            _ => None,
        };
        self.next = frame.seq_end();
        Ok(change.map_or(Found::Nothing, Found::Change))
    }

    fn batch(&mut self, frame: &FrameRef<'_>) -> Result<Option<Change>> {
        let mut keyspace = self.name(DEFAULT_KEYSPACE);
        let mut entries = Vec::with_capacity(frame.count as usize);
        for record in Records::new(frame.payload) {
            let record = record.map_err(|malformed| self.malformed(frame, malformed))?;
            match record {
                Record::Keyspace(id) => keyspace = self.name(id),
                Record::Entry { tag, key, value } => {
                    if let Some(keyspace) = &keyspace {
                        let keyspace = Arc::clone(keyspace);
                        let kind = kind_of(&Entry { key, seq_no: 0, tag, value });
                        entries.push(EntryChange { keyspace, kind });
                    }
                }
            }
        }
        Ok(change_of(frame, entries))
    }

    fn note(&mut self, frame: &FrameRef<'_>) -> Result<Option<Change>> {
        let note = Note::decode(frame.payload);
        let note = note.map_err(|malformed| self.malformed(frame, malformed))?;
        let Some(Note::Ingest(ingest)) = note else { return Ok(None) };
        let shared = &self.db.shared;
        let has_happened = if shared.is_read_only {
            Manifest::read(&shared.fs, &shared.dir)?.state.has_ingested(frame.seq_start)
        } else {
            shared.lock_manifest()?.state().has_ingested(frame.seq_start)
        };
        let Some(keyspace) = self.name(ingest.keyspace).filter(|_| has_happened) else {
            return Ok(None);
        };
        let (lower, upper, entries) = (ingest.lower, ingest.upper, ingest.entries);
        let kind = ChangeKind::Ingest { lower, upper, entries };
        Ok(change_of(frame, vec![EntryChange { keyspace, kind }]))
    }

    /// The name of a keyspace that is there.
    fn name(&mut self, id: u32) -> Option<Arc<str>> {
        if let Some(name) = self.names.get(&id) {
            return Some(Arc::clone(name));
        }
        let keyspaces = self.db.shared.keyspaces.load();
        let name: Arc<str> = keyspaces.get(&id)?.name.as_str().into();
        self.names.insert(id, Arc::clone(&name));
        Some(name)
    }

    fn malformed(&self, frame: &FrameRef<'_>, malformed: impl Into<Malformed>) -> Error {
        let path = self.db.shared.dir.join(file_name(FileKind::Log, frame.segment));
        malformed.into().0.at(&path, frame.offset + FRAME_HEADER_BYTES as u64).into()
    }
}

/// What bytes of the log are not, whichever decoder says so.
struct Malformed(lsm_io::Malformed);

impl From<lsm_io::Malformed> for Malformed {
    fn from(malformed: lsm_io::Malformed) -> Self {
        Self(malformed)
    }
}

impl From<lsm_entry::Malformed> for Malformed {
    fn from(malformed: lsm_entry::Malformed) -> Self {
        Self(lsm_io::Malformed { offset: malformed.offset, reason: malformed.reason })
    }
}

impl Iterator for Changes {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Result<Change>> {
        while !self.has_ended {
            match self.next_within(PATIENCE) {
                Ok(Some(change)) => return Some(Ok(change)),
                Ok(None) => {}
                Err(error) => {
                    self.has_ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// The next change of a feed, when there is one: see [`Changes::next_change`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct NextChange<'a>(&'a mut Changes);

impl Future for NextChange<'_> {
    type Output = Result<Change>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Change>> {
        let changes = &mut *self.get_mut().0;
        let shared = Arc::clone(&changes.db.shared);
        if shared.is_read_only {
            let reason = "a database opened read-only is followed with next_within, by a thread";
            return Poll::Ready(Err(Error::invalid(reason)));
        }
        loop {
            if let Some(change) = changes.next_there().transpose() {
                return Poll::Ready(change);
            }
            let next = changes.next;
            if shared.commit.followers.wake_unless(context.waker(), || shared.has_news_of(next)) {
                return Poll::Pending;
            }
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("seq_no", &self.seq_no()).finish_non_exhaustive()
    }
}

impl Shared {
    /// The newest number that followers are told of: on disk, and seen by readers here.
    fn feed_end(&self) -> SeqNo {
        self.commit.visible().min(self.commit.durable())
    }

    /// Whether a follower who is due for `next` has something to hear, if only that this is the end.
    fn has_news_of(&self, next: SeqNo) -> bool {
        self.feed_end() >= next || self.check_open().is_err()
    }
}

fn change_of(frame: &FrameRef<'_>, entries: Vec<EntryChange>) -> Option<Change> {
    let (first_seq_no, last_seq_no) = (frame.seq_start, frame.seq_end() - 1);
    (!entries.is_empty()).then_some(Change { first_seq_no, last_seq_no, entries })
}

fn kind_of(entry: &Entry<'_>) -> ChangeKind {
    let (key, value) = (entry.key.to_vec(), entry.user_value().to_vec());
    match entry.kind() {
        ValueKind::Put => ChangeKind::Put { key, value, expires_at_ms: entry.expires_at_ms() },
        ValueKind::Merge => ChangeKind::Merge { key, operand: value },
        ValueKind::RangeDelete => ChangeKind::DeleteRange { lower: key, upper: value },
        ValueKind::Delete | ValueKind::SingleDelete => ChangeKind::Delete { key },
    }
}
