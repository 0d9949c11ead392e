//! A cache-line-blocked Bloom filter: a set of hashes that may say perhaps and never wrongly no.
