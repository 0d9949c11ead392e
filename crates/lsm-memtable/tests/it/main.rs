//! The memtable as its users meet it, beside a sorted map that says what it has to answer.

mod concurrent;
mod fuzz;
mod gathering;
mod model;
mod range_deletes;
mod room;
mod spare;
mod support;
mod tails;
mod versions;
