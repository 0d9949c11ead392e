//! Standard output, buffered.
//!
//! Nothing is printed with `println!`, which panics when whoever reads the output has gone away.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde_json::Value;

use crate::exit::Failure;

/// Standard output, held by one command until it ends.
#[derive(Debug)]
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(64 << 10, io::stdout().lock()))
    }

    /// Writes a JSON value as a line of its own.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.0, value)?;
        Ok(self.0.write_all(b"\n")?)
    }

    /// Hands everything over. A command that ends well ends with this, since dropping the output
    /// hands it over too but tells nobody whether it worked.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        Ok(self.0.flush()?)
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
