//! Operations as lines of text, written and read back.

use std::fmt;
use std::str::FromStr;

use lsm_engine::{Durability, Step};
use lsm_io::CrashPolicy;

use crate::data::{KEYS, KEYSPACES, Write};
use crate::op::{Change, Op};
use crate::setup::Choice;

fn show_writes(f: &mut fmt::Formatter<'_>, writes: &[Write]) -> fmt::Result {
    writes.iter().try_for_each(|(keyspace, key, value)| match value {
        Some(value) => write!(f, " {keyspace}/{key}={value}"),
        None => write!(f, " {keyspace}/{key}=-"),
    })
}

fn show_end(f: &mut fmt::Formatter<'_>, to: Option<u16>) -> fmt::Result {
    match to {
        Some(to) => write!(f, " {to}"),
        None => f.write_str(" -"),
    }
}

fn show_changes(f: &mut fmt::Formatter<'_>, changes: &[Change]) -> fmt::Result {
    changes.iter().try_for_each(|change| match change {
        Change::Write(write) => show_writes(f, &[*write]),
        Change::DeleteRange { keyspace, from, to: Some(to) } => {
            write!(f, " {keyspace}/{from}..{to}")
        }
        Change::DeleteRange { keyspace, from, to: None } => write!(f, " {keyspace}/{from}.."),
        Change::DeletePrefix { keyspace, key } => write!(f, " {keyspace}/{key}*"),
    })
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write { .. } => "write",
            other => other.name(),
        })?;
        match self {
            Self::Write { writes, durability } => {
                write!(f, " {durability:?}")?;
                show_writes(f, writes)
            }
            Self::WriteTtl { ttl_ms, writes, durability } => {
                write!(f, " {ttl_ms} {durability:?}")?;
                show_writes(f, writes)
            }
            Self::Tick(ms) | Self::SetBack(ms) => write!(f, " {ms}"),
            Self::WriteAsync { writes } | Self::Ingest { writes } => show_writes(f, writes),
            Self::Sweep { keyspace, durability } => write!(f, " {durability:?} {keyspace}"),
            Self::Export { keyspace, from, to } => {
                write!(f, " {keyspace} {from}")?;
                show_end(f, *to)
            }
            Self::IngestTables { export, keyspace } => write!(f, " {export} {keyspace}"),
            Self::DeleteRange { keyspace, from, to, writes, durability } => {
                write!(f, " {durability:?} {keyspace} {from}")?;
                show_end(f, *to)?;
                show_writes(f, writes)
            }
            Self::Transact {
                durability,
                rollback,
                ttl_ms,
                by_cursor,
                keyspace,
                from,
                to,
                reads,
                writes,
                meanwhile,
            } => {
                write!(f, " {durability:?} {rollback} {keyspace} {from} {to}")?;
                if let Some(ttl_ms) = ttl_ms {
                    write!(f, " ttl{ttl_ms}")?;
                }
                if *by_cursor {
                    f.write_str(" cursor")?;
                }
                reads.iter().try_for_each(|(keyspace, key)| write!(f, " {keyspace}/{key}"))?;
                f.write_str(" ;")?;
                show_changes(f, writes)?;
                f.write_str(" ;")?;
                show_writes(f, meanwhile)
            }
            Self::PutIf { keyspace, key, matches, value } => {
                write!(f, " {matches}")?;
                show_writes(f, &[(*keyspace, *key, *value)])
            }
            Self::KeepChanges { bytes, ms } => match ms {
                Some(ms) => write!(f, " {bytes} {ms}"),
                None => write!(f, " {bytes} -"),
            },
            Self::Wait(number)
            | Self::WaitDurable(number)
            | Self::ReadSnapshot(number)
            | Self::Release(number)
            | Self::Drop(number) => write!(f, " {number}"),
            Self::Get { keyspace, key } => write!(f, " {keyspace} {key}"),
            Self::MultiGet { keyspace, keys } => {
                write!(f, " {keyspace}")?;
                keys.iter().try_for_each(|key| write!(f, " {key}"))
            }
            Self::Scan { keyspace, from, to, reverse, both } => {
                write!(f, " {keyspace} {from} {to} {reverse} {both}")
            }
            Self::Walk { keyspace, seed } => write!(f, " {keyspace} {seed}"),
            Self::OpenScan { keyspace } => write!(f, " {keyspace}"),
            Self::Advance { scan, count } => write!(f, " {scan} {count}"),
            Self::Compact { keyspace, from, to } => write!(f, " {keyspace} {from} {to}"),
            Self::Background(step) => write!(f, " {step:?}"),
            Self::Create { keyspace, choice } | Self::SetOptions { keyspace, choice } => {
                write!(f, " {keyspace} {choice}")
            }
            Self::PowerCut(policy) => write!(f, " {policy:?}"),
            Self::Follow
            | Self::ForgetTickets
            | Self::Snapshot
            | Self::ReadBeside
            | Self::ReadReader
            | Self::Flush
            | Self::Sync
            | Self::Verify
            | Self::Checkpoint
            | Self::Reopen
            | Self::Kill => Ok(()),
        }
    }
}

/// The words of one line, taken one after the other.
struct Words<'a> {
    line: &'a str,
    rest: std::str::SplitWhitespace<'a>,
}

impl<'a> Words<'a> {
    fn wrong(&self) -> String {
        format!("\"{}\" is no operation", self.line)
    }

    fn word(&mut self) -> Result<&'a str, String> {
        self.rest.next().ok_or_else(|| self.wrong())
    }

    fn number<T: FromStr>(&mut self) -> Result<T, String> {
        let word = self.word()?;
        word.parse().map_err(|_| format!("\"{word}\" is no number in \"{}\"", self.line))
    }

    fn keyspace(&mut self) -> Result<u8, String> {
        let number = self.number()?;
        self.below(number, KEYSPACES, "keyspaces")
    }

    fn key(&mut self) -> Result<u16, String> {
        let number = self.number()?;
        self.below(number, KEYS, "keys")
    }

    /// A key, or none.
    fn end(&mut self) -> Result<Option<u16>, String> {
        if self.is_none() { Ok(None) } else { self.key().map(Some) }
    }

    /// A number, or none.
    fn limit(&mut self) -> Result<Option<u32>, String> {
        if self.is_none() { Ok(None) } else { self.number().map(Some) }
    }

    /// Takes the word for none, if it is the next one.
    fn is_none(&mut self) -> bool {
        let is_none = self.rest.clone().next() == Some("-");
        if is_none {
            self.rest.next();
        }
        is_none
    }

    fn below<T: Copy + PartialOrd + fmt::Display>(
        &self,
        number: T,
        limit: T,
        of: &str,
    ) -> Result<T, String> {
        if number < limit {
            return Ok(number);
        }
        Err(format!("{number} in \"{}\" is beyond the {limit} {of} that there are", self.line))
    }

    fn keys(&mut self) -> Result<Vec<u16>, String> {
        let mut keys = Vec::new();
        while self.rest.clone().next().is_some() {
            keys.push(self.key()?);
        }
        Ok(keys)
    }

    /// Writes, up to the end or a semicolon.
    fn writes(&mut self) -> Result<Vec<Write>, String> {
        let mut writes = Vec::new();
        while let Some(word) = self.rest.next().filter(|word| *word != ";") {
            writes.push(self.write(word)?);
        }
        Ok(writes)
    }

    fn write(&self, word: &str) -> Result<Write, String> {
        let (keyspace, key, value) = parse_write(word).ok_or_else(|| self.wrong())?;
        let keyspace = self.below(keyspace, KEYSPACES, "keyspaces")?;
        Ok((keyspace, self.below(key, KEYS, "keys")?, value))
    }

    /// What a transaction writes, up to a semicolon.
    fn changes(&mut self) -> Result<Vec<Change>, String> {
        let mut changes = Vec::new();
        while let Some(word) = self.rest.next().filter(|word| *word != ";") {
            changes.push(self.change(word)?);
        }
        Ok(changes)
    }

    fn change(&self, word: &str) -> Result<Change, String> {
        if let Some(place) = word.strip_suffix('*') {
            let (keyspace, key) = self.place(place)?;
            return Ok(Change::DeletePrefix { keyspace, key });
        }
        let Some((place, end)) = word.split_once("..") else {
            return self.write(word).map(Change::Write);
        };
        let (keyspace, from) = self.place(place)?;
        let to = match end {
            "" => None,
            end => Some(self.place(&format!("{keyspace}/{end}"))?.1),
        };
        Ok(Change::DeleteRange { keyspace, from, to })
    }

    /// A key with its keyspace.
    fn place(&self, word: &str) -> Result<(u8, u16), String> {
        let (keyspace, key, _) = self.write(&format!("{word}=-"))?;
        Ok((keyspace, key))
    }

    /// Takes the next word if it begins so, and returns what follows in it.
    fn option(&mut self, prefix: &str) -> Option<&'a str> {
        let rest = self.rest.clone().next()?.strip_prefix(prefix)?;
        self.rest.next();
        Some(rest)
    }

    fn transact(&mut self) -> Result<Op, String> {
        let (durability, rollback) = (self.durability()?, self.number()?);
        let (keyspace, from, to) = (self.keyspace()?, self.key()?, self.key()?);
        let ttl_ms = self.option("ttl").map(|ms| ms.parse().map_err(|_| self.wrong()));
        let ttl_ms = ttl_ms.transpose()?;
        let by_cursor = self.option("cursor").is_some();
        let (reads, writes, meanwhile) = (self.reads()?, self.changes()?, self.writes()?);
        Ok(Op::Transact {
            durability,
            rollback,
            ttl_ms,
            by_cursor,
            keyspace,
            from,
            to,
            reads,
            writes,
            meanwhile,
        })
    }

    /// Keys with their keyspaces, up to a semicolon.
    fn reads(&mut self) -> Result<Vec<(u8, u16)>, String> {
        let mut reads = Vec::new();
        while let Some(word) = self.rest.next().filter(|word| *word != ";") {
            reads.push(self.place(word)?);
        }
        Ok(reads)
    }

    fn put_if(&mut self) -> Result<Op, String> {
        let matches = self.number()?;
        let word = self.word()?;
        let (keyspace, key, value) = self.write(word)?;
        Ok(Op::PutIf { keyspace, key, matches, value })
    }

    fn durability(&mut self) -> Result<Durability, String> {
        match self.word()? {
            "Disk" => Ok(Durability::Disk),
            "Os" => Ok(Durability::Os),
            "Memory" => Ok(Durability::Memory),
            _ => Err(self.wrong()),
        }
    }

    fn step(&mut self) -> Result<Step, String> {
        match self.word()? {
            "Log" => Ok(Step::Log),
            "Flush" => Ok(Step::Flush),
            "Compact" => Ok(Step::Compact),
            _ => Err(self.wrong()),
        }
    }

    fn choice(&mut self) -> Result<Choice, String> {
        let words: Vec<&str> = self.rest.by_ref().collect();
        words.join(" ").parse()
    }

    fn policy(&mut self) -> Result<CrashPolicy, String> {
        parse_policy(self.word()?)
    }
}

/// The crash policy with this name.
pub(crate) fn parse_policy(name: &str) -> Result<CrashPolicy, String> {
    let named = |policy: &CrashPolicy| format!("{policy:?}") == name;
    let policy = CrashPolicy::ALL.into_iter().find(named);
    policy.ok_or_else(|| format!("\"{name}\" is no crash policy"))
}

impl FromStr for Op {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words = &mut Words { line, rest: line.split_whitespace() };
        let op = match words.word()? {
            "write" => Self::Write { durability: words.durability()?, writes: words.writes()? },
            "write_ttl" => Self::WriteTtl {
                ttl_ms: words.number()?,
                durability: words.durability()?,
                writes: words.writes()?,
            },
            "tick" => Self::Tick(words.number()?),
            "set_back" => Self::SetBack(words.number()?),
            "write_async" => Self::WriteAsync { writes: words.writes()? },
            "ingest" => Self::Ingest { writes: words.writes()? },
            "sweep" => Self::Sweep { durability: words.durability()?, keyspace: words.keyspace()? },
            "export" => {
                Self::Export { keyspace: words.keyspace()?, from: words.key()?, to: words.end()? }
            }
            "ingest_tables" => {
                Self::IngestTables { export: words.number()?, keyspace: words.keyspace()? }
            }
            "delete_range" => Self::DeleteRange {
                durability: words.durability()?,
                keyspace: words.keyspace()?,
                from: words.key()?,
                to: words.end()?,
                writes: words.writes()?,
            },
            "transact" => words.transact()?,
            "put_if" => words.put_if()?,
            "keep_changes" => Self::KeepChanges { bytes: words.number()?, ms: words.limit()? },
            "follow" => Self::Follow,
            "wait" => Self::Wait(words.number()?),
            "forget_tickets" => Self::ForgetTickets,
            "wait_durable" => Self::WaitDurable(words.number()?),
            "get" => Self::Get { keyspace: words.keyspace()?, key: words.key()? },
            "multi_get" => Self::MultiGet { keyspace: words.keyspace()?, keys: words.keys()? },
            "scan" => Self::Scan {
                keyspace: words.keyspace()?,
                from: words.key()?,
                to: words.key()?,
                reverse: words.number()?,
                both: words.number()?,
            },
            "walk" => Self::Walk { keyspace: words.keyspace()?, seed: words.number()? },
            "open_scan" => Self::OpenScan { keyspace: words.keyspace()? },
            "advance" => Self::Advance { scan: words.number()?, count: words.number()? },
            "snapshot" => Self::Snapshot,
            "read_snapshot" => Self::ReadSnapshot(words.number()?),
            "release" => Self::Release(words.number()?),
            "read_beside" => Self::ReadBeside,
            "read_reader" => Self::ReadReader,
            "flush" => Self::Flush,
            "compact" => {
                Self::Compact { keyspace: words.keyspace()?, from: words.key()?, to: words.key()? }
            }
            "background" => Self::Background(words.step()?),
            "sync" => Self::Sync,
            "verify" => Self::Verify,
            "create" => Self::Create { keyspace: words.keyspace()?, choice: words.choice()? },
            "drop" => Self::Drop(words.keyspace()?),
            "set_options" => {
                Self::SetOptions { keyspace: words.keyspace()?, choice: words.choice()? }
            }
            "checkpoint" => Self::Checkpoint,
            "reopen" => Self::Reopen,
            "kill" => Self::Kill,
            "power_cut" => Self::PowerCut(words.policy()?),
            _ => return Err(words.wrong()),
        };
        if words.rest.next().is_some() { Err(words.wrong()) } else { Ok(op) }
    }
}

fn parse_write(word: &str) -> Option<Write> {
    let (keyspace, rest) = word.split_once('/')?;
    let (key, value) = rest.split_once('=')?;
    let value = if value == "-" { None } else { Some(value.parse().ok()?) };
    Some((keyspace.parse().ok()?, key.parse().ok()?, value))
}

#[cfg(test)]
mod tests {
    use lsm_workload::Rng;

    use super::*;
    use crate::draw::Mix;

    #[test]
    fn an_operation_reads_back_from_its_text() {
        let mut rng = Rng::new(7);
        for mix in [Mix::Short, Mix::Crash, Mix::Long] {
            for _ in 0..3000 {
                let op = mix.draw_after(&mut rng, None);
                assert_eq!(op.to_string().parse::<Op>(), Ok(op));
            }
        }
    }

    #[track_caller]
    fn check_refused(line: &str, reason: &str) {
        assert_eq!(line.parse::<Op>(), Err(reason.into()));
    }

    #[test]
    fn a_line_that_is_no_operation_is_refused_with_its_text() {
        check_refused("fly 1", "\"fly 1\" is no operation");
        check_refused("get 0", "\"get 0\" is no operation");
        check_refused("get 0 5 6", "\"get 0 5 6\" is no operation");
        check_refused("get 0 x", "\"x\" is no number in \"get 0 x\"");
        check_refused("get 9 1", "9 in \"get 9 1\" is beyond the 4 keyspaces that there are");
        check_refused(
            "write Disk 0/512=1",
            "512 in \"write Disk 0/512=1\" is beyond the 512 keys that there are",
        );
        check_refused("power_cut Sector", "\"Sector\" is no crash policy");
    }
}
