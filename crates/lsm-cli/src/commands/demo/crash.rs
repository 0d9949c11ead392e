//! Starting a writer and killing it in the middle of its work.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::exit::{Exit, Failure};

/// On a slow disk the writer is not given more time than this.
const LIFE: Duration = Duration::from_secs(5);
const SIGKILL: i32 = 9;

/// What became of the writer.
#[derive(Debug)]
pub(super) struct Killed {
    pub(super) process_id: u32,
    /// So many records it had acknowledged when it died.
    pub(super) acknowledged: u64,
    pub(super) lived: Duration,
}

/// Starts this program once more as a writer, and kills it when it has acknowledged `wanted`
/// records.
pub(super) fn start_and_kill(dir: &Path, records: usize, wanted: u64) -> Result<Killed, Failure> {
    let began = Instant::now();
    let mut child = start(dir, records)?;
    let outcome = watch(&mut child, wanted, began);
    // Dead in any case: nothing may write to the database that is opened next.
    let killed = child.kill();
    let lived = began.elapsed();
    let status = child.wait();
    let mut acknowledgements = outcome?;
    killed.and(status).map_err(|error| failed(&format!("could not be killed: {error}"))).and_then(
        |status| match status.signal() {
            Some(SIGKILL) => Ok(()),
            _ => Err(failed(&format!("ended by itself ({status})"))),
        },
    )?;
    // What it had printed before it died is still in the pipe.
    while acknowledgements.next()? {}
    let acknowledged = acknowledgements.acknowledged;
    Ok(Killed { process_id: child.id(), acknowledged, lived })
}

fn start(dir: &Path, records: usize) -> Result<Child, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| failed(&format!("has no program to run: {error}")))?;
    Command::new(&program)
        .arg("demo-writer")
        .arg("--db")
        .arg(dir)
        .args(["--records", &records.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&format!("could not be started: {error}")))
}

/// Reads acknowledgements until there are enough.
fn watch(child: &mut Child, wanted: u64, began: Instant) -> Result<Acknowledgements, Failure> {
    let stdout = child.stdout.take().ok_or_else(|| failed("has no output"))?;
    let mut acknowledgements =
        Acknowledgements { lines: Box::new(BufReader::new(stdout)), acknowledged: 0 };
    while acknowledgements.acknowledged < wanted
        && (acknowledgements.acknowledged == 0 || began.elapsed() < LIFE)
    {
        if !acknowledgements.next()? {
            return Err(failed("ended before it was killed"));
        }
    }
    Ok(acknowledgements)
}

/// What the writer prints.
struct Acknowledgements {
    lines: Box<dyn BufRead>,
    acknowledged: u64,
}

impl Acknowledgements {
    /// Reads the next one; `false` at the end. A line that the kill cut short says nothing.
    fn next(&mut self) -> Result<bool, Failure> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line);
        read.map_err(|error| failed(&format!("could not be read: {error}")))?;
        let Some(whole) = line.strip_suffix('\n') else { return Ok(false) };
        let number = whole.strip_prefix("acked ").and_then(|number| number.parse().ok());
        self.acknowledged =
            number.ok_or_else(|| failed(&format!("printed \"{whole}\", no acknowledgement")))?;
        Ok(true)
    }
}

fn failed(what: &str) -> Failure {
    Failure::new(Exit::Io, format!("the writer {what}"))
}
