//! A manifest on a simulated disk: the power is cut at each of its calls, and each time either the
//! edit before or the edit after is found, whole.
//!
//! `cargo run -p lsm-manifest --example power_cuts`

use std::collections::BTreeMap;
use std::path::Path;

use lsm_io::{CrashPolicy, Result, SimFs};
use lsm_manifest::{Manifest, ManifestEdit, ManifestState};

const NAMES: [&str; 4] = ["users", "orders", "events", "sessions"];

fn main() -> Result<()> {
    let steps = SimFs::new(0).count_steps(|fs| {
        let _ = create_keyspaces(fs, &mut 0);
    });
    let mut found = BTreeMap::new();
    for step in 0..steps {
        for policy in CrashPolicy::ALL {
            let fs = SimFs::new(step).crash_at(step);
            let mut acknowledged = 0;
            let _ = create_keyspaces(&fs, &mut acknowledged);
            let count = keyspaces(&fs.crash_image(policy, step))?;
            assert!(count >= acknowledged, "{policy} at call {step}: an edit is lost");
            *found.entry((acknowledged, count)).or_insert(0) += 1;
        }
    }
    println!("{steps} calls, the power cut at each in {} ways", CrashPolicy::ALL.len());
    println!("{:>13} {:>6} {:>6}", "acknowledged", "found", "times");
    for ((acknowledged, count), times) in found {
        println!("{acknowledged:>13} {count:>6} {times:>6}");
    }
    Ok(())
}

/// Creates one keyspace after the other, counting those of which it was told that they are durable.
fn create_keyspaces(fs: &SimFs, acknowledged: &mut usize) -> Result<()> {
    let mut manifest = Manifest::start(&fs.shared(), Path::new(""), 1, ManifestState::new(7))?;
    for (id, name) in (0..).zip(NAMES) {
        let create = (id, name.to_owned(), String::new(), 0);
        manifest.append(ManifestEdit { create_keyspaces: vec![create], ..Default::default() })?;
        *acknowledged += 1;
    }
    manifest.close()
}

/// How many keyspaces the manifest names; none if there is no manifest yet.
fn keyspaces(fs: &SimFs) -> Result<usize> {
    match Manifest::read(&fs.shared(), Path::new("")) {
        Ok(read) => Ok(read.state.keyspaces.len()),
        Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => Ok(0),
        Err(error) => Err(error),
    }
}
