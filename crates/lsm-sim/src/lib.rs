//! Model, crash and soak testing of the lsm key-value store.
//!
//! A *history* is a list of operations drawn from a seed. It runs against the engine on a simulated
//! disk and against a map, and every answer must be the same; it can be crashed at each of its I/O
//! calls, and what survives must be a prefix that holds everything acknowledged. A history that
//! fails is shrunk and printed as text, to be kept under `tests/histories/`, where it runs for ever.
//!
//! ```
//! use lsm_sim::History;
//!
//! History::random(42, 100).run()?;
//! # Ok::<(), String>(())
//! ```
//!
//! | to see | open |
//! |---|---|
//! | the operations, as text | `op.rs`, their keys and values `data.rs`, what is merged `chain.rs`, or filtered `sieve.rs` |
//! | which of them a history is made of | `draw.rs`, `sequences.rs` |
//! | what is expected of them | `model.rs`, of one key `cell.rs`, of what goes unasked `gone.rs`, after a crash `prefix.rs`; where it differs, `difference.rs` |
//! | how the engine is asked, and its answers compared | `world.rs`, `answers.rs`, `transactions.rs`, `keyspaces.rs`, `checkpoints.rs`, `exports.rs`, `feed.rs`, `oracle.rs` |
//! | histories: run, shrunk, kept | `history.rs` |
//! | a crash at every step | `crash.rs` |
//! | the same history in several worlds | `worlds.rs`, `place.rs`, `setup.rs` |
//! | what was exercised, and how often | `coverage.rs`, `scene.rs`, `figures.rs` |
//! | calls that fail | `faults.rs` |
//! | damaged files | `damage.rs` |
//! | arbitrary bytes | `fuzz.rs` |
//! | threads whose answers one order must explain | `linearizability.rs` |
//! | the real machine, killed and cut off | `real.rs` |
//! | the long run on a real disk | `soak.rs` |
//! | how much is written and kept for each byte of a user's | `amplification.rs` |

pub mod amplification;
mod answers;
pub mod cell;
pub mod chain;
pub mod checkpoints;
mod commits;
pub mod contents;
pub mod coverage;
pub mod crash;
pub mod damage;
pub mod data;
pub mod difference;
pub mod draw;
pub mod exports;
pub mod faults;
pub mod feed;
mod figures;
pub mod fuzz;
mod gone;
pub mod history;
pub mod jobs;
mod keyspaces;
#[cfg(feature = "linearizability")]
pub mod linearizability;
pub mod model;
pub mod op;
pub mod oracle;
pub mod place;
mod prefix;
pub mod real;
mod scene;
pub mod sequences;
pub mod setup;
pub mod sieve;
pub mod soak;
pub mod told;
mod transactions;
pub mod world;
pub mod worlds;

pub use coverage::Coverage;
pub use draw::Mix;
pub use figures::Figures;
pub use history::History;
pub use model::Model;
pub use op::Op;
pub use place::Place;
pub use setup::Setup;
pub use world::World;
