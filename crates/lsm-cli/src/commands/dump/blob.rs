//! `lsm dump blob`: what a blob file is, and its values.

use lsm_blob::BlobFile;
use lsm_io::{Fs, OpenMode, StdFs};
use serde_json::json;

use super::{Dump, FileArgs};
use crate::exit::Failure;
use crate::units::count;

pub(super) fn dump(dump: &mut Dump, args: &FileArgs) -> Result<(), Failure> {
    let format = dump.bytes();
    let file = StdFs.open(&args.file, OpenMode::Read)?;
    let identity = BlobFile::read_identity(&file)?;
    let file_bytes = file.len()?;
    let blobs = BlobFile::open(file, identity, file_bytes, lsm_blob::ReadMode::Read)?;
    let (number, database_id) = (identity.file_number, format!("{:032x}", identity.database_id));
    dump.item(
        || format!("blob file {number:06} of database {database_id}, {} bytes", count(file_bytes)),
        || {
            json!({
                "type": "properties",
                "number": number,
                "database_id": database_id,
                "bytes": file_bytes,
            })
        },
    )?;
    let mut printed = Ok(());
    let visited = blobs.visit_values(&mut |offset, value| {
        if printed.is_ok() {
            printed = dump.item(
                || {
                    format!(
                        "  at {offset:>12}  {:>12}  {}",
                        count(value.len() as u64),
                        format.show(value)
                    )
                },
                || {
                    json!({
                        "type": "value",
                        "offset": offset,
                        "bytes": value.len(),
                        "value": format.json(value),
                    })
                },
            );
        }
        Ok(())
    });
    printed?;
    Ok(visited?)
}
