//! A sorted map in memory whose readers never wait.
