//! The command line of the lsm key-value store.
fn main() {}
