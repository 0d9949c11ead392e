//! A command as it is run and as it is shown: the same words, ready to paste into a shell.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{Result, workspace};

/// The exit code of a program that could not try anything here.
const SKIPPED: i32 = 77;

/// A program with its arguments, run in the root of the repository unless said otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: PathBuf,
    is_apart: bool,
}

/// What a program said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    /// Whether it had to be killed.
    pub(crate) was_too_long: bool,
    /// On its standard output.
    pub(crate) printed: String,
    /// On its standard error.
    pub(crate) complaints: String,
}

impl Invocation {
    /// `program` without arguments.
    pub(crate) fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: workspace::root(),
            is_apart: false,
        }
    }

    /// Cargo, with arguments given as words of one line.
    pub(crate) fn cargo(words: &str) -> Self {
        Self::new("cargo").arguments(words.split_whitespace())
    }

    /// Adds arguments at the end.
    pub(crate) fn arguments<S: Into<String>>(mut self, more: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(more.into_iter().map(Into::into));
        self
    }

    /// Sets a variable in the program's environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it in another directory.
    pub(crate) fn in_directory(mut self, directory: PathBuf) -> Self {
        self.directory = directory;
        self
    }

    /// Runs it in a process group of its own, so that what it starts can be killed with it.
    pub(crate) fn apart(mut self) -> Self {
        self.is_apart = true;
        self
    }

    /// Runs it with our own standard streams; whether it succeeded.
    pub(crate) fn run(&self) -> Result<bool> {
        let status = self.command().status().map_err(|error| self.not_started(&error))?;
        Ok(status.success())
    }

    /// Runs it and returns what it printed; its complaints go to our standard error.
    ///
    /// # Errors
    /// When it cannot be started or does not succeed.
    pub(crate) fn output(&self) -> Result<String> {
        let (succeeded, text) = self.output_and_success()?;
        if succeeded { Ok(text) } else { Err(format!("`{self}` failed").into()) }
    }

    /// Runs it and returns whether it succeeded and what it printed.
    pub(crate) fn output_and_success(&self) -> Result<(bool, String)> {
        let (status, printed) = self.output_and_status()?;
        Ok((status.success(), printed))
    }

    /// Runs it and returns how it ended and what it printed.
    pub(crate) fn output_and_status(&self) -> Result<(ExitStatus, String)> {
        let output = self
            .command()
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| self.not_started(&error))?;
        Ok((output.status, String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// Runs it and returns everything that it said; kills it when it takes longer than `limit`, with
    /// what it started if it is [apart](Self::apart).
    pub(crate) fn output_within(&self, limit: Duration) -> Result<Output> {
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.not_started(&error))?;
        let printed = child.stdout.take().map(|pipe| thread::spawn(|| read_whole(pipe)));
        let complaints = child.stderr.take().map(|pipe| thread::spawn(|| read_whole(pipe)));
        let until = Instant::now() + limit;
        let mut was_too_long = false;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if !was_too_long && Instant::now() >= until {
                was_too_long = true;
                if self.is_apart {
                    let group = format!("-{}", child.id());
                    Self::new("kill").arguments(["-KILL", "--", &group]).run()?;
                } else {
                    child.kill()?;
                }
            }
            thread::sleep(Duration::from_millis(20));
        };
        let joined = |thread: Option<JoinHandle<String>>| {
            thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
        };
        Ok(Output {
            status,
            was_too_long,
            printed: joined(printed),
            complaints: joined(complaints),
        })
    }

    fn command(&self) -> Command {
        // The cargo that started us is the one that goes on, also where several are installed.
        let program = match self.program.as_str() {
            "cargo" => std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")),
            other => OsString::from(other),
        };
        let mut command = Command::new(program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory);
        if self.is_apart {
            command.process_group(0);
        }
        command
    }

    fn not_started(&self, error: &std::io::Error) -> String {
        format!("could not start `{self}`: {error}")
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        write!(f, "{}", quoted(&self.program))?;
        for argument in &self.arguments {
            write!(f, " {}", quoted(argument))?;
        }
        Ok(())
    }
}

/// Why a program could not try anything, if that is how it ended: by its exit code, and the last
/// line that it printed.
pub(crate) fn reason_of_skip(status: ExitStatus, printed: &str) -> Option<String> {
    let last = printed.lines().last().unwrap_or_default();
    let reason = last.strip_prefix("skipped: ").unwrap_or(last);
    (status.code() == Some(SKIPPED)).then(|| reason.to_owned())
}

/// All that comes out of a pipe, readable or not.
fn read_whole(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    // What was read before the pipe broke is still what was said.
    let _ = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `word` as a shell would need it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_ready_to_paste() {
        let doc = Invocation::cargo("doc --no-deps").variable("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(doc.to_string(), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
    }

    #[test]
    fn a_quote_in_an_argument_stays_one_argument() {
        let echo = Invocation::new("echo").arguments(["it's"]);
        assert_eq!(echo.to_string(), r"echo 'it'\''s'");
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed_and_said_to_be() {
        let sleep = Invocation::new("sleep").arguments(["600"]);
        let output = sleep.output_within(Duration::from_millis(10)).unwrap();
        assert!(output.was_too_long && !output.status.success());
    }

    #[test]
    fn what_was_started_is_killed_with_the_program() {
        // Whoever holds the pipe open keeps the answer from ending.
        let shell = Invocation::new("sh").arguments(["-c", "sleep 600 & wait"]).apart();
        assert!(shell.output_within(Duration::from_millis(100)).unwrap().was_too_long);
    }

    #[test]
    fn what_a_program_says_is_kept_apart_from_what_it_complains_of() {
        let shell = Invocation::new("sh").arguments(["-c", "echo out; echo err >&2; exit 3"]);
        let output = shell.output_within(Duration::from_secs(600)).unwrap();
        assert_eq!((output.printed.as_str(), output.complaints.as_str()), ("out\n", "err\n"));
        assert_eq!((output.status.code(), output.was_too_long), (Some(3), false));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Invocation::new("no-such-program").run().unwrap_err();
        assert!(error.to_string().contains("`no-such-program`"), "{error}");
    }
}
