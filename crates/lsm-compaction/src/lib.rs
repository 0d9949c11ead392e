//! Which tables to merge and which entries survive; no I/O, no threads.
//!
//! ```
//! use lsm_compaction::{CompactionPolicy, PlanInput, Traffic};
//! use lsm_version::Version;
//!
//! let version = Version::parse("L0: a-f c-k d-e b-g\nL6: a-e g-m p-t");
//! let policy = CompactionPolicy::default();
//! let input =
//!     PlanInput { version: &version, running: &[], snapshots: &[], now_ms: 0, traffic: Traffic::Rest };
//! let plan = policy.as_policy().plan(&input).expect("level 0 is full");
//! assert_eq!(plan.output.level, 6);
//! assert_eq!(plan.reason, "level 0 holds 4 runs and its limit is 4");
//! ```
//!
//! A policy is a pure function from a version to a [`Plan`] with its reason; [`merge`] carries a
//! plan out between a cursor and a [`TableSink`], keeping what [`Retention`] says and folding merge
//! operands by their [`MergeOperator`].
//!
//! To see what a plan is, open `plan.rs`; the policies, `leveled.rs`, `tiered.rs`,
//! `lazy_leveled.rs`, `fifo.rs`; which entries survive, `retention.rs` and `survivors.rs`;
//! what is written in the place of merge operands, `fold.rs`, and of values that a user wants no more,
//! `filter.rs`; where range deletes are cut, `clip.rs`; how a merge is divided between threads, `slice.rs`;
//! which tables they cover whole, `covered.rs`; when tombstones are merged for their own sake,
//! `tombstones.rs`; at what times entries are read, `read_times.rs`; which tables have expired,
//! `expired.rs`; when writes are slowed, `pressure.rs`.

mod blobs;
mod clip;
mod collapse;
mod covered;
mod expired;
mod fifo;
mod filter;
mod fold;
mod ingest;
mod lazy_leveled;
mod leveled;
mod merge;
mod operator;
mod plan;
mod policy;
mod pressure;
mod range;
mod read_times;
mod retention;
mod slice;
mod survivors;
mod tiered;
mod tombstones;

pub use blobs::{blobs_to_move, is_overdue, plan_blobs, plan_overdue_blobs};
pub use clip::Clipper;
pub use collapse::plan_collapse;
pub use covered::plan_covered;
pub use expired::plan_expired;
pub use fifo::FifoOptions;
pub use filter::{CompactionFilter, FilterDecision};
pub use ingest::{IngestPlan, plan_ingest};
pub use lazy_leveled::LazyLeveledOptions;
pub use leveled::LeveledOptions;
pub use merge::{TableSink, merge};
pub use operator::{MAX_VALUE_BYTES, MergeOperator, fold_operands};
pub use plan::{Action, Plan, PlanInputRun, RunningPlan};
pub use policy::{CompactionPolicy, PlanInput, Policy, Traffic};
pub use pressure::{Backlog, Pressure, PressureCause, PressureLimits, pressure};
pub use range::{RangePlan, plan_range};
pub use read_times::ReadTimes;
pub use retention::{DropReason, FetchValue, Retention, Verdict};
pub use slice::{Sample, Slice};
pub use survivors::{MergeError, MergeStats, for_each_survivor};
pub use tiered::TieredOptions;
pub use tombstones::plan_tombstones;
