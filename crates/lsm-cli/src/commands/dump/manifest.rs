//! `lsm dump manifest`: the edits of a manifest.

use lsm_io::{Error, StdFs};
use lsm_wal::{FRAME_HEADER_BYTES, FrameKind, FrameReader, FrameStep};
use serde_json::{Value, json};

use super::edit_field::{EditField, fields};
use super::{Dump, FileArgs};
use crate::exit::Failure;

/// The frame with which a manifest begins: the whole state as one edit.
const SNAPSHOT: FrameKind = FrameKind::USER;

pub(super) fn dump(dump: &mut Dump, args: &FileArgs) -> Result<(), Failure> {
    let path = &args.file;
    let mut reader = FrameReader::open(&StdFs::shared(), path, None)?;
    let identity = reader.identity();
    let (database, number) = (identity.database_id, identity.file_number);
    dump.item(
        || format!("{}: manifest {number} of database {database:032x}", path.display()),
        || {
            json!({
                "type": "manifest",
                "number": number,
                "database_id": format!("{database:032x}"),
            })
        },
    )?;
    loop {
        match reader.next()? {
            FrameStep::Frame(frame) => {
                let fields = fields(frame.payload).map_err(|malformed| {
                    malformed.at(path, frame.offset + FRAME_HEADER_BYTES as u64)
                })?;
                let format = dump.bytes();
                let what = if frame.kind == SNAPSHOT { "snapshot" } else { "edit" };
                dump.item(
                    || {
                        let mut text = format!("{:>10}  {what} {}", frame.offset, frame.seq_start);
                        for field in &fields {
                            text.push_str(&format!("\n{:12}{}", "", field.text(format)));
                        }
                        text
                    },
                    || {
                        let fields = fields.iter().map(|field: &EditField| field.json(format));
                        json!({
                            "type": what,
                            "offset": frame.offset,
                            "number": frame.seq_start,
                            "fields": fields.collect::<Vec<Value>>(),
                        })
                    },
                )?;
            }
            FrameStep::End { offset } => {
                return dump.heading(&format!("{offset:>10}  the manifest ends here"));
            }
            FrameStep::Bad { offset, reason } => {
                return Err(Error::corrupt(path, offset, reason).into());
            }
        }
    }
}
