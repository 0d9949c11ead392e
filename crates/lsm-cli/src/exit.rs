//! How a command ends: its exit code, and what it says if it failed.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use lsm_engine::ErrorKind;

/// What the exit code tells a script. The numbers are documented, so they stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    /// The key is not there, nothing matched, or what a put asks for does not hold.
    NotFound = 1,
    /// Wrong usage or invalid input.
    Usage = 2,
    /// Another process has the database open for writing.
    Busy = 3,
    Corrupt = 4,
    Io = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A command could not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// `None`: there is nobody to tell.
    message: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Display) -> Self {
        Self { exit, message: Some(message.to_string()) }
    }

    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The operating system refused `action` on `path`.
    pub(crate) fn io(action: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(Exit::Io, format!("could not {action} {}: {error}", path.display()))
    }

    /// An input that the user named could not be opened: what they typed is wrong, unless the
    /// machine is.
    pub(crate) fn input(path: &Path, error: &io::Error) -> Self {
        let is_typed_wrong = matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory
        );
        let exit = if is_typed_wrong { Exit::Usage } else { Exit::Io };
        Self::new(exit, format!("could not open {}: {error}", path.display()))
    }

    /// The same, with something added to what it says.
    pub(crate) fn adding(mut self, more: impl Display) -> Self {
        if let Some(message) = &mut self.message {
            message.push_str(&format!("; {more}"));
        }
        self
    }

    /// Says on standard error what went wrong.
    pub(crate) fn report(&self) -> ExitCode {
        if let Some(message) = &self.message {
            eprintln!("lsm: {message}");
        }
        self.exit.into()
    }
}

impl From<lsm_engine::Error> for Failure {
    fn from(error: lsm_engine::Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::Invalid => Exit::Usage,
            ErrorKind::Busy => Exit::Busy,
            ErrorKind::Corrupt => Exit::Corrupt,
            _ => Exit::Io,
        };
        Self::new(exit, error)
    }
}

impl From<lsm_io::Error> for Failure {
    fn from(error: lsm_io::Error) -> Self {
        let exit = if error.is_corrupt() { Exit::Corrupt } else { Exit::Io };
        Self::new(exit, error)
    }
}

/// Output is the one thing that commands write through `io::Write`.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // Whoever read the output has seen enough: `lsm scan | head` is no failure.
            return Self { exit: Exit::Done, message: None };
        }
        Self::new(Exit::Io, format!("could not write to standard output: {error}"))
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        io::Error::from(error).into()
    }
}
