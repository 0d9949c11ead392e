//! `lsm dump table`: a table's properties, blocks and entries.

use std::sync::Arc;

use lsm_entry::{BlobShare, Cursor, ValueKind};
use lsm_io::{Fs, OpenMode, StdFs};
use lsm_sstable::{BlockCache, Origin, ReadMode, Table};
use serde_json::{Value, json};

use super::{Dump, EntryFileArgs, kind_name};
use crate::exit::Failure;
use crate::units::{bytes, count};

/// Blocks are read once, so few need to be kept.
const CACHE_BYTES: u64 = 1 << 20;

pub(super) fn dump(dump: &mut Dump, args: &EntryFileArgs) -> Result<(), Failure> {
    let kind = args.kind.map(ValueKind::from);
    let file = StdFs.open(&args.file.file, OpenMode::Read)?;
    let identity = Table::read_identity(&file)?;
    let file_bytes = file.len()?;
    let mode = ReadMode::Cached(BlockCache::new(CACHE_BYTES));
    let table = Table::open(file, identity, file_bytes, mode)?;
    if kind.is_none() {
        properties(dump, &table)?;
        blocks(dump, &table)?;
        dump.heading("\nentries:")?;
    }
    if kind.is_none_or(|kind| kind == ValueKind::RangeDelete) {
        range_deletes(dump, &table)?;
    }
    let mut cursor = table.cursor();
    cursor.seek_first()?;
    while let Some(entry) = cursor.entry() {
        if kind.is_none_or(|kind| kind == entry.kind()) {
            dump.entry(&entry, None)?;
        }
        cursor.next()?;
    }
    Ok(())
}

fn properties(dump: &mut Dump, table: &Arc<Table>) -> Result<(), Failure> {
    let format = dump.bytes();
    let (identity, properties) = (table.identity(), table.properties());
    let info = &properties.info;
    let origin = match info.origin {
        Origin::Flush => "flush",
        Origin::Compaction => "compaction",
        Origin::Ingest => "ingest",
        Origin::Repair => "repair",
    };
    let share = |share: &BlobShare| json!({ "blob": share.file, "values": share.values, "value_bytes": share.value_bytes });
    let mut object = json!({
        "type": "properties",
        "number": identity.file_number,
        "database_id": format!("{:032x}", identity.database_id),
        "bytes": table.bytes(),
        "keyspace_id": info.keyspace_id,
        "keyspace": info.keyspace_name,
        "origin": origin,
        "made_from": info.made_from,
        "created_ms": info.created_ms,
        "entries": properties.entries,
        "tombstones": properties.tombstones,
        "range_deletes": properties.range_deletes,
        "densest_tombstones": properties.densest_tombstones,
        "lower": format.json(&properties.lower),
        "upper": format.json(&properties.upper),
        "seq_no_min": properties.seq_no_min,
        "seq_no_max": properties.seq_no_max,
        "expiry_min_ms": properties.expiry_min_ms,
        "expiry_max_ms": properties.expiry_max_ms,
        "expiring_entries": properties.expiring.map(|expiring| expiring.entries),
        "expiring_bytes": properties.expiring.map(|expiring| expiring.bytes),
        "expiring_last_ms": properties.expiring.map(|expiring| expiring.last_ms),
        "raw_bytes": properties.raw_bytes,
        "stored_bytes": properties.stored_bytes,
        "largest_entry_bytes": properties.largest_entry_bytes,
        "blocks": properties.blocks,
        "block_bytes": properties.block_bytes,
        "compression": properties.compression,
        "filter_bits_per_key": properties.filter_bits_per_key,
    });
    if !properties.blobs.is_empty() {
        object["blobs"] = properties.blobs.iter().map(share).collect();
    }
    dump.heading("properties:")?;
    if dump.format.json {
        return dump.out.json(&object);
    }
    for (name, value) in object.as_object().into_iter().flatten() {
        let text = match (name.as_str(), value) {
            ("type", _) | (_, Value::Null) => continue,
            ("lower", _) => format.show(&properties.lower).to_string(),
            ("upper", _) => format.show(&properties.upper).to_string(),
            (_, Value::String(text)) => text.clone(),
            (_, value) => value.to_string(),
        };
        dump.heading(&format!("  {name:<20} {text}"))?;
    }
    Ok(())
}

fn blocks(dump: &mut Dump, table: &Arc<Table>) -> Result<(), Failure> {
    let format = dump.bytes();
    dump.heading("\nblocks:")?;
    for block in table.blocks() {
        dump.item(
            || {
                format!(
                    "  {:>6} at {:>10}  {:>10} {:<5} {:>6} entries, {:>5} tombstones, to {}",
                    block.number,
                    block.offset,
                    bytes(block.stored_bytes),
                    block.compression,
                    count(u64::from(block.entries)),
                    count(u64::from(block.tombstones)),
                    format.show(block.last_key)
                )
            },
            || {
                json!({
                    "type": "block",
                    "number": block.number,
                    "offset": block.offset,
                    "stored_bytes": block.stored_bytes,
                    "compression": block.compression,
                    "entries": block.entries,
                    "tombstones": block.tombstones,
                    "last_key": format.json(block.last_key),
                    "seq_no_min": block.seq_no_min,
                    "seq_no_max": block.seq_no_max,
                })
            },
        )?;
    }
    Ok(())
}

fn range_deletes(dump: &mut Dump, table: &Arc<Table>) -> Result<(), Failure> {
    let format = dump.bytes();
    let kind = kind_name(ValueKind::RangeDelete);
    for range in table.range_deletes().range_deletes() {
        let (lower, upper) = (&range.lower, &range.upper);
        dump.item(
            || {
                let seq_no = count(range.seq_no);
                format!("{seq_no:>16}  {kind:<13}  {}\t{}", format.show(lower), format.show(upper))
            },
            || {
                json!({
                    "type": "entry",
                    "seq_no": range.seq_no,
                    "kind": kind,
                    "key": format.json(lower),
                    "value": format.json(upper),
                })
            },
        )?;
    }
    Ok(())
}
