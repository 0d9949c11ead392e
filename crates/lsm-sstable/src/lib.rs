//! One immutable sorted file: written once, sought in for ever.
