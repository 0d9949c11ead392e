//! `lsm dump`: what is in one file, from nothing but that file.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use lsm_entry::{BlobRef, Entry, ValueKind};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::format::{BytesFormat, Format};
use crate::output::Output;
use crate::units::count;

mod blob;
mod edit_field;
mod manifest;
mod table;
mod wal;

/// Print what is in one file
#[derive(Debug, Subcommand)]
pub(crate) enum DumpCommand {
    /// A segment of the log, `NNNNNN.log`: frames and the records in them
    Wal(EntryFileArgs),
    /// A table, `NNNNNN.sst`: properties, blocks and entries
    Table(EntryFileArgs),
    /// A blob file, `NNNNNN.blob`: the large values in it
    Blob(FileArgs),
    /// A manifest, `NNNNNN.manifest`: edits
    Manifest(FileArgs),
}

#[derive(Args, Debug)]
pub(crate) struct FileArgs {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct EntryFileArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Only entries of this kind
    #[arg(long)]
    kind: Option<KindArg>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KindArg {
    Put,
    Delete,
    Merge,
    RangeDelete,
    SingleDelete,
}

impl From<KindArg> for ValueKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Put => Self::Put,
            KindArg::Delete => Self::Delete,
            KindArg::Merge => Self::Merge,
            KindArg::RangeDelete => Self::RangeDelete,
            KindArg::SingleDelete => Self::SingleDelete,
        }
    }
}

/// How a kind is called on the command line.
pub(crate) fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Put => "put",
        ValueKind::Delete => "delete",
        ValueKind::Merge => "merge",
        ValueKind::RangeDelete => "range-delete",
        ValueKind::SingleDelete => "single-delete",
    }
}

pub(crate) fn run(command: &DumpCommand) -> Result<Exit, Failure> {
    let file = match command {
        DumpCommand::Wal(args) | DumpCommand::Table(args) => &args.file,
        DumpCommand::Blob(args) | DumpCommand::Manifest(args) => args,
    };
    let metadata = fs::metadata(&file.file).map_err(|error| Failure::input(&file.file, &error))?;
    if metadata.is_dir() {
        let path = file.file.display();
        return Err(Failure::usage(format!("{path} is a directory; one of its files is accepted")));
    }
    let mut dump = Dump { out: Output::new(), format: file.format };
    match command {
        DumpCommand::Wal(args) => wal::dump(&mut dump, args)?,
        DumpCommand::Table(args) => table::dump(&mut dump, args)?,
        DumpCommand::Blob(args) => blob::dump(&mut dump, args)?,
        DumpCommand::Manifest(args) => manifest::dump(&mut dump, args)?,
    }
    dump.out.finish()?;
    Ok(Exit::Done)
}

/// Prints what a file holds, for people or for programs.
struct Dump {
    out: Output,
    format: Format,
}

impl Dump {
    fn bytes(&self) -> BytesFormat {
        self.format.bytes
    }

    /// One thing found in the file: a line of text, or an object.
    fn item(
        &mut self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> Value,
    ) -> Result<(), Failure> {
        if self.format.json {
            return self.out.json(&json());
        }
        Ok(writeln!(self.out, "{}", text())?)
    }

    /// A line for people only.
    fn heading(&mut self, text: &str) -> Result<(), Failure> {
        if self.format.json { Ok(()) } else { Ok(writeln!(self.out, "{text}")?) }
    }

    /// An entry, in a log's keyspace or in a table.
    fn entry(&mut self, entry: &Entry<'_>, keyspace: Option<u32>) -> Result<(), Failure> {
        let bytes = self.bytes();
        let kind = kind_name(entry.kind());
        let text = || {
            let mut text = format!("{:>16}  {kind:<13}  ", count(entry.seq_no));
            text.push_str(&bytes.show(entry.key).to_string());
            match entry.blob() {
                _ if entry.tag.is_tombstone() => {}
                Some(Some(BlobRef { file, offset, bytes })) => {
                    let long = count(u64::from(bytes));
                    text.push_str(&format!("\t{long} bytes at {offset} of {file:06}.blob"));
                }
                _ => text.push_str(&format!("\t{}", bytes.show(entry.user_value()))),
            }
            if let Some(ms) = entry.expires_at_ms() {
                text.push_str(&format!("\texpires at {ms} ms"));
            }
            text
        };
        let json = || {
            let mut object = json!({
                "type": "entry",
                "seq_no": entry.seq_no,
                "kind": kind,
                "key": bytes.json(entry.key),
                "value": bytes.json(entry.user_value()),
            });
            if let Some(keyspace) = keyspace {
                object["keyspace_id"] = json!(keyspace);
            }
            if let Some(Some(BlobRef { file, offset, bytes })) = entry.blob() {
                object["value"] = json!({ "blob": file, "offset": offset, "bytes": bytes });
            }
            if let Some(ms) = entry.expires_at_ms() {
                object["expires_at_ms"] = json!(ms);
            }
            object
        };
        self.item(text, json)
    }
}
