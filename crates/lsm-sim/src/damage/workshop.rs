//! Makes the small databases whose files are damaged: written and closed, killed, killed right
//! after a flush, with a log of several segments, with a segment that had an earlier life.
//!
//! The end of a log segment, zeros up to its full length, is cut to a few hundred bytes: a segment
//! is filled ahead for speed, reads the same without, and its zeros are all alike.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsm_blob::BlobFile;
use lsm_engine::{Compression, Db, Durability, Keyspace, ReadMode, SeqNo, Step, WriteBatch};
use lsm_io::{Fs, OpenMode, SimFs};
use lsm_manifest::{FileKind, Manifest, parse_file_name};
use lsm_sstable::{BlockCache, Table};
use lsm_wal::FrameKind;

use crate::contents::{KEYSPACES, Write, key_bytes, value_bytes};
use crate::contents::{Map, State};

use super::specimen::{DIR, History, Mark, Specimen, frames, options};

/// What is left of the zeros at the end of a log segment.
const TAIL_BYTES: usize = 600;
/// Bytes of the checksum of a block or large value, which stands behind it.
const SEAL_BYTES: u64 = 8;
/// The database that is damaged, and another with the same files.
const ID: u64 = 0x5EED;
const OTHER_ID: u64 = 0x07E4;

/// All specimens: at least one of every kind of file that a database has.
pub fn specimens() -> Vec<Specimen> {
    let mut specimens = Vec::new();
    for (kind, compression) in [
        ("table_none", Compression::None),
        ("table_lz4", Compression::Lz4),
        ("table_zstd", Compression::Zstd(1)),
    ] {
        specimens.push(closed(compression).specimen(kind, FileKind::Table));
    }
    let closed = closed(Compression::None);
    specimens.push(closed.specimen("log_closed", FileKind::Log));
    specimens.push(closed.specimen("manifest_closed", FileKind::Manifest));
    specimens.push(closed.specimen("current_closed", FileKind::Current));
    specimens.push(closed.specimen("lock", FileKind::Lock));
    let killed = killed();
    specimens.push(killed.specimen("log_killed", FileKind::Log));
    specimens.push(killed.specimen("manifest_killed", FileKind::Manifest));
    specimens.push(killed.specimen("current_killed", FileKind::Current));
    let flushed = flushed();
    specimens.push(flushed.specimen("log_flushed", FileKind::Log));
    specimens.push(flushed.specimen("manifest_flushed", FileKind::Manifest));
    specimens.push(rotated().specimen("log_rotated", FileKind::Log));
    let recycled = recycled();
    let (path, _) = newest_segment(&recycled.shop.fs);
    specimens.push(recycled.specimen_of("log_recycled", path, Vec::new()));
    specimens.extend(closed.others());
    specimens.push(large().specimen("blob", FileKind::Blob));
    specimens
}

/// Two lives, three tables a keyspace, closed.
fn closed(compression: Compression) -> Made {
    make(compression, |shop| {
        shop.write_some(0..40);
        shop.flush();
        shop.remember("before its database was closed for the first time");
        shop.reopen();
        shop.write_some(40..50);
        shop.flush();
        shop.remember("before the last writes");
        shop.write_some(50..56);
        shop.remember("before its database was closed");
        shop.close();
    })
}

/// Values apart from their keys, in two blob files, some of which nothing refers to any more. Closed.
fn large() -> Made {
    make_with(Compression::None, Some(LARGE_BYTES), |shop| {
        for (key, number) in [(1, 2), (2, 9), (3, 3), (4, 4)] {
            shop.write(&[(0, key, Some(number))]);
        }
        shop.flush();
        shop.remember("before its database was closed for the first time");
        shop.reopen();
        shop.write(&[(0, 2, None), (0, 3, Some(34)), (0, 5, Some(35))]);
        shop.flush();
        shop.write(&[(0, 3, Some(36)), (0, 6, Some(10))]);
        shop.remember("before its database was closed");
        shop.close();
    })
}

/// A table, an edit that every later mark knows of, and writes that are in the log alone.
fn killed() -> Made {
    make(Compression::None, |shop| {
        shop.write_some(0..6);
        shop.flush();
        shop.remember("before the last writes");
        shop.write_some(6..16);
    })
}

/// Killed right after a flush: no mark knows of the last edit yet.
fn flushed() -> Made {
    make(Compression::None, |shop| {
        shop.write_some(0..6);
        shop.remember("before the flush");
        shop.flush();
    })
}

/// The log goes on in a second segment.
fn rotated() -> Made {
    make(Compression::None, |shop| {
        shop.write_some(0..4);
        // Longer than the rest of the first segment, which ends with a frame that leads on.
        shop.write(&[(0, 9, Some(LONG_VALUE))]);
        shop.write_some(4..6);
    })
}

/// The log is in a segment that was one before; what it held then stands behind its end.
fn recycled() -> Made {
    make(Compression::None, |shop| {
        // Past the first segment, whose file is not used again, and twice through full ones.
        for _ in 0..3 {
            (0..60).for_each(|_| shop.write(&[(0, 9, Some(1))]));
            shop.remember("in an earlier life");
            shop.flush();
            while shop.db().step(Step::Log).expect("works") {}
        }
        while newest_segment(&shop.fs).1 > 1 {
            shop.write(&[(0, 9, Some(2))]);
        }
        shop.write_some(0..6);
    })
}

/// The segment with the newest frames, and how many batches it holds.
fn newest_segment(fs: &SimFs) -> (PathBuf, usize) {
    let segments = fs.files().into_iter().map(|(path, _)| path);
    let segments = segments.filter(|path| kind_of(path) == FileKind::Log).map(|path| {
        let frames = frames(&fs.shared(), &path).0;
        let batches = frames.iter().filter(|frame| frame.kind == FrameKind::BATCH);
        (frames.last().map(|frame| frame.seq_no), path, batches.count())
    });
    let (_, path, batches) = segments.max().expect("there is a log");
    (path, batches)
}

/// From this length on values are large.
const LARGE_BYTES: u64 = 300;
/// The number of a value that is longer than a first segment.
const LONG_VALUE: u32 = u32::MAX;
const LONG_VALUE_BYTES: usize = 260 << 10;

fn value(number: u32) -> Vec<u8> {
    if number == LONG_VALUE { vec![b'v'; LONG_VALUE_BYTES] } else { value_bytes(number) }
}

/// A database as it was made, and the same one of another identity.
struct Made {
    shop: Workshop,
    other: Workshop,
}

fn make(compression: Compression, work: impl Fn(&mut Workshop)) -> Made {
    make_with(compression, None, work)
}

fn make_with(
    compression: Compression,
    blob_threshold_bytes: Option<u64>,
    work: impl Fn(&mut Workshop),
) -> Made {
    let made = |id| {
        let mut shop = Workshop::new(compression, blob_threshold_bytes, id);
        work(&mut shop);
        shop.finish()
    };
    Made { shop: made(ID), other: made(OTHER_ID) }
}

impl Made {
    /// The specimen whose file is the longest of its kind; of a log the segment to which it leads
    /// first.
    fn specimen(&self, kind: &'static str, file_kind: FileKind) -> Specimen {
        let of_kind = |shop: &Workshop| {
            let files = shop.fs.files().into_iter().map(|(path, _)| path);
            files.filter(|path| kind_of(path) == file_kind).collect::<Vec<PathBuf>>()
        };
        let fs = self.shop.fs.clone();
        let mut files = of_kind(&self.shop);
        if matches!(file_kind, FileKind::Table | FileKind::Blob) {
            files.sort_by_key(|path| std::cmp::Reverse(fs.read_file(path).len()));
        }
        // Older segments may be there to be used again: they are no part of the log.
        if file_kind == FileKind::Log {
            let read = Manifest::read(&fs.shared(), Path::new(DIR)).expect("is sound");
            let first = read.state.log_number;
            files.retain(|path| number_of(path) >= first);
        }
        let path = files.remove(0);
        self.specimen_of(kind, path, files)
    }

    /// The files of which no kind was thought of: nothing may depend on what they hold.
    fn others(&self) -> impl Iterator<Item = Specimen> + use<'_> {
        let files = self.shop.fs.files().into_iter().map(|(path, _)| path);
        let others = files.filter(|path| matches!(kind_of(path), FileKind::Temp | FileKind::Other));
        others.map(|path| self.specimen_of("other", path, Vec::new()))
    }

    fn specimen_of(&self, kind: &'static str, path: PathBuf, siblings: Vec<PathBuf>) -> Specimen {
        let (fs, file_kind) = (self.shop.fs.clone(), kind_of(&path));
        let mut replacements: Vec<(String, Vec<u8>)> = Vec::new();
        for (when, earlier, bytes) in &self.shop.remembered {
            if kind_of(earlier) == file_kind {
                replacements.push((format!("{} {when}", earlier.display()), bytes.clone()));
            }
        }
        if self.other.fs.files().iter().any(|(other, _)| *other == path) {
            replacements.push(("of another database".into(), self.other.fs.read_file(&path)));
        }
        let bytes = fs.read_file(&path);
        replacements.retain(|(_, other)| *other != bytes);
        let pieces = pieces(&fs, &path);
        // Of a log the marks tell.
        let is_manifest = file_kind == FileKind::Manifest;
        let torn_from = pieces.last().map_or(0, |last| if is_manifest { last.start } else { 0 });
        Specimen {
            kind,
            torn_from,
            history: Arc::clone(&self.shop.history),
            is_closed: self.shop.is_closed,
            used_bytes: used_bytes(&fs, &path),
            pieces,
            replacements,
            siblings,
            fs,
            path,
        }
    }
}

fn kind_of(path: &Path) -> FileKind {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parse_file_name(&name).0
}

fn number_of(path: &Path) -> u64 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parse_file_name(&name).1
}

/// How many bytes of a file mean something.
fn used_bytes(fs: &SimFs, path: &Path) -> usize {
    match kind_of(path) {
        FileKind::Lock | FileKind::Temp | FileKind::Other => 0,
        FileKind::Log => frames(&fs.shared(), path).0.last().map_or(0, |frame| frame.range.end),
        _ => fs.read_file(path).len(),
    }
}

/// The blocks of a table, the values of a blob file, the frames of a log or manifest, the lines of a text.
fn pieces(fs: &SimFs, path: &Path) -> Vec<Range<usize>> {
    let bytes = fs.read_file(path);
    match kind_of(path) {
        FileKind::Table => {
            let file = fs.open(path, OpenMode::Read).expect("opens");
            let identity = Table::read_identity(&file).expect("is a table");
            let mode = lsm_sstable::ReadMode::Cached(BlockCache::new(1 << 20));
            let table = Table::open(file, identity, bytes.len() as u64, mode).expect("opens");
            let ends = |block: lsm_sstable::BlockInfo<'_>| {
                (block.offset as usize, (block.offset + block.stored_bytes + SEAL_BYTES) as usize)
            };
            let mut pieces: Vec<_> = table.blocks().map(ends).map(|(a, b)| a..b).collect();
            let tail = pieces.last().map_or(0, |block| block.end);
            pieces.push(tail..bytes.len());
            pieces
        }
        FileKind::Blob => {
            let file = fs.open(path, OpenMode::Read).expect("opens");
            let identity = BlobFile::read_identity(&file).expect("is a blob file");
            let blobs = BlobFile::open_damaged(file, identity).expect("opens");
            let mut pieces = Vec::new();
            let mut end = 0;
            let visit = &mut |_, value: &[u8]| {
                let start = end;
                end += 4 + value.len() + SEAL_BYTES as usize;
                pieces.push(start..end);
                Ok(())
            };
            blobs.visit_values(visit).expect("is whole");
            pieces.push(end..bytes.len());
            pieces
        }
        FileKind::Log | FileKind::Manifest => {
            let (frames, _) = frames(&fs.shared(), path);
            let first = frames.first().map_or(bytes.len(), |frame| frame.range.start);
            let rest = frames.into_iter().map(|frame| frame.range);
            std::iter::once(0..first).chain(rest).collect()
        }
        _ => {
            let mut start = 0;
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            let line = |line: &[u8]| {
                start += line.len();
                start - line.len()..start
            };
            lines.map(line).collect()
        }
    }
}

/// Writes one database.
struct Workshop {
    fs: SimFs,
    compression: Compression,
    blob_threshold_bytes: Option<u64>,
    id: u64,
    db: Option<Db>,
    keyspaces: Vec<Keyspace>,
    states: Vec<State>,
    /// The last sequence number of each commit.
    ends: Vec<SeqNo>,
    flushed: usize,
    is_closed: bool,
    /// Files as they once were.
    remembered: Vec<(String, PathBuf, Vec<u8>)>,
    history: Arc<History>,
}

impl Workshop {
    fn new(compression: Compression, blob_threshold_bytes: Option<u64>, id: u64) -> Self {
        let mut shop = Self {
            fs: SimFs::new(id),
            compression,
            blob_threshold_bytes,
            id,
            db: None,
            keyspaces: Vec::new(),
            states: vec![vec![Map::new(); usize::from(KEYSPACES)]],
            ends: Vec::new(),
            flushed: 0,
            is_closed: false,
            remembered: Vec::new(),
            history: Arc::default(),
        };
        shop.open();
        shop
    }

    fn open(&mut self) {
        let mut options = options(&self.fs, ReadMode::Cached, self.compression, self.id);
        options.keyspace.blob_threshold_bytes = self.blob_threshold_bytes;
        let db = Db::open_with(DIR, options).expect("opens");
        self.keyspaces = vec![db.default_keyspace().clone()];
        self.keyspaces.extend(
            (1..KEYSPACES)
                .map(|number| db.keyspace(&format!("keyspace-{number}")).expect("is created")),
        );
        self.db = Some(db);
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("is open")
    }

    fn write(&mut self, writes: &[Write]) {
        let mut batch = WriteBatch::new();
        let mut state = self.states.last().expect("there is a first one").clone();
        for (keyspace, key, number) in writes {
            let map = &mut state[usize::from(*keyspace)];
            let mut batch = batch.within(&self.keyspaces[usize::from(*keyspace)]);
            match number {
                Some(number) => {
                    batch.put(key_bytes(*key), value(*number));
                    map.insert(key_bytes(*key), value(*number));
                }
                None => {
                    batch.delete(key_bytes(*key));
                    map.remove(&key_bytes(*key));
                }
            }
        }
        let end = self.db().write_with(&batch, Durability::Disk.into()).expect("is written");
        self.ends.push(end);
        self.states.push(state);
    }

    /// Commits of one write, of a delete, and of several in both keyspaces; all kinds of keys, and
    /// of values those that are short.
    fn write_some(&mut self, numbers: Range<u16>) {
        for number in numbers {
            let key = number * 7 % 40;
            let value = u32::from(number) * 32 + 8 + u32::from(number % 20);
            match number % 4 {
                0 => self.write(&[(0, key, Some(value))]),
                1 => self.write(&[
                    (0, key, Some(value)),
                    (1, key + 1, Some(value)),
                    (0, key / 2, None),
                ]),
                2 => self.write(&[(1, key, Some(value)), (0, key + 2, Some(value + 1))]),
                _ => self.write(&[(0, key / 3, Some(value)), (1, key / 2, None)]),
            }
        }
    }

    fn flush(&mut self) {
        self.db().flush().expect("is flushed");
        self.flushed = self.ends.len();
    }

    /// Keeps copies of all files as they are now.
    fn remember(&mut self, when: &str) {
        for (path, _) in self.fs.files() {
            let mut bytes = self.fs.read_file(&path);
            trim(&path, &self.fs, &mut bytes);
            self.remembered.push((when.to_owned(), path, bytes));
        }
    }

    fn close(&mut self) {
        self.keyspaces.clear();
        self.db.take().expect("is open").close().expect("is closed");
        self.is_closed = true;
    }

    fn reopen(&mut self) {
        self.close();
        self.open();
        self.is_closed = false;
    }

    /// Kills the process unless the database was closed, and looks at what proves what.
    fn finish(mut self) -> Self {
        let fs = self.fs.kill_image();
        self.keyspaces.clear();
        self.db = None;
        self.fs = fs;
        let paths: Vec<PathBuf> = self.fs.files().into_iter().map(|(path, _)| path).collect();
        let mut marks = Vec::new();
        for path in paths.iter().filter(|path| kind_of(path) == FileKind::Log) {
            let fs = self.fs.clone();
            self.fs.damage(path, |bytes| trim(path, &fs, bytes));
            let bytes = self.fs.read_file(path);
            let (frames, _) = frames(&self.fs.shared(), path);
            for frame in frames.into_iter().filter(|frame| frame.kind == FrameKind::MARK) {
                let durable = frame.payload.first_chunk().map_or(0, |n| u64::from_le_bytes(*n));
                marks.push(Mark {
                    path: path.clone(),
                    bytes: bytes[frame.range.clone()].to_vec(),
                    range: frame.range,
                    commits: self.ends.iter().filter(|end| **end <= durable).count(),
                });
            }
        }
        let states = std::mem::take(&mut self.states);
        self.history = Arc::new(History { states, flushed: self.flushed, marks });
        self
    }
}

/// Cuts the zeros, or what an earlier life has left, behind the last frame of a segment.
fn trim(path: &Path, fs: &SimFs, bytes: &mut Vec<u8>) {
    if kind_of(path) == FileKind::Log {
        let (frames, _) = frames(&fs.shared(), path);
        let end = frames.last().map_or(76, |frame| frame.range.end);
        bytes.truncate(end + TAIL_BYTES);
    }
}
