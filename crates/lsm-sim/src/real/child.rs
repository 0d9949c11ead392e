//! The load as its parent holds it: started, listened to, and killed.

use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::real::acknowledgement::{Acknowledgement, Told, listen};

/// The longest that a load may take to open its database: far beyond what it needs, so that a
/// recovery that hangs is told from a slow machine.
const OPENING_MAX: Duration = Duration::from_secs(60);

/// A load under way. Dropping it kills it.
#[derive(Debug)]
pub struct RunningLoad {
    child: Child,
    heard: Receiver<Acknowledgement>,
    told: Vec<Acknowledgement>,
    listener: Option<JoinHandle<io::Result<()>>>,
    complaints: Option<JoinHandle<io::Result<String>>>,
}

impl RunningLoad {
    /// Starts the load over the database in `dir`, in this program's `load` command.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(dir: &Path, seed: u64, setup_seed: u64) -> Result<Self, String> {
        let told = |error: io::Error| format!("could not start the load: {error}");
        let mut child = Command::new(std::env::current_exe().map_err(told)?)
            .arg("load")
            .args(["--seed", &seed.to_string(), "--setup-seed", &setup_seed.to_string(), "--dir"])
            .arg(dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(told)?;
        let out = child.stdout.take().expect("piped above");
        let complaints = child.stderr.take().expect("piped above");
        let (tell, heard) = channel();
        let hear = move |record| {
            // Nobody listens any more where the load was dropped, and what it told with it.
            let _ = tell.send(record);
        };
        Ok(Self {
            child,
            heard,
            told: Vec::new(),
            listener: Some(thread::spawn(move || listen(out, hear))),
            complaints: Some(thread::spawn(move || io::read_to_string(complaints))),
        })
    }

    /// Waits until the load has opened its database and begins to write.
    ///
    /// # Errors
    /// When it failed, or hangs.
    pub fn wait_until_open(&mut self) -> Result<(), String> {
        while !self.told.iter().any(|record| matches!(record.told, Told::Acknowledged(_))) {
            match self.heard.recv_timeout(OPENING_MAX) {
                Ok(record) => self.told.push(record),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("hang: not open after {} s", OPENING_MAX.as_secs()));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.complaint()),
            }
        }
        Ok(())
    }

    /// Fails if the load has ended by itself, which it never does unless something is wrong.
    ///
    /// # Errors
    /// What the load said.
    pub fn must_be_running(&mut self) -> Result<(), String> {
        match self.child.try_wait().map_err(|error| error.to_string())? {
            None => Ok(()),
            Some(_) => Err(self.complaint()),
        }
    }

    /// Kills it (SIGKILL) and returns everything that it told, including what was still in the pipe.
    ///
    /// # Errors
    /// When what it told is not readable.
    pub fn kill(mut self) -> Result<Vec<Acknowledgement>, String> {
        self.child.kill().map_err(|error| format!("could not kill the load: {error}"))?;
        self.child.wait().map_err(|error| format!("could not wait for the load: {error}"))?;
        let listener = self.listener.take().expect("taken here only");
        let listened = listener.join().expect("reading a pipe does not panic");
        listened.map_err(|error| format!("could not read what the load told: {error}"))?;
        self.told.extend(self.heard.try_iter());
        Ok(std::mem::take(&mut self.told))
    }

    /// How a load that should be running ended, and what it said.
    fn complaint(&mut self) -> String {
        let how = self.child.wait().map_or_else(|error| error.to_string(), |how| how.to_string());
        let complaints = self.complaints.take().map(|thread| thread.join().expect("no panic"));
        let said = complaints.and_then(Result::ok).unwrap_or_default();
        format!("the load ended by itself ({how}): {}", said.trim())
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        // Killed twice does no harm, and there is nobody left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
