//! `lsm-sim clean`: the mounts, loop devices, control groups and files of runs that were killed.

use lsm_sim::real::{group, place};

pub(crate) fn run() -> Result<(), String> {
    for removed in place::clean()?.into_iter().chain(group::clean()) {
        println!("removed {}", removed.display());
    }
    Ok(())
}
