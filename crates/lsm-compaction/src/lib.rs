//! Which tables of an LSM tree to merge and which entries survive: no I/O, no threads.
