//! Seeded operation streams and key distributions for tests and benchmarks.
