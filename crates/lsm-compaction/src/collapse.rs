//! Merging what is read: several runs into one, once reading them apart has cost as much.
//!
//! A tree in shape may still hold a few runs, and every lookup asks each of them. To merge them
//! costs once, not to merge them costs with every lookup, and nobody knows how many will come. So a
//! merge is due when the lookups since the last one have cost what the merge will: that is never
//! more than twice the least that would have done, whatever comes (the ski-rental rule). A tree
//! that nobody reads is left alone. While nothing is written a merge is in nobody's way, and counts a
//! quarter.

use crate::plan::Plan;
use crate::policy::{PlanInput, Traffic};
use crate::range::{RangePlan, plan_range};

/// What a lookup costs for each run beyond the first, in nanoseconds: a filter and a fence.
const LOOKUP_NANOS: u128 = 300;
/// What merging costs, in nanoseconds a byte.
const MERGE_NANOS_PER_BYTE: u128 = 2;
/// How much less that counts while nothing is written.
const CHEAPER_AT_REST: u128 = 4;
/// One plan does it all, and needs as much space again while it runs: larger trees keep their runs.
const BYTES_MAX: u64 = 4 << 30;

/// A plan that makes one run of all, if `lookups` since the last such plan are worth it and nothing
/// else is running. For policies that keep one run a level.
///
/// ```
/// use lsm_compaction::{PlanInput, Traffic, plan_collapse};
/// use lsm_version::Version;
///
/// let version = Version::default();
/// let input =
///     PlanInput { version: &version, running: &[], snapshots: &[], now_ms: 0, traffic: Traffic::Rest };
/// assert_eq!(plan_collapse(&input, u64::MAX, 64 << 20), None);
/// ```
pub fn plan_collapse(input: &PlanInput<'_>, lookups: u64, output_table_bytes: u64) -> Option<Plan> {
    let (version, running) = (input.version, input.running);
    let runs = version.runs().count();
    let bytes: u64 = version.tables().map(|(_, table)| table.bytes).sum();
    if runs < 2 || bytes > BYTES_MAX || !running.is_empty() {
        return None;
    }
    let spent = u128::from(lookups) * (runs as u128 - 1) * LOOKUP_NANOS;
    let cheaper = if input.traffic == Traffic::Rest { CHEAPER_AT_REST } else { 1 };
    if spent * cheaper < u128::from(bytes) * MERGE_NANOS_PER_BYTE {
        return None;
    }
    match plan_range(version, running, &[], None, output_table_bytes) {
        RangePlan::Merge(mut plan) => {
            plan.reason = format!(
                "{lookups} lookups in {runs} runs have cost what merging their {bytes} bytes does"
            );
            Some(*plan)
        }
        RangePlan::Nothing | RangePlan::Wait => None,
    }
}
