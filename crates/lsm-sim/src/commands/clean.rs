//! `lsm-sim clean`: the mounts, loop devices and files of runs that were killed.

use lsm_sim::real::place;

pub(crate) fn run() -> Result<(), String> {
    for removed in place::clean()? {
        println!("removed {}", removed.display());
    }
    Ok(())
}
