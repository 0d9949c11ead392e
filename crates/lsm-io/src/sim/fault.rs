//! Faults that read like a sentence: `nth(3).sync_of("*.log")`, `every().read_of("000007.sst")`.

use std::io;
use std::path::Path;

use super::disk::normal;

/// What a call does to a file or directory, as far as faults, holds and steps tell calls apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Open,
    Create,
    Read,
    Write,
    Sync,
    Map,
    Rename,
    Remove,
    Link,
    DirSync,
    List,
    Lock,
    /// A question whose answer never fails but after a crash: a length, an existence.
    Ask,
}

impl Operation {
    /// Whether the disk may differ after the call: such calls are the steps of a workload.
    pub(super) fn is_step(self) -> bool {
        !matches!(self, Self::Open | Self::Read | Self::Map | Self::List | Self::Ask)
    }

    /// Whether the call makes earlier changes durable. One that the crash interrupts makes nothing
    /// durable for sure; the others count as done, but unsynced, and the policy decides.
    pub(super) fn is_sync(self) -> bool {
        matches!(self, Self::Sync | Self::DirSync)
    }
}

/// How many calls to let pass, and whether it ends with one: the start of a [`Fault`]'s sentence.
#[derive(Clone, Copy, Debug)]
#[must_use = "say which calls are meant: `nth(3).sync_of(\"*.log\")`"]
pub struct Schedule {
    first: u64,
    for_ever: bool,
}

/// The `n`th matching call from now on, counted from 1.
///
/// # Panics
/// If `n` is 0.
pub fn nth(n: u64) -> Schedule {
    assert!(n > 0, "calls are counted from 1");
    Schedule { first: n, for_ever: false }
}

/// The next matching call.
pub fn once() -> Schedule {
    nth(1)
}

/// Every matching call from now on.
pub fn every() -> Schedule {
    Schedule { first: 1, for_ever: true }
}

/// Which calls go wrong, and how. Given to [`SimFs::fail`](crate::SimFs::fail), or, to wait instead
/// of failing, to [`SimFs::hold`](crate::SimFs::hold).
///
/// Patterns are bare names (`"*.log"`), matched against the name alone, or paths (`"db/*.log"`),
/// matched against the whole path as the caller gave it; `*` stands for any characters, `?` for one.
/// An open file goes by the name under which it was opened.
///
/// ```
/// use lsm_io::{SimFs, nth, every};
/// use std::io::ErrorKind;
///
/// let fs = SimFs::new(1);
/// fs.fail(nth(3).sync_of("*.log"));                                // once
/// fs.fail(nth(2).write_of("db/*.sst").for_ever().with(ErrorKind::StorageFull));
/// fs.fail(nth(1).sync_of("CURRENT.tmp").losing_pages());           // as real kernels do
/// fs.fail(every().read_of("000007.sst").short());
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fault happens only once it is given to `SimFs::fail` or `SimFs::hold`"]
pub struct Fault {
    schedule: Schedule,
    operation: Option<Operation>,
    pattern: Pattern,
    kind: io::ErrorKind,
    effect: Effect,
    /// Matching calls so far.
    seen: u64,
}

/// How much of its work a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// None of it.
    Nothing,
    /// Part of a read or write.
    Short,
    /// A sync, of a file or of a directory, drops what was pending.
    LosePages,
    /// All of it.
    Whole,
}

impl Schedule {
    /// Calls to `sync` of matching files.
    pub fn sync_of(self, pattern: &str) -> Fault {
        self.of(Some(Operation::Sync), pattern)
    }

    /// Calls to `write_at` and `set_len` of matching files.
    pub fn write_of(self, pattern: &str) -> Fault {
        self.of(Some(Operation::Write), pattern)
    }

    /// Calls to `read_at` of matching files.
    pub fn read_of(self, pattern: &str) -> Fault {
        self.of(Some(Operation::Read), pattern)
    }

    /// Calls that create matching files or directories.
    pub fn create_of(self, pattern: &str) -> Fault {
        self.of(Some(Operation::Create), pattern)
    }

    /// Calls that open matching files that exist.
    pub fn open_of(self, pattern: &str) -> Fault {
        self.of(Some(Operation::Open), pattern)
    }

    /// Calls to `map` of matching files.
    pub fn map_of(self, pattern: &str) -> Fault {
        self.of(Some(Operation::Map), pattern)
    }

    /// Renames whose old or new name matches.
    pub fn rename_of(self, pattern: &str) -> Fault {
        self.of(Some(Operation::Rename), pattern)
    }

    /// Removals of matching files and directories.
    pub fn remove_of(self, pattern: &str) -> Fault {
        self.of(Some(Operation::Remove), pattern)
    }

    /// Hard links whose old or new name matches.
    pub fn link_of(self, pattern: &str) -> Fault {
        self.of(Some(Operation::Link), pattern)
    }

    /// Calls to `sync_dir` of matching directories.
    pub fn dir_sync_of(self, pattern: &str) -> Fault {
        self.of(Some(Operation::DirSync), pattern)
    }

    /// Listings of matching directories.
    pub fn list_of(self, pattern: &str) -> Fault {
        self.of(Some(Operation::List), pattern)
    }

    /// Attempts to lock matching files.
    pub fn lock_of(self, pattern: &str) -> Fault {
        self.of(Some(Operation::Lock), pattern)
    }

    /// Calls of all these kinds.
    pub fn any_of(self, pattern: &str) -> Fault {
        self.of(None, pattern)
    }

    fn of(self, operation: Option<Operation>, pattern: &str) -> Fault {
        Fault {
            schedule: self,
            operation,
            pattern: Pattern::new(pattern),
            kind: io::ErrorKind::Other,
            effect: Effect::Nothing,
            seen: 0,
        }
    }
}

impl Fault {
    /// That call and every matching one after it.
    pub fn for_ever(mut self) -> Self {
        self.schedule.for_ever = true;
        self
    }

    /// Fails with this kind of error instead of `Other`.
    pub fn with(mut self, kind: io::ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Half of the bytes are read or written before the call fails.
    ///
    /// # Panics
    /// If the fault is about neither reads nor writes.
    pub fn short(mut self) -> Self {
        let can_be_short = [Some(Operation::Read), Some(Operation::Write)];
        assert!(can_be_short.contains(&self.operation), "only a read or a write can be short");
        self.effect = Effect::Short;
        self
    }

    /// The sync drops what was pending, bytes of a file or names in a directory; the next one has
    /// nothing to do and reports success. Readers go on seeing both until the power is cut.
    ///
    /// # Panics
    /// If the fault is not about syncs of files or directories.
    pub fn losing_pages(mut self) -> Self {
        let is_sync = self.operation.is_some_and(Operation::is_sync);
        assert!(is_sync, "only a sync can lose pages");
        self.effect = Effect::LosePages;
        self
    }

    /// Counts the call if it matches, and says whether its turn has come.
    pub(super) fn strikes(&mut self, operation: Operation, paths: [Option<&Path>; 2]) -> bool {
        let is_meant = match self.operation {
            Some(meant) => meant == operation,
            None => operation != Operation::Ask,
        };
        if !is_meant || !paths.into_iter().flatten().any(|path| self.pattern.matches(path)) {
            return false;
        }
        self.seen += 1;
        self.seen == self.schedule.first
            || (self.seen > self.schedule.first && self.schedule.for_ever)
    }

    pub(super) fn effect(&self) -> Effect {
        self.effect
    }

    pub(super) fn error(&self) -> io::Error {
        io::Error::new(self.kind, "injected fault")
    }
}

/// A name or path with `*` and `?`.
#[derive(Clone, Debug)]
pub(super) struct Pattern(String);

impl Pattern {
    pub(super) fn new(pattern: &str) -> Self {
        Self(pattern.trim_start_matches("./").trim_start_matches('/').to_owned())
    }

    pub(super) fn matches(&self, path: &Path) -> bool {
        let path = normal(path);
        let subject = if self.0.contains('/') {
            &path[..]
        } else {
            path.rsplit('/').next().unwrap_or_default()
        };
        matches(self.0.as_bytes(), subject.as_bytes())
    }
}

/// On a mismatch, lets the latest `*` swallow one more byte; earlier ones never need to.
fn matches(pattern: &[u8], subject: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut latest_star: Option<(usize, usize)> = None;
    while position < subject.len() {
        match pattern.get(at) {
            Some(b'*') => {
                latest_star = Some((at, position));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == subject[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((star, swallowed)) = latest_star else { return false };
                latest_star = Some((star, swallowed + 1));
                at = star + 1;
                position = swallowed + 1;
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_match(pattern: &str, path: &str, expected: bool) {
        let matched = Pattern::new(pattern).matches(Path::new(path));
        assert_eq!(matched, expected, "{pattern} and {path}");
    }

    #[test]
    fn a_bare_pattern_matches_the_name_and_a_path_the_path() {
        check_match("*.log", "db/000012.log", true);
        check_match("*.log", "/db/./000012.log", true);
        check_match("*.log", "db/000012.log.tmp", false);
        check_match("00001?.log", "db/000012.log", true);
        check_match("00001?.log", "db/00001.log", false);
        check_match("db/*.log", "db/000012.log", true);
        check_match("db/*.log", "other/000012.log", false);
        check_match("/db/CURRENT", "db/CURRENT", true);
        check_match("*", "", true);
        check_match("*a*b*", "xxaxxbxxabx", true);
        check_match("*a*b", "xxaxxbxxabx", false);
        check_match("", "x", false);
    }

    #[test]
    fn schedules_strike_when_they_say() {
        let strikes = |mut fault: Fault| -> Vec<u64> {
            let path = Path::new("db/1.log");
            (1..=5).filter(|_| fault.strikes(Operation::Sync, [Some(path), None])).collect()
        };
        assert_eq!(strikes(nth(3).sync_of("*.log")), [3]);
        assert_eq!(strikes(nth(3).sync_of("*.log").for_ever()), [3, 4, 5]);
        assert_eq!(strikes(once().sync_of("*.log")), [1]);
        assert_eq!(strikes(every().any_of("*.log")), [1, 2, 3, 4, 5]);
        assert_eq!(strikes(every().write_of("*.log")), [0; 0]);
        assert_eq!(strikes(every().sync_of("*.sst")), [0; 0]);
    }
}
