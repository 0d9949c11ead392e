//! A crash at every step: a history is run once to count its I/O calls, then once for each call at
//! which the machine can crash; every crash policy is tried on what the disk then holds, and the
//! recovery itself is crashed at each of its calls in turn.

use lsm_engine::Durability;
use lsm_io::{CrashPolicy, SimFs};

use crate::history::History;
use crate::model::Model;
use crate::op::Op;
use crate::world::{Stop, World};

/// What an enumeration did.
#[derive(Clone, Copy, Debug, Default)]
pub struct CrashCount {
    /// I/O calls at which the machine was crashed.
    pub points: u64,
    /// Disks recovered from.
    pub images: u64,
    /// Those of them that crashed in the recovery from a crash.
    pub two_level: u64,
}

impl std::ops::AddAssign for CrashCount {
    fn add_assign(&mut self, other: Self) {
        self.points += other.points;
        self.images += other.images;
        self.two_level += other.two_level;
    }
}

/// How thoroughly to enumerate.
#[derive(Clone, Copy, Debug)]
pub struct Thoroughness {
    /// Crash at every n-th call only.
    pub stride: u64,
    /// Crash each recovery at every n-th of its calls; `None`: not at all.
    pub recovery_stride: Option<u64>,
}

/// Crashes `history` at its I/O calls, under every policy.
///
/// # Errors
/// How a recovery went wrong, with the call and the policy.
pub fn crash_at_every_step(history: &History, how: Thoroughness) -> Result<CrashCount, String> {
    let whole = SimFs::new(history.seed);
    let mut model = Model::default();
    run_until_crash(&whole, history, &mut model)?;
    let steps = whole.steps();
    let mut count = CrashCount::default();
    let mut step = history.seed % how.stride;
    while step < steps {
        count += crash_at(history, step, how)
            .map_err(|wrong| format!("crash at step {step} of {steps}, {wrong}"))?;
        step += how.stride;
    }
    Ok(count)
}

fn crash_at(history: &History, step: u64, how: Thoroughness) -> Result<CrashCount, String> {
    let fs = SimFs::new(history.seed).crash_at(step);
    let mut model = Model::default();
    run_until_crash(&fs, history, &mut model)?;
    let mut count = CrashCount { points: 1, ..CrashCount::default() };
    for policy in CrashPolicy::ALL {
        let seed = history.seed ^ step << 8;
        let image = fs.crash_image(policy, seed);
        let located = |wrong| format!("{policy:?}: {wrong}");
        recover_and_check(&image, history, &model).map_err(located)?;
        count.images += 1;
        if let Some(stride) = how.recovery_stride {
            count += crash_recovery(&fs, policy, seed, history, &model, stride).map_err(located)?;
        }
    }
    Ok(count)
}

/// Crashes the recovery from one image at its own calls, and recovers from that.
fn crash_recovery(
    fs: &SimFs,
    policy: CrashPolicy,
    seed: u64,
    history: &History,
    model: &Model,
    stride: u64,
) -> Result<CrashCount, String> {
    let image = || fs.crash_image(policy, seed);
    let steps = image().count_steps(|fs| {
        let _ = World::open(fs.clone(), history.setup.clone());
    });
    let mut count = CrashCount::default();
    let mut step = seed % stride;
    while step < steps {
        let crashing = image().crash_at(step);
        let _ = World::open(crashing.clone(), history.setup.clone());
        let second = CrashPolicy::ALL[(step % CrashPolicy::ALL.len() as u64) as usize];
        let again = crashing.crash_image(second, seed ^ step);
        recover_and_check(&again, history, model).map_err(|wrong| {
            format!("then crash at step {step} of its recovery, {second:?}: {wrong}")
        })?;
        count.images += 1;
        count.two_level += 1;
        step += stride;
    }
    Ok(count)
}

/// Runs the history until the machine crashes, or to its end.
fn run_until_crash(fs: &SimFs, history: &History, model: &mut Model) -> Result<(), String> {
    let mut world = match World::open(fs.clone(), history.setup.clone()) {
        Ok(world) => world,
        Err(Stop::Crashed) => return Ok(()),
        Err(Stop::Wrong(wrong)) => return Err(wrong),
    };
    for op in &history.ops {
        // The disk may be replaced by its image only by the enumeration itself.
        if matches!(op, Op::Kill | Op::PowerCut(_)) {
            continue;
        }
        match world.apply(op, model) {
            Ok(()) => {}
            Err(Stop::Crashed) => return Ok(()),
            Err(Stop::Wrong(wrong)) => return Err(format!("{op}: {wrong}")),
        }
    }
    Ok(())
}

/// Opens what a crash left and holds it against every promise.
fn recover_and_check(image: &SimFs, history: &History, model: &Model) -> Result<(), String> {
    let wrong = |stop| match stop {
        Stop::Crashed => "the machine crashed again".to_owned(),
        Stop::Wrong(wrong) => wrong,
    };
    let mut model = model.clone();
    // What was acknowledged is there, batches are whole, what survived is a prefix.
    let mut world = World::open(image.clone(), history.setup.clone()).map_err(wrong)?;
    world.found_after_power_cut(&mut model).map_err(wrong)?;
    world.check_files().map_err(wrong)?;
    world.verify().map_err(wrong)?;
    // The database takes writes, keeps them over one more crash, and says the same again.
    let write = vec![(0, 5, Some(77)), (1, 6, Some(78))];
    let write = Op::Write { writes: write, durability: Durability::Disk };
    world.apply(&write, &mut model).map_err(wrong)?;
    let policy = CrashPolicy::ALL[(image.steps() % CrashPolicy::ALL.len() as u64) as usize];
    world.power_cut(policy, history.seed, &mut model).map_err(wrong)?;
    world.check(&model).map_err(wrong)
}

/// Every sequence of up to `length` operations out of a dozen that matter to the disk.
pub fn small_sequences(length: usize) -> Vec<Vec<Op>> {
    let put = |key, value, durability| Op::Write { writes: vec![(0, key, value)], durability };
    let dozen = vec![
        put(5, Some(40), Durability::Disk),
        put(5, Some(41), Durability::Memory),
        put(5, None, Durability::Disk),
        Op::Write {
            writes: vec![(0, 5, Some(42)), (1, 5, Some(43)), (0, 6, None)],
            durability: Durability::Disk,
        },
        Op::Write {
            writes: vec![(1, 6, Some(44)), (0, 7, Some(45))],
            durability: Durability::Memory,
        },
        Op::Flush,
        Op::Compact { keyspace: 0, from: 0, to: 1 },
        Op::Sync,
        Op::Snapshot,
        Op::Background(lsm_engine::Step::Log),
        Op::Policy { keyspace: 0, policy: 1 },
        Op::Reopen,
    ];
    let mut sequences: Vec<Vec<Op>> = vec![Vec::new()];
    let mut longest = sequences.clone();
    for _ in 0..length {
        let extend = |sequence: &Vec<Op>| {
            let sequence = sequence.clone();
            dozen
                .iter()
                .map(move |op| [&sequence[..], std::slice::from_ref(op)].concat())
                .collect::<Vec<_>>()
        };
        longest = longest.iter().flat_map(extend).collect();
        sequences.extend(longest.iter().cloned());
    }
    sequences
}
