//! A crash at every step: a history is run once to count its I/O calls, then once for each call at
//! which the machine can crash; every crash policy is tried on what the disk then holds, and the
//! recovery itself is crashed at each of its calls in turn.

use std::cell::RefCell;
use std::collections::BTreeMap;

use lsm_engine::Durability;
use lsm_io::{CrashPolicy, SimFs};

use crate::data::{KEYSPACES, Write};
use crate::history::{CrashPoint, History, caught};
use crate::model::Model;
use crate::op::Op;
use crate::oracle::Files;
use crate::place::Place;
use crate::setup::POLICIES;
use crate::told::LEASE_MS;
use crate::world::{Stop, World};

/// Crashes that are tried, at most, to see whether a shorter history fails too.
const SHRINKING_POINTS: u64 = 20_000;

/// What an enumeration did.
#[derive(Clone, Debug, Default)]
pub struct CrashCount {
    /// I/O calls at which the machine was crashed.
    pub points: u64,
    /// Disks recovered from.
    pub images: u64,
    /// Those of them that crashed in the recovery from a crash.
    pub two_level: u64,
    /// Images by what they were images of.
    pub by: BTreeMap<String, u64>,
}

impl CrashCount {
    fn note(&mut self, name: String, images: u64) {
        *self.by.entry(name).or_default() += images;
    }

    /// What no image was of, of all that there should be images of.
    pub fn missing(&self) -> Vec<String> {
        let is_missing = |name: &String| self.by.get(name).copied().unwrap_or(0) == 0;
        dimensions().into_iter().filter(is_missing).collect()
    }
}

impl std::ops::AddAssign for CrashCount {
    fn add_assign(&mut self, other: Self) {
        self.points += other.points;
        self.images += other.images;
        self.two_level += other.two_level;
        other.by.into_iter().for_each(|(name, images)| self.note(name, images));
    }
}

/// All that an enumeration must have images of.
fn dimensions() -> Vec<String> {
    let words = "compression.none compression.lz4 compression.zstd tables.with_filters \
                 tables.without_filters values.apart values.beside_keys deletes.limited \
                 deletes.dense reads.mapped reads.cached log.mapped log.written \
                 memory.tight memory.ample log.group_in_flight log.recycled \
                 keyspaces.several keyspaces.dropped checkpoints.made exports.made \
                 snapshots.held scans.under_way reader.beside changes.followed \
                 values.expired values.filtered values.filtered_away values.evicted \
                 during.open during.put during.delete during.delete_range during.merge \
                 during.ingest during.sweep during.export during.ingest_tables \
                 during.transact during.put_if during.batch during.write_ttl \
                 during.write_async during.wait during.wait_durable during.flush \
                 during.compact during.background during.sync during.create during.drop \
                 during.set_options during.checkpoint during.reopen";
    let policies = POLICIES.iter().map(|policy| format!("policy.{policy}"));
    let cuts = CrashPolicy::ALL.into_iter().map(cut_name);
    words.split_whitespace().map(str::to_owned).chain(policies).chain(cuts).collect()
}

/// The name under which images of a crash policy count.
fn cut_name(policy: CrashPolicy) -> String {
    let mut name = String::from("cut");
    for letter in format!("{policy:?}").chars() {
        if letter.is_ascii_uppercase() {
            name.push(if name == "cut" { '.' } else { '_' });
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// How thoroughly to enumerate.
#[derive(Clone, Copy, Debug)]
pub struct Thoroughness {
    /// The operations from this one on are crashed.
    pub from_op: usize,
    /// Crash at every n-th call only.
    pub stride: u64,
    /// Crash each recovery at every n-th of its calls; `None`: not at all.
    pub recovery_stride: Option<u64>,
    /// Under so many of the policies, others at each call, the recovery is crashed too.
    pub recovery_policies: usize,
}

/// A crash after which something was wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The history, with its crash.
    pub history: History,
    /// What was wrong.
    pub wrong: String,
}

/// Crashes `history` at its I/O calls, under every policy.
///
/// # Errors
/// The crash after which something was wrong.
pub fn crash_at_every_step(
    history: &History,
    how: Thoroughness,
) -> Result<CrashCount, Box<Failure>> {
    let failed =
        |crash, wrong| Box::new(Failure { history: History { crash, ..history.clone() }, wrong });
    let (first, end) =
        caught(|| steps(history, how.from_op)).map_err(|wrong| failed(None, wrong))?;
    let mut count = CrashCount::default();
    let mut step = first + history.seed % how.stride;
    while step < end {
        // Known to whoever catches a panic.
        let at = RefCell::new(None);
        count += caught(|| crash_at(history, step, how, &at))
            .map_err(|wrong| failed(at.take(), wrong))?;
        step += how.stride;
    }
    Ok(count)
}

/// The I/O calls that the operations from a certain one on make.
fn steps(history: &History, from_op: usize) -> Result<(u64, u64), String> {
    let fs = SimFs::new(history.seed);
    let mut first = 0;
    run_until_crash(&fs, history, |index, _| {
        if index == Some(from_op) && from_op > 0 {
            first = fs.steps();
        }
    })?;
    Ok((first, fs.steps()))
}

fn crash_at(
    history: &History,
    step: u64,
    how: Thoroughness,
    at: &RefCell<Option<CrashPoint>>,
) -> Result<CrashCount, String> {
    let fs = SimFs::new(history.seed).crash_at(step);
    let mut during = "open";
    let (model, mut scene) = run_until_crash(&fs, history, |_, op| {
        if !fs.has_crashed() {
            during = op.map_or("open", Op::name);
        }
    })?;
    scene.push(format!("during.{during}"));
    let mut count = CrashCount { points: 1, ..CrashCount::default() };
    // Those under which the recovery is crashed too take turns.
    let first = (history.seed ^ step) as usize % CrashPolicy::ALL.len();
    for turn in 0..CrashPolicy::ALL.len() {
        let policy = CrashPolicy::ALL[(first + turn) % CrashPolicy::ALL.len()];
        let point = CrashPoint { step, policy, seed: history.seed ^ step << 8, then: None };
        at.replace(Some(point));
        recover_and_check(&fs.crash_image(policy, point.seed), point, history, &model)?;
        let mut images = 1;
        if let Some(stride) = how.recovery_stride.filter(|_| turn < how.recovery_policies) {
            let two_level = crash_recovery(&fs, point, history, &model, stride, at)?;
            count.two_level += two_level;
            images += two_level;
        }
        count.images += images;
        count.note(cut_name(policy), images);
    }
    let images = count.images;
    scene.into_iter().for_each(|name| count.note(name, images));
    Ok(count)
}

/// Crashes the recovery from one image at its own calls, and recovers from that. Returns how often.
fn crash_recovery(
    fs: &SimFs,
    point: CrashPoint,
    history: &History,
    model: &Model,
    stride: u64,
    at: &RefCell<Option<CrashPoint>>,
) -> Result<u64, String> {
    let steps = recovery_steps(fs, point, history);
    let mut images = 0;
    let mut step = (point.seed ^ point.step) % stride;
    while step < steps {
        let policy =
            CrashPolicy::ALL[((point.seed ^ step) % CrashPolicy::ALL.len() as u64) as usize];
        let point = CrashPoint { then: Some((step, policy)), ..point };
        at.replace(Some(point));
        recover_and_check(&second_image(fs, point, history), point, history, model)?;
        images += 1;
        step += stride;
    }
    Ok(images)
}

/// How many I/O calls the recovery from an image makes, and the close after it.
fn recovery_steps(fs: &SimFs, point: CrashPoint, history: &History) -> u64 {
    fs.crash_image(point.policy, point.seed).count_steps(|fs| {
        let _ = World::open(Place::Simulated(fs.clone()), history.setup.clone());
    })
}

/// What the disk holds once the recovery has crashed as well, if it does.
fn second_image(fs: &SimFs, point: CrashPoint, history: &History) -> SimFs {
    let first = fs.crash_image(point.policy, point.seed);
    let Some((step, policy)) = point.then else { return first };
    let crashing = first.crash_at(step);
    let _ = World::open(Place::Simulated(crashing.clone()), history.setup.clone());
    crashing.crash_image(policy, point.seed ^ step)
}

/// One crash of a history, again.
///
/// # Errors
/// What is wrong after it.
pub fn check_point(history: &History, point: CrashPoint) -> Result<(), String> {
    let fs = SimFs::new(history.seed).crash_at(point.step);
    let (model, _) = run_until_crash(&fs, history, |_, _| {})?;
    recover_and_check(&second_image(&fs, point, history), point, history, &model)
        .map_err(|wrong| format!("{point}: {wrong}"))
}

/// Runs the history until the machine crashes, or to its end; `before` is told of each operation.
/// Returns what is promised then, and under which names an image of the disk counts.
fn run_until_crash(
    fs: &SimFs,
    history: &History,
    mut before: impl FnMut(Option<usize>, Option<&Op>),
) -> Result<(Model, Vec<String>), String> {
    let mut model = Model::new(history.setup.choice);
    before(None, None);
    let mut world = match World::open(Place::Simulated(fs.clone()), history.setup.clone()) {
        Ok(world) => world,
        Err(Stop::Crashed) => return Ok((model, history.setup.names())),
        Err(Stop::Wrong(wrong)) => return Err(wrong),
    };
    for (index, op) in history.ops.iter().enumerate() {
        // The disk may be replaced by its image only by the enumeration itself.
        if op.is_crash() {
            continue;
        }
        before(Some(index), Some(op));
        match world.apply(op, &mut model) {
            Ok(()) => {}
            Err(Stop::Crashed) => break,
            Err(Stop::Wrong(wrong)) => return Err(wrong),
        }
    }
    let scene = world.scene(&model);
    // Else the handles would close the database as they are dropped.
    let steps = fs.steps();
    if !fs.has_crashed() {
        fs.crash_at(steps);
    }
    Ok((model, scene))
}

/// Opens what a crash left and holds it against every promise.
fn recover_and_check(
    image: &SimFs,
    point: CrashPoint,
    history: &History,
    model: &Model,
) -> Result<(), String> {
    let mut model = model.clone();
    check_recovered(image, point, history, &mut model).map_err(|stop| match stop {
        Stop::Crashed => "the machine crashed again".to_owned(),
        Stop::Wrong(wrong) => wrong,
    })
}

fn check_recovered(
    image: &SimFs,
    point: CrashPoint,
    history: &History,
    model: &mut Model,
) -> Result<(), Stop> {
    model.clock_ms -= point.clock_set_back_ms();
    // A first recovery may have waited for the clock, or gone on without it where it was set back.
    let waited_ms = if point.then.is_some() { LEASE_MS } else { 0 };
    // What was acknowledged is there, batches are whole, what survived is a prefix; no file is left
    // over or missing; everything is whole.
    let place = Place::Simulated(image.clone());
    let clock_ms = model.clock_ms + waited_ms;
    let mut world = World::open_at(clock_ms, place, history.setup.clone())?;
    world.survived(model, true)?;
    world.check_files(Files::JustOpened)?;
    world.verify()?;
    let steps = image.steps();
    let policy = |n: u64| CrashPolicy::ALL[((steps + n) % CrashPolicy::ALL.len() as u64) as usize];
    // A second crash, now that the recovery is done, finds the same and rewrites nothing.
    if steps.is_multiple_of(2) {
        world.power_cut(policy(3), history.seed, model)?;
        world.check_nothing_rewritten()?;
        world.check_files(Files::JustOpened)?;
    }
    // The database takes writes, and keeps them over one more crash.
    let present = (0..KEYSPACES).filter(|number| model.has(*number));
    let writes: Vec<Write> = present.map(|number| (number, 5, Some(77))).collect();
    world.apply(&Op::Write { writes, durability: Durability::Disk }, model)?;
    world.power_cut(policy(0), history.seed, model)?;
    // It closes, and is found as it was closed.
    if !steps.is_multiple_of(2) {
        world.apply(&Op::Reopen, model)?;
        world.check_files(Files::JustOpened)?;
    }
    world.place.freeze();
    Ok(())
}

/// A history as short as it can be that fails after a crash of the same kind, with its crash.
pub fn shrink(failure: &History) -> History {
    let shortest = RefCell::new(failure.clone());
    failure.shrink(|candidate| match first_failure(candidate) {
        Some(point) => {
            shortest.replace(History { crash: Some(point), ..candidate.clone() });
            true
        }
        None => false,
    });
    shortest.into_inner()
}

/// The first crash under the policy of the history's own after which something is wrong.
fn first_failure(history: &History) -> Option<CrashPoint> {
    let like = history.crash?;
    let (_, end) = caught(|| steps(history, 0)).ok()?;
    let mut tried = 0;
    for step in 0..end {
        let point = CrashPoint { step, then: None, ..like };
        let seconds = match like.then {
            None => 0..1,
            Some(_) => {
                let fs = SimFs::new(history.seed).crash_at(step);
                caught(|| run_until_crash(&fs, history, |_, _| {})).ok()?;
                0..recovery_steps(&fs, point, history)
            }
        };
        for second in seconds {
            let then = like.then.map(|(_, policy)| (second, policy));
            let point = CrashPoint { then, ..point };
            if caught(|| check_point(history, point)).is_err() {
                return Some(point);
            }
            tried += 1;
            if tried == SHRINKING_POINTS {
                return None;
            }
        }
    }
    None
}
