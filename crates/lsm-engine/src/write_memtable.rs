//! What a memtable holds becomes tables of level 0: one, or several side by side where there are threads that
//! have nothing else to do.
//!
//! ```text
//!   memtable   ──────────── k ────────────
//!   slices      through k  │   behind it       a writer each
//!   tables      000007.sst │  000008.sst       one run
//! ```

use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::Builder;

use lsm_compaction::{Clipper, MergeError, Retention, Sample, Slice, TableSink, for_each_survivor};
use lsm_entry::{Cursor, Fragments, MAX_SEQ_NO, RangeDelete, key_hash};
use lsm_memtable::Memtable;
use lsm_sstable::Origin;

use crate::env::Spawn;
use crate::error::{Error, Result};
use crate::keyspace::KeyspaceCore;
use crate::limiter::Priority;
use crate::older::Older;
use crate::outputs::{OutputSpec, Outputs, Workshop, WrittenTables};

/// Tables of level 0 are cut at this size, which only oversized memtables reach.
const FLUSHED_TABLE_BYTES: u64 = 256 << 20;
/// Into so many slices a full memtable could be cut at most: smaller ones are not worth a table each.
const SLICES_OF_FULL_MEMTABLE: usize = 8;
/// Keys that it is sampled at for each slice: they differ by less than so great a part.
const SAMPLES_PER_SLICE: usize = 32;

/// Writes what a memtable holds into tables of level 0.
pub(crate) fn write_memtable(
    workshop: &Workshop<'_>,
    core: &KeyspaceCore,
    memtable: &Arc<Memtable>,
    retention: Retention,
    older: &Older,
) -> Result<WrittenTables> {
    write_memtable_of(workshop, core, memtable, retention, older, Origin::Flush, Vec::new())
}

/// The same, saying where the memtable comes from.
pub(crate) fn write_memtable_of(
    workshop: &Workshop<'_>,
    core: &KeyspaceCore,
    memtable: &Arc<Memtable>,
    retention: Retention,
    older: &Older,
    origin: Origin,
    made_from: Vec<u64>,
) -> Result<WrittenTables> {
    // A repair keeps operands as they are, whatever it may find beside them.
    let operator = core.operator().filter(|_| origin != Origin::Repair);
    let retention = retention.folding(operator);
    memtable.freeze();
    while memtable.organize() {}
    let spec = OutputSpec {
        keyspace_id: core.id,
        keyspace_name: core.name.clone(),
        options: core.options(),
        level: 0,
        origin,
        made_from,
        ancestors: Vec::new(),
        priority: Priority::Flush,
        past_cache: !core.is_read(),
        moving: None,
    };
    let retention = retention.with_range_deletes(bounded_range_deletes(memtable, older));
    let kept = retention.kept_range_deletes(|fragment| older.is_clear_of(fragment));
    let keys = older.keys();
    let write = |slice: &Slice| -> Result<WrittenTables> {
        let mut outputs = Outputs::new(workshop.clone(), spec.clone());
        let nothing_older = |key: &[u8]| keys.as_ref().is_some_and(|keys| !keys.may_hold(key));
        let (mut cursor, mut retention) = (memtable.cursor(), retention.clone());
        write_entries(
            &mut cursor,
            slice,
            &mut outputs,
            &mut retention,
            nothing_older,
            &kept,
            FLUSHED_TABLE_BYTES,
        )?;
        outputs.finish()
    };
    let slices = slices_of(memtable, workshop.writers);
    if workshop.options.env.spawn != Spawn::Threads {
        return joined(slices.iter().map(write));
    }
    let [others @ .., last] = slices.as_slice() else { unreachable!("there is a slice at least") };
    let write = &write;
    std::thread::scope(|scope| {
        let begin = |slice| {
            let thread = Builder::new().name("lsm-open".into());
            // What the system gives no thread for is written by this one.
            thread.spawn_scoped(scope, move || write(slice)).map_err(|_| slice)
        };
        let others: Vec<_> = others.iter().map(begin).collect();
        let last = write(last);
        let others = others.into_iter().map(|begun| match begun {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(slice) => write(slice),
        });
        joined(others.chain(std::iter::once(last)))
    })
}

/// Parts of a frozen memtable of about as many entries, one for each of so many writers, if there is
/// something for all of them to do.
fn slices_of(memtable: &Memtable, writers: usize) -> Vec<Slice> {
    let slice_bytes_min = memtable.capacity_bytes() / SLICES_OF_FULL_MEMTABLE;
    let count = writers.min(memtable.data_bytes() / slice_bytes_min.max(1));
    if count <= 1 {
        return vec![Slice::default()];
    }
    let samples = memtable.sample_keys(SAMPLES_PER_SLICE * count);
    Slice::cut(samples.into_iter().map(|key| Sample { key, bytes: 1 }).collect(), count)
}

/// Tables of which each one's keys lie behind those of the one before, as one whole, unless one was not
/// written.
fn joined(written: impl Iterator<Item = Result<WrittenTables>>) -> Result<WrittenTables> {
    // What was written beside one that failed is removed when it is dropped.
    let written: Vec<WrittenTables> = written.collect::<Result<_>>()?;
    let whole = written.into_iter().reduce(|mut whole, behind| {
        whole.append(behind);
        whole
    });
    Ok(whole.expect("there is a slice at least"))
}

/// Writes what survives of a cursor's entries in a slice, and the range deletes in `kept` that lie in it,
/// into tables of about `table_bytes`. An entry that comes twice is written once. `nothing_older`: no
/// older entry of a key lies elsewhere.
pub(crate) fn write_entries<C: Cursor>(
    cursor: &mut C,
    slice: &Slice,
    outputs: &mut Outputs<'_>,
    retention: &mut Retention,
    nothing_older: impl Fn(&[u8]) -> bool,
    kept: &Fragments,
    table_bytes: u64,
) -> Result<()>
where
    Error: From<C::Error>,
{
    let mut last_key = Vec::new();
    let mut range_deletes = Clipper::new(&slice.clip(kept));
    cursor.seek(&slice.lower(), MAX_SEQ_NO)?;
    let through = slice.through();
    let written =
        for_each_survivor(cursor, through, retention, nothing_older, &|| false, |entry| {
            if outputs.table_bytes() >= table_bytes && entry.key != last_key.as_slice() {
                range_deletes.write_through(&last_key, outputs)?;
                outputs.cut()?;
            }
            last_key.clear();
            last_key.extend_from_slice(entry.key);
            outputs.add(entry, key_hash(entry.key))
        });
    match written {
        Ok(_) => Ok(range_deletes.finish(outputs)?),
        Err(MergeError::Read(error)) => Err(error.into()),
        Err(MergeError::Write(error)) => Err(error.into()),
        Err(MergeError::Stopped) => unreachable!("nobody asks it to"),
    }
}

/// The range deletes of a memtable, each with an end: in a table every one has one. What is newer
/// than they are they do not cover, so they may end where everything older does.
fn bounded_range_deletes(memtable: &Arc<Memtable>, older: &Older) -> Fragments {
    let Some(fragments) = memtable.range_deletes() else { return Fragments::default() };
    let end = older.end(memtable);
    let bounded = fragments.range_deletes().into_iter().map(|range| {
        let upper = if range.upper.is_empty() { end.clone() } else { range.upper };
        RangeDelete { upper, ..range }
    });
    bounded.collect()
}
