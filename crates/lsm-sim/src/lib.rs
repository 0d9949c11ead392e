//! Model, crash and damage testing of the lsm key-value store.
