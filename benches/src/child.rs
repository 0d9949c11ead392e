//! A task of this program in a process of its own, so that memory, writes and processor time are
//! those of one engine in one row.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process;
use crate::row::Row;
use crate::scale::Scale;
use crate::store::{Engine, Result};

/// The command that carries out `task` for one engine and one row on the store in `path`.
pub(crate) fn command(
    task: &str,
    engine: &Engine,
    row: &Row,
    path: &Path,
    scale: &Scale,
) -> Command {
    // The running program, whatever has become of its file since.
    let mut command = Command::new("/proc/self/exe");
    command.args([task, "--engine", engine.name, "--row", row.name, "--path"]);
    command.arg(path).args(scale.arguments());
    command
}

/// Measures a row on the store in `path`; `null` if the engine does not offer what the row does.
pub(crate) fn measure(engine: &Engine, row: &Row, path: &Path, scale: &Scale) -> Result<Value> {
    process::sync_dir(path)?;
    let mut command = command("measure", engine, row, path, scale);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the measurement ended with {}", output.status).into());
    }
    // An engine may print as it likes: the measurement is the last line.
    let output = String::from_utf8(output.stdout)?;
    let line = output.lines().last().ok_or("the measurement printed nothing")?;
    Ok(serde_json::from_str(line)?)
}
