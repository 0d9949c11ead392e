//! Plans as pictures, plans against their invariants, retention against every reader.

mod plans;
mod retention;
mod settling;
