//! The fields of a manifest's edit, to be looked at.
//!
//! A reader of its own, not the library's: it shows what is in the file, also what contradicts
//! itself or comes from a later version. Format: docs/formats/manifest.md

use lsm_io::Malformed;
use lsm_io::bytes::ByteReader;
use lsm_version::{BlobRecord, BlobShare, Expiring, Place, TableRecord};
use serde_json::{Value, json};

use crate::format::BytesFormat;
use crate::units::{bytes, count, counted};

/// One field of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EditField {
    CreateKeyspace {
        id: u64,
        name: Vec<u8>,
        options: Vec<u8>,
        created_at: u64,
    },
    DropKeyspace {
        id: u64,
    },
    SetOptions {
        id: u64,
        options: Vec<u8>,
    },
    TakesOperands {
        keyspace: u64,
    },
    RemoveTable {
        keyspace: u64,
        place: Place,
        number: u64,
    },
    AddTable {
        keyspace: u64,
        place: Place,
        table: Box<TableRecord>,
    },
    AddBlob {
        keyspace: u64,
        blob: BlobRecord,
    },
    BlobTimes {
        keyspace: u64,
        created_ms: Vec<u64>,
    },
    Refer {
        keyspace: u64,
        table: u64,
        share: BlobShare,
    },
    Expires {
        keyspace: u64,
        table: u64,
        expiring: Expiring,
    },
    FlushedThrough {
        keyspace: u64,
        seq_no: u64,
    },
    Number {
        name: &'static str,
        number: u64,
    },
    Options {
        text: Vec<u8>,
    },
    /// Of a later version.
    Unknown {
        tag: u64,
        bytes: usize,
    },
}

/// The fields of an edit's payload, in order.
pub(super) fn fields(payload: &[u8]) -> Result<Vec<EditField>, Malformed> {
    let mut reader = ByteReader::new(payload);
    let mut fields = Vec::new();
    while !reader.is_empty() {
        let tag = reader.varint()?;
        let body = reader.len_slice()?;
        // Within the body offsets count from its start, which lies behind its length.
        let base = reader.offset() - body.len();
        decode(tag, body, &mut fields)
            .map_err(|malformed| Malformed { offset: base + malformed.offset, ..malformed })?;
    }
    Ok(fields)
}

fn decode(tag: u64, body: &[u8], fields: &mut Vec<EditField>) -> Result<(), Malformed> {
    let mut reader = ByteReader::new(body);
    let field = match tag {
        1 => EditField::CreateKeyspace {
            id: reader.varint()?,
            name: reader.len_slice()?.to_vec(),
            options: reader.len_slice()?.to_vec(),
            created_at: reader.varint()?,
        },
        2 => EditField::DropKeyspace { id: reader.varint()? },
        3 => EditField::SetOptions { id: reader.varint()?, options: reader.len_slice()?.to_vec() },
        4 => return decode_tables(&mut reader, fields),
        5 => EditField::FlushedThrough { keyspace: reader.varint()?, seq_no: reader.varint()? },
        6 => EditField::Number { name: "log_number", number: reader.varint()? },
        7 => EditField::Number { name: "next_file_number", number: reader.varint()? },
        8 => EditField::Number { name: "last_seq_no", number: reader.varint()? },
        9 => EditField::Number { name: "database_time_ms", number: reader.varint()? },
        10 => EditField::Number { name: "writer_epoch", number: reader.varint()? },
        11 => EditField::Number { name: "next_keyspace_id", number: reader.varint()? },
        12 => EditField::Number { name: "log_first_seq_no", number: reader.varint()? },
        13 => EditField::Number { name: "ingested", number: reader.varint()? },
        14 => return decode_blobs(&mut reader, fields),
        15 => EditField::TakesOperands { keyspace: reader.varint()? },
        129 => EditField::Options { text: body.to_vec() },
        130 => {
            let keyspace = reader.varint()?;
            let mut created_ms = Vec::new();
            while !reader.is_empty() {
                created_ms.push(reader.varint()?);
            }
            EditField::BlobTimes { keyspace, created_ms }
        }
        131 => {
            let keyspace = reader.varint()?;
            while !reader.is_empty() {
                let (table, entries, bytes) =
                    (reader.varint()?, reader.varint()?, reader.varint()?);
                let expiring = Expiring { entries, bytes, last_ms: reader.varint()? };
                fields.push(EditField::Expires { keyspace, table, expiring });
            }
            return Ok(());
        }
        132 => EditField::Number { name: "leased_until_ms", number: reader.varint()? },
        _ => EditField::Unknown { tag, bytes: body.len() },
    };
    fields.push(field);
    Ok(())
}

fn decode_tables(
    reader: &mut ByteReader<'_>,
    fields: &mut Vec<EditField>,
) -> Result<(), Malformed> {
    let keyspace = reader.varint()?;
    // Nothing is allocated by a count: each element must be there to be read.
    for _ in 0..reader.varint()? {
        let place = decode_place(reader)?;
        fields.push(EditField::RemoveTable { keyspace, place, number: reader.varint()? });
    }
    for _ in 0..reader.varint()? {
        let place = decode_place(reader)?;
        let table = Box::new(decode_table(reader)?);
        fields.push(EditField::AddTable { keyspace, place, table });
    }
    Ok(())
}

fn decode_blobs(reader: &mut ByteReader<'_>, fields: &mut Vec<EditField>) -> Result<(), Malformed> {
    let keyspace = reader.varint()?;
    for _ in 0..reader.varint()? {
        let blob = BlobRecord {
            number: reader.varint()?,
            birth_database_id: reader.u128()?,
            bytes: reader.varint()?,
            checksum: reader.u64()?,
            values: reader.varint()?,
            value_bytes: reader.varint()?,
            // In a field of its own.
            created_ms: 0,
        };
        fields.push(EditField::AddBlob { keyspace, blob });
    }
    for _ in 0..reader.varint()? {
        let table = reader.varint()?;
        for _ in 0..reader.varint()? {
            let (file, values) = (reader.varint()?, reader.varint()?);
            let share = BlobShare { file, values, value_bytes: reader.varint()? };
            fields.push(EditField::Refer { keyspace, table, share });
        }
    }
    Ok(())
}

fn decode_place(reader: &mut ByteReader<'_>) -> Result<Place, Malformed> {
    let malformed = reader.malformed("an impossible level");
    let level = usize::try_from(reader.varint()?).map_err(|_| malformed)?;
    Ok(Place { level, run: reader.varint()? })
}

fn decode_table(reader: &mut ByteReader<'_>) -> Result<TableRecord, Malformed> {
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
        densest_tombstones: {
            let malformed = reader.malformed("a number beyond 32 bits");
            u32::try_from(reader.varint()?).map_err(|_| malformed)?
        },
        raw_bytes: reader.varint()?,
        // An expiry time is stored one higher; 0 means that there is none.
        expiry_min_ms: reader.varint()?.checked_sub(1),
        expiry_max_ms: reader.varint()?.checked_sub(1),
        created_ms: reader.varint()?,
        // They stand in fields of their own.
        expiring: None,
        blobs: Vec::new(),
    })
}

impl EditField {
    /// A line for people.
    pub(super) fn text(&self, format: BytesFormat) -> String {
        let text = BytesFormat::default();
        // Options are text, one a line.
        let options = |options: &[u8]| {
            let lines = options.trim_ascii_end().split(|byte| *byte == b'\n');
            lines.map(|line| text.show(line).to_string()).collect::<Vec<_>>().join("; ")
        };
        match self {
            Self::CreateKeyspace { id, name, options: chosen, created_at } => format!(
                "create keyspace {id} \"{}\" after sequence number {}: {}",
                text.show(name),
                count(*created_at),
                options(chosen)
            ),
            Self::DropKeyspace { id } => format!("drop keyspace {id}"),
            Self::SetOptions { id, options: chosen } => {
                format!("options of keyspace {id}: {}", options(chosen))
            }
            Self::TakesOperands { keyspace } => format!("keyspace {keyspace} takes merge operands"),
            Self::RemoveTable { keyspace, place: Place { level, run }, number } => {
                format!(
                    "remove table {number:06} of keyspace {keyspace} from level {level}, run {run}"
                )
            }
            Self::AddTable { keyspace, place: Place { level, run }, table } => format!(
                "add table {:06} of keyspace {keyspace} to level {level}, run {run}: {}, {}, \
                 {} to {}",
                table.number,
                bytes(table.bytes),
                counted(table.entries, "entry", "entries"),
                format.show(&table.lower),
                format.show(&table.upper)
            ),
            Self::AddBlob { keyspace, blob } => format!(
                "add blob file {:06} of keyspace {keyspace}: {}, {}",
                blob.number,
                bytes(blob.bytes),
                counted(blob.values, "value", "values")
            ),
            Self::BlobTimes { keyspace, created_ms } => {
                let times: Vec<_> = created_ms.iter().map(|ms| format!("{ms} ms")).collect();
                format!("blob files of keyspace {keyspace} were written at {}", times.join(", "))
            }
            Self::Refer { keyspace, table, share } => format!(
                "table {table:06} of keyspace {keyspace} refers to {} of blob file {:06}, {}",
                counted(share.values, "value", "values"),
                share.file,
                bytes(share.value_bytes)
            ),
            Self::Expires { keyspace, table, expiring } => format!(
                "of table {table:06} of keyspace {keyspace} {} expire, {}, the last at {} ms",
                counted(expiring.entries, "entry", "entries"),
                bytes(expiring.bytes),
                expiring.last_ms
            ),
            Self::FlushedThrough { keyspace, seq_no } => {
                format!(
                    "keyspace {keyspace} is in tables through sequence number {}",
                    count(*seq_no)
                )
            }
            Self::Number { name, number } => format!("{name} {number}"),
            Self::Options { text } if text.is_empty() => "options: none".into(),
            Self::Options { text } => format!("options: {}", options(text)),
            Self::Unknown { tag, bytes } => {
                format!("field {tag}, which this version does not know ({bytes} bytes)")
            }
        }
    }

    /// The same as an object.
    pub(super) fn json(&self, format: BytesFormat) -> Value {
        let text = BytesFormat::default();
        match self {
            Self::CreateKeyspace { id, name, options, created_at } => json!({ "create_keyspace": {
                "id": id,
                "name": text.json(name),
                "options": text.json(options),
                "created_at": created_at,
            }}),
            Self::DropKeyspace { id } => json!({ "drop_keyspace": { "id": id } }),
            Self::SetOptions { id, options } => {
                json!({ "set_options": { "id": id, "options": text.json(options) } })
            }
            Self::TakesOperands { keyspace } => {
                json!({ "takes_operands": { "keyspace": keyspace } })
            }
            Self::RemoveTable { keyspace, place, number } => json!({ "remove_table": {
                "keyspace_id": keyspace,
                "level": place.level,
                "run": place.run,
                "number": number,
            }}),
            Self::AddTable { keyspace, place, table } => json!({ "add_table": {
                "keyspace_id": keyspace,
                "level": place.level,
                "run": place.run,
                "number": table.number,
                "birth_database_id": format!("{:032x}", table.birth_database_id),
                "birth_number": table.birth_number,
                "bytes": table.bytes,
                "checksum": format!("{:016x}", table.checksum),
                "lower": format.json(&table.lower),
                "upper": format.json(&table.upper),
                "seq_no_min": table.seq_no_min,
                "seq_no_max": table.seq_no_max,
                "entries": table.entries,
                "tombstones": table.tombstones,
                "range_deletes": table.range_deletes,
                "densest_tombstones": table.densest_tombstones,
                "raw_bytes": table.raw_bytes,
                "expiry_min_ms": table.expiry_min_ms,
                "expiry_max_ms": table.expiry_max_ms,
                "created_ms": table.created_ms,
            }}),
            Self::AddBlob { keyspace, blob } => json!({ "add_blob": {
                "keyspace_id": keyspace,
                "number": blob.number,
                "birth_database_id": format!("{:032x}", blob.birth_database_id),
                "bytes": blob.bytes,
                "checksum": format!("{:016x}", blob.checksum),
                "values": blob.values,
                "value_bytes": blob.value_bytes,
            }}),
            Self::BlobTimes { keyspace, created_ms } => json!({ "blob_times": {
                "keyspace_id": keyspace,
                "created_ms": created_ms,
            }}),
            Self::Refer { keyspace, table, share } => json!({ "refer": {
                "keyspace_id": keyspace,
                "table": table,
                "blob": share.file,
                "values": share.values,
                "value_bytes": share.value_bytes,
            }}),
            Self::Expires { keyspace, table, expiring } => json!({ "expires": {
                "keyspace_id": keyspace,
                "table": table,
                "entries": expiring.entries,
                "bytes": expiring.bytes,
                "last_ms": expiring.last_ms,
            }}),
            Self::FlushedThrough { keyspace, seq_no } => {
                json!({ "flushed_through": { "keyspace_id": keyspace, "seq_no": seq_no } })
            }
            Self::Number { name, number } => json!({ *name: number }),
            Self::Options { text: options } => json!({ "options": text.json(options) }),
            Self::Unknown { tag, bytes } => json!({ "unknown": { "tag": tag, "bytes": bytes } }),
        }
    }
}
