//! What the cache holds of tables that were merged, handed over to the tables made of them: else those
//! who read them would have to bring everything in anew.
//!
//! ```text
//!   inputs    |--a--|==b==|--c--|==d==|      == in the cache
//!             |---e---|---f---|===g===|
//!   outputs   |--1--|==2==|--3--|=4=|=5=|    a block goes in if a cached one of the inputs ends or lies
//! ```                                         across its end; it is decoded into the memory of one that left

use std::sync::Arc;

use lsm_io::Result;

use crate::Table;

/// One run of the inputs, and how far it has been handed over.
struct Leaving<'a> {
    tables: &'a [Arc<Table>],
    /// The first block of the first table that has not left.
    number: usize,
}

/// Hands over what the cache holds of the runs in `from`, which were merged into the run `to`. As many
/// blocks go in as left, more or less, and `goes_on` is asked before each. Gives how many went in.
///
/// Whoever still reads the inputs finds them as before, but has to bring their blocks in.
///
/// # Errors
/// `Corrupt` or `Io` when a block of `to` could not be read: the rest is not handed over.
pub fn hand_over(
    from: &[Vec<Arc<Table>>],
    to: &[Arc<Table>],
    goes_on: impl Fn() -> bool,
) -> Result<u64> {
    let mut runs: Vec<Leaving<'_>> =
        from.iter().map(|tables| Leaving { tables, number: 0 }).collect();
    let (mut entered, mut memory) = (0, Vec::new());
    for table in to {
        let index = table.index();
        for number in 0..index.blocks() {
            if !goes_on() {
                return Ok(entered);
            }
            let last_key = index.last_key(number);
            let mut is_warm = false;
            for run in &mut runs {
                is_warm |= run.leave_up_to(Some(last_key), &mut memory);
            }
            if is_warm && table.source().enter_cache(index, number, std::mem::take(&mut memory))? {
                entered += 1;
            }
        }
    }
    for run in &mut runs {
        run.leave_up_to(None, &mut memory);
    }
    Ok(entered)
}

impl Leaving<'_> {
    /// Takes all blocks out of the cache that end at `key` or before, or simply all; gives whether one of
    /// these was there, or the one in which `key` lies is. `memory` is that of the last.
    fn leave_up_to(&mut self, key: Option<&[u8]>, memory: &mut Vec<u8>) -> bool {
        let mut is_warm = false;
        while let Some(table) = self.tables.first() {
            let (index, source) = (table.index(), table.source());
            if self.number == index.blocks() || !source.is_cached() {
                (self.tables, self.number) = (&self.tables[1..], 0);
                continue;
            }
            if let Some(key) = key
                && index.last_key(self.number) > key
            {
                let has_begun = self.number > 0 || table.properties().lower.as_slice() <= key;
                return is_warm || (has_begun && source.is_block_cached(self.number));
            }
            if let Some(block) = source.leave_cache(self.number) {
                is_warm = true;
                *memory = block.into_memory().unwrap_or_default();
            }
            self.number += 1;
        }
        is_warm
    }
}
