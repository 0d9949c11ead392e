//! libFuzzer in front of one of the targets of lsm-sim: the one that `LSM_FUZZ_TARGET` names. The
//! arguments are libFuzzer's own, so that the name cannot stand among them.

#![no_main]

use std::sync::LazyLock;

use lsm_sim::fuzz::{Target, target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("LSM_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|error| {
        eprintln!("LSM_FUZZ_TARGET: {error}");
        std::process::exit(2);
    })
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
