//! An embedded, crash-safe, ordered key-value store on a log-structured merge tree.
