//! A write-ahead log: opaque payloads in checksummed frames, appended to segments.
