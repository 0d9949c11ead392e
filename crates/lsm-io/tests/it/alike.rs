//! The real disk and the simulated one give the same answers to the same calls.

use std::path::{Path, PathBuf};

use lsm_io::{Error, LockGuard, LockOutcome, OpenMode, Result, SharedFile, SharedFs, SimFs, StdFs};

use crate::rng::Rng;

const PATHS: [&str; 9] = ["a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/f"];
const HANDLES: usize = 4;

#[derive(Debug)]
enum Op {
    Open { slot: usize, path: &'static str, mode: OpenMode },
    Close { slot: usize },
    Len { slot: usize },
    Read { slot: usize, offset: u64, length: usize },
    Write { slot: usize, offset: u64, bytes: Vec<u8> },
    WriteThrough { slot: usize, offset: u64, bytes: Vec<u8> },
    SetLen { slot: usize, bytes: u64 },
    Sync { slot: usize },
    Map { slot: usize },
    List(&'static str),
    Exists(&'static str),
    CreateDir(&'static str),
    Rename(&'static str, &'static str),
    RemoveFile(&'static str),
    RemoveDir(&'static str),
    Link(&'static str, &'static str),
    SyncDir(&'static str),
    Lock { path: &'static str, holder: &'static str },
    Unlock,
}

impl Op {
    fn random(rng: &mut Rng) -> Self {
        let slot = rng.below(HANDLES);
        let (path, other) = (rng.pick(&PATHS), rng.pick(&PATHS));
        let offset = rng.below(10_000) as u64;
        match rng.below(36) {
            0..=3 => Self::Open { slot, path, mode: OpenMode::CreateNew },
            4 => Self::Open { slot, path, mode: OpenMode::Read },
            5..=7 => Self::Open { slot, path, mode: OpenMode::ReadWrite },
            8 => Self::Close { slot },
            9 => Self::Len { slot },
            10..=12 => Self::Read { slot, offset, length: rng.below(5_000) },
            13..=17 => Self::Write { slot, offset, bytes: rng.bytes(9_000) },
            18 => Self::SetLen { slot, bytes: offset },
            19 => Self::Sync { slot },
            20 => Self::Map { slot },
            21..=22 => Self::List(path),
            23 => Self::Exists(path),
            24 => Self::CreateDir(path),
            25..=27 => Self::Rename(path, other),
            28 => Self::RemoveFile(path),
            29 => Self::RemoveDir(path),
            30 => Self::Link(path, other),
            31 => Self::SyncDir(path),
            32 => Self::Lock { path, holder: rng.pick(&["process 1", "process 22"]) },
            33..=34 => Self::WriteThrough { slot, offset, bytes: rng.bytes(5_000) },
            _ => Self::Unlock,
        }
    }
}

/// One of the two file systems, with what the operations so far left open.
struct World {
    fs: SharedFs,
    root: PathBuf,
    handles: [Option<(SharedFile, OpenMode)>; HANDLES],
    lock: Option<Box<dyn LockGuard>>,
}

impl World {
    fn new(fs: SharedFs, root: &Path) -> Self {
        fs.create_dir_all(root).expect("the root can be created");
        Self { fs, root: root.to_owned(), handles: [const { None }; HANDLES], lock: None }
    }

    /// What came of it, in a form that can be compared: never a path, which differs.
    fn apply(&mut self, op: &Op) -> String {
        match self.try_apply(op) {
            Ok(answer) => answer,
            Err(Error::Io { action, source, .. }) => format!("{action}: {:?}", source.kind()),
            Err(error) => panic!("no file is decoded here: {error}"),
        }
    }

    fn try_apply(&mut self, op: &Op) -> Result<String> {
        let at = |path: &str| self.root.join(path);
        let file = |slot: usize| self.handles[slot].as_ref();
        let done = |(): ()| String::from("done");
        match op {
            Op::Open { slot, path, mode } => {
                self.handles[*slot] = Some((self.fs.open(&at(path), *mode)?, *mode));
                Ok("opened".to_owned())
            }
            Op::Close { slot } => {
                self.handles[*slot] = None;
                Ok("closed".to_owned())
            }
            Op::Len { slot } => {
                file(*slot).map_or(Ok(String::new()), |(file, _)| Ok(format!("{}", file.len()?)))
            }
            Op::Read { slot, offset, length } => {
                let Some((file, _)) = file(*slot) else { return Ok(String::new()) };
                let mut buffer = vec![0; *length];
                file.read_at(*offset, &mut buffer)?;
                Ok(told(&buffer))
            }
            Op::Write { slot, offset, bytes } => match file(*slot) {
                None | Some((_, OpenMode::Read)) => Ok(String::new()),
                Some((file, _)) => file.write_at(*offset, bytes).map(done),
            },
            Op::WriteThrough { slot, offset, bytes } => match file(*slot) {
                None | Some((_, OpenMode::Read)) => Ok(String::new()),
                Some((file, _)) => file.write_through(*offset, bytes).map(done),
            },
            Op::SetLen { slot, bytes } => match file(*slot) {
                None | Some((_, OpenMode::Read)) => Ok(String::new()),
                Some((file, _)) => file.set_len(*bytes).map(done),
            },
            Op::Sync { slot } => {
                file(*slot).map_or(Ok(String::new()), |(file, _)| file.sync().map(done))
            }
            Op::Map { slot } => {
                file(*slot).map_or(Ok(String::new()), |(file, _)| Ok(told(&file.map()?)))
            }
            Op::List(path) => Ok(format!("{:?}", self.fs.list(&at(path))?)),
            Op::Exists(path) => Ok(format!("{}", self.fs.exists(&at(path))?)),
            Op::CreateDir(path) => self.fs.create_dir_all(&at(path)).map(done),
            Op::Rename(from, to) => self.fs.rename(&at(from), &at(to)).map(done),
            Op::RemoveFile(path) => self.fs.remove_file(&at(path)).map(done),
            Op::RemoveDir(path) => self.fs.remove_dir_all(&at(path)).map(done),
            Op::Link(from, to) => self.fs.hard_link(&at(from), &at(to)).map(done),
            Op::SyncDir(path) => self.fs.sync_dir(&at(path)).map(done),
            Op::Lock { path, holder } => match self.fs.try_lock(&at(path), holder)? {
                LockOutcome::Acquired(guard) => {
                    self.lock = Some(guard);
                    Ok("locked".to_owned())
                }
                LockOutcome::HeldBy(other) => Ok(format!("held by {other:?}")),
            },
            Op::Unlock => {
                self.lock = None;
                Ok("unlocked".to_owned())
            }
        }
    }
}

/// Bytes in few words, so that a failure can be read.
fn told(bytes: &[u8]) -> String {
    format!("{} bytes with checksum {:016x}", bytes.len(), lsm_io::checksum::xxh3(bytes))
}

#[test]
fn the_simulated_disk_answers_like_the_real_one() {
    for seed in 0..60 {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let mut rng = Rng::new(seed);
        let mut real = World::new(StdFs::shared(), temp.path());
        let mut simulated = World::new(SimFs::new(seed).shared(), Path::new("root/of/it"));
        for step in 0..300 {
            let op = Op::random(&mut rng);
            let expected = real.apply(&op);
            assert_eq!(simulated.apply(&op), expected, "seed {seed}, step {step}: {op:?}");
        }
    }
}

/// The same check on both, in an empty directory.
#[track_caller]
fn check_both(check: impl Fn(&SharedFs, &Path)) {
    let temp = tempfile::tempdir().expect("a temporary directory");
    check(&StdFs::shared(), temp.path());
    let fs = SimFs::new(0);
    check(&fs.shared(), Path::new(""));
}

#[test]
fn a_lock_is_exclusive_and_names_its_holder() {
    check_both(|fs, root| {
        let path = root.join("LOCK");
        let first = fs.try_lock(&path, "process 4711").expect("no error");
        assert!(matches!(first, LockOutcome::Acquired(_)));
        match fs.try_lock(&path, "process 4712").expect("no error") {
            LockOutcome::HeldBy(holder) => assert_eq!(holder, "process 4711"),
            LockOutcome::Acquired(_) => panic!("two processes hold one lock"),
        }
        drop(first);
        let again = fs.try_lock(&path, "p").expect("no error");
        assert!(matches!(again, LockOutcome::Acquired(_)));
    });
}

#[test]
fn a_removed_file_can_be_read_through_its_handle() {
    check_both(|fs, root| {
        let path = root.join("table");
        let file = fs.open(&path, OpenMode::CreateNew).expect("created");
        file.write_at(0, b"still here").expect("written");
        let mapping = file.map().expect("mapped");
        fs.remove_file(&path).expect("removed");
        fs.sync_dir(root).expect("synced");
        assert!(!fs.exists(&path).expect("an answer"));
        let mut buffer = [0; 10];
        file.read_at(0, &mut buffer).expect("readable");
        assert_eq!(&buffer, b"still here");
        assert_eq!(&*mapping, b"still here");
    });
}

#[test]
fn a_read_past_the_end_is_an_unexpected_end() {
    check_both(|fs, root| {
        let file = fs.open(&root.join("short"), OpenMode::CreateNew).expect("created");
        file.write_at(0, b"12345").expect("written");
        let error = file.read_at(1, &mut [0; 5]).expect_err("five bytes from 1 do not fit");
        assert_eq!(error.io_kind(), Some(std::io::ErrorKind::UnexpectedEof));
        assert!(error.to_string().starts_with("could not read "), "{error}");
        assert!(error.to_string().contains("short"), "{error} names the file");
    });
}

#[test]
fn an_empty_file_can_be_mapped() {
    check_both(|fs, root| {
        let file = fs.open(&root.join("empty"), OpenMode::CreateNew).expect("created");
        assert!(file.map().expect("mapped").is_empty());
    });
}

#[test]
fn what_is_stored_is_read_and_what_does_not_fit_is_refused() {
    check_both(|fs, root| {
        let file = fs.open(&root.join("log"), OpenMode::CreateNew).expect("created");
        file.write_at(0, &[b'.'; 12]).expect("written");
        let Some(stores) = file.map_for_stores().expect("mapped") else {
            eprintln!("skipped: this file system may need room to overwrite");
            return;
        };
        stores.store(4, b"stored").expect("stored");
        file.write_at(2, b"writ").expect("written");
        stores.store(11, b"!").expect("stored");
        file.sync().expect("synced");
        let mut buffer = [0; 12];
        file.read_at(0, &mut buffer).expect("readable");
        assert_eq!(&buffer, b"..writored.!");
        for (offset, bytes) in [(12, &b"x"[..]), (11, b"xx"), (u64::MAX, b"x")] {
            let error = stores.store(offset, bytes).expect_err("beyond the end");
            assert_eq!(error.io_kind(), Some(std::io::ErrorKind::InvalidInput));
        }
        assert_eq!(file.len().expect("known"), 12);
    });
}

#[test]
fn there_is_room_somewhere() {
    check_both(|fs, root| assert!(fs.available_bytes(root).expect("an answer") > 0));
}

#[test]
fn new_files_and_directories_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let temp = tempfile::tempdir().expect("a temporary directory");
    let fs = StdFs::shared();
    let dir = temp.path().join("db");
    fs.create_dir_all(&dir).expect("created");
    fs.open(&dir.join("file"), OpenMode::CreateNew).expect("created");
    let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&dir) & 0o077, 0);
    assert_eq!(mode(&dir.join("file")) & 0o077, 0);
}
