//! Versions of an LSM tree made durable as a log of edits.
