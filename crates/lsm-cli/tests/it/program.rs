//! Running the program, and looking at what came of it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A directory of a test's own, with a database in it or not yet.
pub(crate) struct Place {
    temp: TempDir,
}

/// What a run printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) code: Option<i32>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { temp: tempfile::tempdir().expect("a temporary directory") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Where the tests' commands put the database.
    pub(crate) fn db(&self) -> PathBuf {
        self.path("my.db")
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// `lsm COMMAND --db my.db REST...`
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = lsm();
        command.arg(words[0]).arg("--db").arg(self.db()).args(&words[1..]);
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Run {
        run(&mut self.command(words))
    }

    /// Runs with `input` on standard input.
    pub(crate) fn run_with_input(&self, words: &[&str], input: &[u8]) -> Run {
        let mut child = start(&mut self.command(words));
        let mut stdin = child.stdin.take().expect("piped");
        // A program that does not want all of it may be gone already.
        let _ = stdin.write_all(input);
        drop(stdin);
        child.wait_with_output().expect("it ends").into()
    }

    /// The database's files whose names end so, oldest first.
    pub(crate) fn files(&self, ending: &str) -> Vec<PathBuf> {
        let listing = std::fs::read_dir(self.db()).expect("a directory");
        let mut files: Vec<PathBuf> =
            listing.map(|entry| entry.expect("readable").path()).collect();
        files.retain(|path| path.extension() == Some(OsStr::new(ending)));
        files.sort();
        files
    }
}

impl Run {
    #[track_caller]
    pub(crate) fn check_code(self, expected: i32) -> Self {
        assert_eq!(self.code, Some(expected), "stdout: {}\nstderr: {}", self.text(), self.stderr);
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Every line of output as JSON.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.stdout).expect("UTF-8");
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { stdout: output.stdout, stderr, code: output.status.code() }
    }
}

/// The program as it was just built.
pub(crate) fn lsm() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lsm"));
    command.stdin(Stdio::null());
    command
}

pub(crate) fn run(command: &mut Command) -> Run {
    command.output().expect("it runs").into()
}

/// Starts it with everything piped.
pub(crate) fn start(command: &mut Command) -> Child {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

/// A `load --ack` that reads from a pipe: it has the database open until it is dropped.
pub(crate) struct Writer {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Writer {
    pub(crate) fn start(place: &Place) -> Self {
        let mut child = start(&mut place.command(&["load", "--ack", "-"]));
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Sends records and waits until `through` of them are acknowledged.
    pub(crate) fn write(&mut self, records: &str, through: u64) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(records.as_bytes()).and_then(|()| stdin.flush()).expect("it reads");
        while self.acknowledged() < through {}
    }

    /// Waits for the next acknowledgement.
    pub(crate) fn acknowledged(&mut self) -> u64 {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it prints");
        let number = line.strip_suffix('\n').and_then(|line| line.strip_prefix("acked "));
        number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("printed {line:?}"))
    }

    /// For whoever wants to send on their own.
    pub(crate) fn take_stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("piped")
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Inverts every bit of the byte at `offset`.
pub(crate) fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).expect("readable");
    bytes[offset] ^= 0xFF;
    std::fs::write(path, bytes).expect("writable");
}
