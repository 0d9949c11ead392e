//! Crash-tests three ways of saving a counter, at every step and under every kind of power cut, and
//! prints which of them lose what was acknowledged.
//!
//! Run with `cargo run --example saving_a_file`.

use std::path::Path;

use lsm_io::{CrashPolicy, Error, Fs, OpenMode, Result, SimFs};

const DIR: &str = "app";
const SAVED: &str = "app/counter";
const TEMP: &str = "app/counter.tmp";
const SAVES: u64 = 4;
const SEEDS: u64 = 8;

/// How a counter is saved; the last two forget something.
#[derive(Clone, Copy, Debug)]
enum Way {
    Careful,
    WithoutFileSync,
    WithoutDirSync,
}

/// Writes the counter beside the old one, and then puts it in its place.
fn save(fs: &SimFs, counter: u64, way: Way) -> Result<()> {
    if fs.exists(Path::new(TEMP))? {
        fs.remove_file(Path::new(TEMP))?;
    }
    let file = fs.open(Path::new(TEMP), OpenMode::CreateNew)?;
    file.write_at(0, &counter.to_le_bytes())?;
    if !matches!(way, Way::WithoutFileSync) {
        // Order: the bytes are durable before the name that promises them.
        file.sync()?;
    }
    fs.rename(Path::new(TEMP), Path::new(SAVED))?;
    if !matches!(way, Way::WithoutDirSync) {
        // Order: the name is durable before the caller is told so.
        fs.sync_dir(Path::new(DIR))?;
    }
    Ok(())
}

fn load(fs: &SimFs) -> Result<u64> {
    if !fs.exists(Path::new(SAVED))? {
        return Ok(0);
    }
    let file = fs.open(Path::new(SAVED), OpenMode::Read)?;
    let mut bytes = [0; 8];
    file.read_at(0, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Saves 1, 2, 3, ... until the machine crashes; the answer is the last save that was acknowledged.
fn save_many(fs: &SimFs, way: Way) -> u64 {
    (1..=SAVES).take_while(|&counter| save(fs, counter, way).is_ok()).last().unwrap_or(0)
}

/// The directory is there, durably, before anything happens.
fn fresh_disk() -> Result<SimFs> {
    let fs = SimFs::new(0);
    fs.create_dir_all(Path::new(DIR))?;
    fs.sync_dir(Path::new(""))?;
    Ok(fs)
}

/// What is wrong with what the program finds after the crash, if anything.
fn complaint(found: Result<u64>, acknowledged: u64) -> Option<String> {
    match found {
        // The save that the crash interrupted may have gone through or not.
        Ok(counter) if counter == acknowledged || counter == acknowledged + 1 => None,
        Ok(counter) => Some(format!("{acknowledged} was acknowledged, {counter} was found")),
        Err(Error::Io { source, .. }) => Some(format!("the file cannot be read: {source}")),
        Err(error) => Some(error.to_string()),
    }
}

fn main() -> Result<()> {
    for way in [Way::Careful, Way::WithoutFileSync, Way::WithoutDirSync] {
        let mut crashes = 0;
        let mut complaints = Vec::new();
        let steps = fresh_disk()?.count_steps(|fs| save_many(fs, way));
        for step in 0..steps {
            let fs = fresh_disk()?;
            let fs = fs.crash_at(fs.steps() + step);
            let acknowledged = save_many(&fs, way);
            for policy in CrashPolicy::ALL {
                for seed in 0..SEEDS {
                    crashes += 1;
                    let after = fs.crash_image(policy, seed);
                    if let Some(complaint) = complaint(load(&after), acknowledged) {
                        complaints.push(format!("step {step}, {policy}: {complaint}"));
                    }
                }
            }
        }
        println!("{way:?}: {} of {crashes} crashes lost something", complaints.len());
        if let Some(first) = complaints.first() {
            println!("  the first, at {first}");
        }
        // The example is its own test: care pays, and each mistake is found.
        assert_eq!(complaints.is_empty(), matches!(way, Way::Careful));
    }
    Ok(())
}
