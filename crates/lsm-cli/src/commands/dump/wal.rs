//! `lsm dump wal`: the frames of a log segment, and the records in its batches.

use lsm_entry::{Entry, Record, Records, ValueKind};
use lsm_io::{Error, StdFs};
use lsm_wal::{FRAME_HEADER_BYTES, FrameKind, FrameReader, FrameRef, FrameStep};
use serde_json::json;

use super::{Dump, EntryFileArgs};
use crate::exit::Failure;
use crate::units::{bytes, count};

/// The keyspace in which every batch begins.
const DEFAULT_KEYSPACE_ID: u32 = 0;

pub(super) fn dump(dump: &mut Dump, args: &EntryFileArgs) -> Result<(), Failure> {
    let path = &args.file.file;
    let kind = args.kind.map(ValueKind::from);
    let mut reader = FrameReader::open(&StdFs::shared(), path, None)?;
    if kind.is_none() {
        identity(dump, &reader)?;
    }
    loop {
        match reader.next()? {
            FrameStep::Frame(frame) => {
                if kind.is_none() {
                    self::frame(dump, &frame)?;
                }
                if frame.kind == FrameKind::BATCH {
                    let malformed = |offset: usize, reason| {
                        let start = frame.offset + FRAME_HEADER_BYTES as u64;
                        Error::corrupt(path, start + offset as u64, reason)
                    };
                    records(dump, &frame, kind, malformed)?;
                }
            }
            FrameStep::End { offset } => {
                if kind.is_none() {
                    dump.heading(&format!("{offset:>10}  the log ends here"))?;
                }
                return Ok(());
            }
            FrameStep::Bad { offset, reason } => {
                return Err(Error::corrupt(path, offset, reason).into());
            }
        }
    }
}

fn identity(dump: &mut Dump, reader: &FrameReader) -> Result<(), Failure> {
    let identity = reader.identity();
    let (database, number) = (identity.database_id, identity.file_number);
    let file_bytes = reader.file_bytes();
    dump.item(
        || {
            format!(
                "{}: segment {number} of database {database:032x}, {}",
                reader.path().display(),
                bytes(file_bytes)
            )
        },
        || {
            json!({
                "type": "segment",
                "number": number,
                "database_id": format!("{database:032x}"),
                "bytes": file_bytes,
            })
        },
    )
}

fn frame(dump: &mut Dump, frame: &FrameRef<'_>) -> Result<(), Failure> {
    let number = frame.payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let (name, meaning) = match (frame.kind, number) {
        (FrameKind::BATCH, _) => {
            let last = frame.seq_end().saturating_sub(1);
            ("batch", format!("{} to {}", count(frame.seq_start), count(last)))
        }
        (FrameKind::MARK, Some(through)) => ("mark", format!("durable through {}", count(through))),
        (FrameKind::CLOSE, Some(0)) => ("close", "the database was closed".into()),
        (FrameKind::CLOSE, Some(next)) => ("close", format!("goes on in segment {next}")),
        (FrameKind::NOTE, _) => ("note", format!("at {}", count(frame.seq_start))),
        (kind, _) => ("other", format!("frame type {}", kind.0)),
    };
    let payload_bytes = frame.payload.len();
    dump.item(
        || format!("{:>10}  {name:<6} {meaning} ({})", frame.offset, bytes(payload_bytes as u64)),
        || {
            let mut object = json!({
                "type": "frame",
                "offset": frame.offset,
                "frame": name,
                "seq_start": frame.seq_start,
                "count": frame.count,
                "payload_bytes": payload_bytes,
            });
            if frame.kind == FrameKind::MARK {
                object["durable_through"] = json!(number);
            }
            if frame.kind == FrameKind::CLOSE {
                object["next_segment"] = json!(number);
            }
            object
        },
    )
}

fn records(
    dump: &mut Dump,
    frame: &FrameRef<'_>,
    kind: Option<ValueKind>,
    malformed: impl Fn(usize, &'static str) -> Error,
) -> Result<(), Failure> {
    let mut keyspace = DEFAULT_KEYSPACE_ID;
    for (seq_no, record) in (frame.seq_start..).zip(Records::new(frame.payload)) {
        match record.map_err(|error| malformed(error.offset, error.reason))? {
            Record::Keyspace(id) => {
                keyspace = id;
                if kind.is_none() {
                    dump.item(
                        || format!("{:>16}  keyspace {id}", count(seq_no)),
                        || json!({ "type": "keyspace", "seq_no": seq_no, "keyspace_id": id }),
                    )?;
                }
            }
            Record::Entry { tag, key, value } => {
                let entry = Entry { key, seq_no, tag, value };
                if kind.is_none_or(|kind| kind == entry.kind()) {
                    dump.entry(&entry, Some(keyspace))?;
                }
            }
        }
    }
    Ok(())
}
