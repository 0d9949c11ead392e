//! Edits as bytes: tagged fields, so that later versions can add some.
//!
//! Each field is a tag (varint), a length (varint) and that many bytes. Tags below 128 must be
//! understood, or the edit is refused; others may be passed over. Format: docs/formats/manifest.md

use std::sync::Arc;

use lsm_io::Malformed;
use lsm_io::bytes::{ByteReader, put_slice, put_u64, put_u128, put_varint};
use lsm_version::{BlobRecord, BlobShare, Expiring, Place, TableRecord, VersionEdit};

use crate::edit::ManifestEdit;

mod tag {
    pub(super) const CREATE_KEYSPACE: u64 = 1;
    pub(super) const DROP_KEYSPACE: u64 = 2;
    pub(super) const SET_OPTIONS: u64 = 3;
    pub(super) const TABLES: u64 = 4;
    pub(super) const FLUSHED_THROUGH: u64 = 5;
    pub(super) const LOG_NUMBER: u64 = 6;
    pub(super) const NEXT_FILE_NUMBER: u64 = 7;
    pub(super) const LAST_SEQ_NO: u64 = 8;
    pub(super) const DATABASE_TIME: u64 = 9;
    pub(super) const WRITER_EPOCH: u64 = 10;
    pub(super) const NEXT_KEYSPACE_ID: u64 = 11;
    pub(super) const LOG_FIRST_SEQ_NO: u64 = 12;
    pub(super) const INGESTED: u64 = 13;
    pub(super) const BLOBS: u64 = 14;
    pub(super) const TAKES_OPERANDS: u64 = 15;
    /// From here on a reader may pass a field over.
    pub(super) const OPTIONAL: u64 = 128;
    pub(super) const OPTIONS: u64 = 129;
    pub(super) const BLOB_TIMES: u64 = 130;
    pub(super) const EXPIRING: u64 = 131;
    pub(super) const LEASED_UNTIL: u64 = 132;
}

type Decoded<T> = Result<T, Malformed>;

/// The bytes of an edit.
pub(crate) fn encode(edit: &ManifestEdit) -> Vec<u8> {
    let mut out = Vec::new();
    for (id, name, options, created_at) in &edit.create_keyspaces {
        field(&mut out, tag::CREATE_KEYSPACE, |body| {
            put_varint(body, u64::from(*id));
            put_slice(body, name.as_bytes());
            put_slice(body, options.as_bytes());
            put_varint(body, *created_at);
        });
    }
    for (id, options) in &edit.set_options {
        field(&mut out, tag::SET_OPTIONS, |body| {
            put_varint(body, u64::from(*id));
            put_slice(body, options.as_bytes());
        });
    }
    for id in &edit.takes_operands {
        field(&mut out, tag::TAKES_OPERANDS, |body| put_varint(body, u64::from(*id)));
    }
    for (id, tables) in &edit.tables {
        field(&mut out, tag::TABLES, |body| {
            put_varint(body, u64::from(*id));
            encode_tables(body, tables);
        });
        let refers = tables.added.iter().any(|(_, table)| !table.blobs.is_empty());
        if refers || !tables.blobs.is_empty() {
            field(&mut out, tag::BLOBS, |body| {
                put_varint(body, u64::from(*id));
                encode_blobs(body, tables);
            });
        }
        if tables.blobs.iter().any(|blob| blob.created_ms > 0) {
            field(&mut out, tag::BLOB_TIMES, |body| {
                put_varint(body, u64::from(*id));
                tables.blobs.iter().for_each(|blob| put_varint(body, blob.created_ms));
            });
        }
        if tables.added.iter().any(|(_, table)| table.expiring.is_some()) {
            field(&mut out, tag::EXPIRING, |body| {
                put_varint(body, u64::from(*id));
                encode_expiring(body, tables);
            });
        }
    }
    for (id, through) in &edit.flushed_through {
        field(&mut out, tag::FLUSHED_THROUGH, |body| {
            put_varint(body, u64::from(*id));
            put_varint(body, *through);
        });
    }
    for seq_no in &edit.ingested {
        field(&mut out, tag::INGESTED, |body| put_varint(body, *seq_no));
    }
    for id in &edit.drop_keyspaces {
        field(&mut out, tag::DROP_KEYSPACE, |body| put_varint(body, u64::from(*id)));
    }
    let numbers = [
        (tag::LOG_NUMBER, edit.log_number),
        (tag::LOG_FIRST_SEQ_NO, edit.log_first_seq_no),
        (tag::NEXT_FILE_NUMBER, edit.next_file_number),
        (tag::LAST_SEQ_NO, edit.last_seq_no),
        (tag::DATABASE_TIME, edit.database_time_ms),
        (tag::WRITER_EPOCH, edit.writer_epoch),
        (tag::NEXT_KEYSPACE_ID, edit.next_keyspace_id.map(u64::from)),
        (tag::LEASED_UNTIL, edit.leased_until_ms),
    ];
    for (tag, number) in numbers {
        if let Some(number) = number {
            field(&mut out, tag, |body| put_varint(body, number));
        }
    }
    if let Some(options) = &edit.options {
        field(&mut out, tag::OPTIONS, |body| body.extend_from_slice(options.as_bytes()));
    }
    out
}

fn field(out: &mut Vec<u8>, tag: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    write(&mut body);
    put_varint(out, tag);
    put_slice(out, &body);
}

fn encode_tables(out: &mut Vec<u8>, edit: &VersionEdit) {
    put_varint(out, edit.removed.len() as u64);
    for (place, number) in &edit.removed {
        put_place(out, *place);
        put_varint(out, *number);
    }
    put_varint(out, edit.added.len() as u64);
    for (place, table) in &edit.added {
        put_place(out, *place);
        encode_table(out, table);
    }
}

fn put_place(out: &mut Vec<u8>, place: Place) {
    put_varint(out, place.level as u64);
    put_varint(out, place.run);
}

fn encode_table(out: &mut Vec<u8>, table: &TableRecord) {
    put_varint(out, table.number);
    put_u128(out, table.birth_database_id);
    put_varint(out, table.birth_number);
    put_varint(out, table.bytes);
    put_u64(out, table.checksum);
    put_slice(out, &table.lower);
    put_slice(out, &table.upper);
    put_varint(out, table.seq_no_min);
    put_varint(out, table.seq_no_max);
    put_varint(out, table.entries);
    put_varint(out, table.tombstones);
    put_varint(out, table.range_deletes);
    put_varint(out, u64::from(table.densest_tombstones));
    put_varint(out, table.raw_bytes);
    // An expiry time is stored one higher; 0 means that there is none.
    put_varint(out, table.expiry_min_ms.map_or(0, |ms| ms.saturating_add(1)));
    put_varint(out, table.expiry_max_ms.map_or(0, |ms| ms.saturating_add(1)));
    put_varint(out, table.created_ms);
}

/// Blob files that come, and what the added tables refer to: a field of its own behind that of the
/// tables, so that who has no blob files has none of it.
fn encode_blobs(out: &mut Vec<u8>, edit: &VersionEdit) {
    put_varint(out, edit.blobs.len() as u64);
    for blob in &edit.blobs {
        put_varint(out, blob.number);
        put_u128(out, blob.birth_database_id);
        put_varint(out, blob.bytes);
        put_u64(out, blob.checksum);
        put_varint(out, blob.values);
        put_varint(out, blob.value_bytes);
    }
    let referring = edit.added.iter().filter(|(_, table)| !table.blobs.is_empty());
    put_varint(out, referring.clone().count() as u64);
    for (_, table) in referring {
        put_varint(out, table.number);
        put_varint(out, table.blobs.len() as u64);
        for share in &table.blobs {
            put_varint(out, share.file);
            put_varint(out, share.values);
            put_varint(out, share.value_bytes);
        }
    }
}

/// How much of the added tables expires, of those in which something else stays.
fn encode_expiring(out: &mut Vec<u8>, edit: &VersionEdit) {
    for (_, table) in &edit.added {
        if let Some(Expiring { entries, bytes, last_ms }) = table.expiring {
            [table.number, entries, bytes, last_ms].into_iter().for_each(|n| put_varint(out, n));
        }
    }
}

/// Reads an edit's bytes.
pub(crate) fn decode(bytes: &[u8]) -> Decoded<ManifestEdit> {
    let mut edit = ManifestEdit::default();
    let mut reader = ByteReader::new(bytes);
    while !reader.is_empty() {
        let unknown = reader.malformed("a field that this version does not know");
        let tag = reader.varint()?;
        let start = reader.offset();
        let body = reader.len_slice()?;
        decode_field(&mut edit, tag, body).map_err(|malformed| match malformed {
            None => unknown,
            Some(malformed) => Malformed { offset: start + malformed.offset, ..malformed },
        })?;
    }
    Ok(edit)
}

/// `Err(None)`: the tag is unknown and may not be passed over.
fn decode_field(edit: &mut ManifestEdit, tag: u64, body: &[u8]) -> Result<(), Option<Malformed>> {
    let mut reader = ByteReader::new(body);
    match tag {
        tag::CREATE_KEYSPACE => {
            let id = small(&mut reader)?;
            let name = text(&mut reader)?;
            let options = text(&mut reader)?;
            edit.create_keyspaces.push((id, name, options, reader.varint()?));
        }
        tag::DROP_KEYSPACE => edit.drop_keyspaces.push(small(&mut reader)?),
        tag::SET_OPTIONS => edit.set_options.push((small(&mut reader)?, text(&mut reader)?)),
        tag::TAKES_OPERANDS => edit.takes_operands.push(small(&mut reader)?),
        tag::TABLES => edit.tables.push((small(&mut reader)?, decode_tables(&mut reader)?)),
        tag::BLOBS => {
            let malformed = reader.malformed("blob files without the tables that refer to them");
            let id = small(&mut reader)?;
            let tables = edit.tables.last_mut().filter(|(tables_of, _)| *tables_of == id);
            decode_blobs(&mut reader, &mut tables.ok_or(malformed)?.1)?;
        }
        tag::BLOB_TIMES => {
            let malformed = reader.malformed("times of blob files that do not come");
            let id = small(&mut reader)?;
            let tables = edit.tables.last_mut().filter(|(tables_of, _)| *tables_of == id);
            for blob in &mut tables.ok_or(malformed)?.1.blobs {
                Arc::make_mut(blob).created_ms = reader.varint()?;
            }
        }
        tag::EXPIRING => {
            let malformed = reader.malformed("what expires of tables that do not come");
            let id = small(&mut reader)?;
            let tables = edit.tables.last_mut().filter(|(tables_of, _)| *tables_of == id);
            decode_expiring(&mut reader, &mut tables.ok_or(malformed)?.1)?;
        }
        tag::FLUSHED_THROUGH => {
            edit.flushed_through.push((small(&mut reader)?, reader.varint()?));
        }
        tag::INGESTED => edit.ingested.push(reader.varint()?),
        tag::LOG_NUMBER => edit.log_number = Some(reader.varint()?),
        tag::LOG_FIRST_SEQ_NO => edit.log_first_seq_no = Some(reader.varint()?),
        tag::NEXT_FILE_NUMBER => edit.next_file_number = Some(reader.varint()?),
        tag::LAST_SEQ_NO => edit.last_seq_no = Some(reader.varint()?),
        tag::DATABASE_TIME => edit.database_time_ms = Some(reader.varint()?),
        tag::LEASED_UNTIL => edit.leased_until_ms = Some(reader.varint()?),
        tag::WRITER_EPOCH => edit.writer_epoch = Some(reader.varint()?),
        tag::NEXT_KEYSPACE_ID => edit.next_keyspace_id = Some(small(&mut reader)?),
        tag::OPTIONS => {
            let text = std::str::from_utf8(body);
            let text = text.map_err(|_| reader.malformed("text that is not UTF-8"))?;
            edit.options = Some(text.to_owned());
            return Ok(());
        }
        tag::OPTIONAL.. => return Ok(()),
        _ => return Err(None),
    }
    reader.expect_end("a field that is longer than it should be").map_err(Some)
}

fn small(reader: &mut ByteReader<'_>) -> Decoded<u32> {
    let malformed = reader.malformed("a number beyond 32 bits");
    u32::try_from(reader.varint()?).map_err(|_| malformed)
}

fn text(reader: &mut ByteReader<'_>) -> Decoded<String> {
    let malformed = reader.malformed("text that is not UTF-8");
    let bytes = reader.len_slice()?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| malformed)
}

fn decode_tables(reader: &mut ByteReader<'_>) -> Decoded<VersionEdit> {
    let mut edit = VersionEdit::default();
    // Nothing is allocated by a count: each element must be there to be read.
    for _ in 0..reader.varint()? {
        edit.removed.push((place(reader)?, reader.varint()?));
    }
    for _ in 0..reader.varint()? {
        edit.added.push((place(reader)?, Arc::new(decode_table(reader)?)));
    }
    Ok(edit)
}

fn decode_blobs(reader: &mut ByteReader<'_>, edit: &mut VersionEdit) -> Decoded<()> {
    for _ in 0..reader.varint()? {
        edit.blobs.push(Arc::new(BlobRecord {
            number: reader.varint()?,
            birth_database_id: reader.u128()?,
            bytes: reader.varint()?,
            checksum: reader.u64()?,
            values: reader.varint()?,
            value_bytes: reader.varint()?,
            // In a field of its own.
            created_ms: 0,
        }));
    }
    // Both in the order of the tables.
    let mut tables = edit.added.iter_mut();
    for _ in 0..reader.varint()? {
        let malformed = reader.malformed("a table that the edit does not add");
        let number = reader.varint()?;
        let table = tables.find(|(_, table)| table.number == number);
        let (_, table) = table.ok_or(malformed)?;
        let blobs = &mut Arc::make_mut(table).blobs;
        for _ in 0..reader.varint()? {
            let (file, values) = (reader.varint()?, reader.varint()?);
            blobs.push(BlobShare { file, values, value_bytes: reader.varint()? });
        }
    }
    Ok(())
}

fn decode_expiring(reader: &mut ByteReader<'_>, edit: &mut VersionEdit) -> Decoded<()> {
    // Both in the order of the tables.
    let mut tables = edit.added.iter_mut();
    while !reader.is_empty() {
        let malformed = reader.malformed("a table that the edit does not add");
        let number = reader.varint()?;
        let (_, table) = tables.find(|(_, table)| table.number == number).ok_or(malformed)?;
        let (entries, bytes) = (reader.varint()?, reader.varint()?);
        let expiring = Expiring { entries, bytes, last_ms: reader.varint()? };
        Arc::make_mut(table).expiring = Some(expiring);
    }
    Ok(())
}

fn place(reader: &mut ByteReader<'_>) -> Decoded<Place> {
    let malformed = reader.malformed("an impossible level");
    let level = usize::try_from(reader.varint()?).map_err(|_| malformed)?;
    Ok(Place { level, run: reader.varint()? })
}

fn decode_table(reader: &mut ByteReader<'_>) -> Decoded<TableRecord> {
    Ok(TableRecord {
        number: reader.varint()?,
        birth_database_id: reader.u128()?,
        birth_number: reader.varint()?,
        bytes: reader.varint()?,
        checksum: reader.u64()?,
        lower: reader.len_slice()?.to_vec(),
        upper: reader.len_slice()?.to_vec(),
        seq_no_min: reader.varint()?,
        seq_no_max: reader.varint()?,
        entries: reader.varint()?,
        tombstones: reader.varint()?,
        range_deletes: reader.varint()?,
        densest_tombstones: small(reader)?,
        raw_bytes: reader.varint()?,
        expiry_min_ms: reader.varint()?.checked_sub(1),
        expiry_max_ms: reader.varint()?.checked_sub(1),
        created_ms: reader.varint()?,
        // In fields of their own.
        expiring: None,
        blobs: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_a_later_version_is_refused_unless_it_may_be_passed_over() {
        let reason = decode(&[127, 1, 7]).map_err(|malformed| malformed.reason);
        assert_eq!(reason, Err("a field that this version does not know"));
        assert_eq!(decode(&[0x80, 1, 1, 7]), Ok(ManifestEdit::default()));
    }
}
