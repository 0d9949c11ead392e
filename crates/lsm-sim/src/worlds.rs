//! One history in several worlds: beside the model, the engine on a simulated disk under several
//! setups, and the engine on the real disk. Each world agrees with the model, and what their reads
//! answer is the same to the byte.

use lsm_io::SimFs;
use lsm_workload::Rng;

use crate::draw::Mix;
use crate::history::{History, caught};
use crate::op::Op;
use crate::place::Place;
use crate::setup::Setup;
use crate::world::World;

/// Setups under which each history runs on the simulated disk; the first is its own.
pub const SETUPS: u64 = 4;

/// The history of a seed for several worlds. What a crash leaves depends on the world, and so does when
/// merges remove what: neither is in it.
pub fn history(seed: u64, length: usize) -> History {
    let mut history = History::drawn(seed, Mix::Short, length);
    for op in &mut history.ops {
        match op {
            op if op.is_crash() => *op = Op::Reopen,
            Op::Create { choice, .. } | Op::SetOptions { choice, .. } => {
                *choice = choice.keeping_all();
            }
            _ => {}
        }
    }
    history
}

/// Runs a history in all worlds. Returns in how many.
///
/// # Errors
/// The world that disagrees with the model, or with the first world.
pub fn check_worlds(history: &History) -> Result<u64, String> {
    let mut rng = Rng::new(history.seed ^ 0x5E70);
    let mut first = None;
    for number in 0..SETUPS {
        let setup = if number == 0 { history.setup.clone() } else { Setup::random(&mut rng) };
        let place = || Ok(Place::Simulated(SimFs::new(history.seed)));
        compare(history, &setup, place, &mut first)?;
    }
    compare(history, &history.setup, Place::real, &mut first)?;
    Ok(SETUPS + 1)
}

fn compare(
    history: &History,
    setup: &Setup,
    place: impl Fn() -> Result<Place, String>,
    first: &mut Option<u64>,
) -> Result<(), String> {
    // What the default keyspace begins with is the history's: it is part of what is read back.
    let setup = Setup { choice: history.setup.choice, ..setup.clone() };
    let history = History { setup: setup.clone(), ..history.clone() };
    let run = || history.run_on(place()?, World::keep_transcript);
    let world = caught(run).map_err(|wrong| format!("under {setup:?}: {wrong}"))?;
    let answers = world.transcript();
    if *first.get_or_insert(answers) == answers {
        return Ok(());
    }
    Err(format!("under {setup:?} on {:?} reads answer otherwise", world.place))
}
