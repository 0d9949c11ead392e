//! Runs every harness, piece by piece, until the goals of `torture/harness.rs` are reached or time
//! is up; what each piece counted goes into a ledger, so that runs over one state of the code add up.
//!
//! The harness that has the least left to do goes first, so that a run which ends early leaves few
//! goals open. Harnesses that wait for disks and processes run beside those that compute, by workers
//! of their own. A piece takes about a minute and owns a range of seeds that no other piece has had;
//! interrupting a run loses the pieces under way and nothing else. The first finding ends the run:
//! figures of a state of the code that is known to be wrong are worth nothing.
//!
//! To see which harnesses there are and what they are to reach, open `harness.rs`; what is kept of a
//! piece, `ledger.rs`; how one is run, `piece.rs`; the table that comes of it, `report.rs` and
//! `page.rs`; what "one state of the code" means, `source.rs`.

mod harness;
mod ledger;
mod page;
mod piece;
mod report;
mod source;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::Result;
use crate::torture::harness::Harness;
use crate::torture::ledger::{Entry, Ledger};
use crate::torture::piece::{Outcome, Programs};
use crate::torture::source::Source;
use crate::workspace::Workspace;

/// What to torture with, and for how long.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Minutes to go on; without it, until every goal is reached
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// The harnesses to run, by name or by the first word of it; all of them if none is named
    #[arg(long, value_name = "HARNESS")]
    only: Vec<String>,
    /// Pieces that compute under way at once, with as many beside them that wait for disks; 1 if the
    /// machine has other work
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Count although code is changed and not committed; the ledger and the report say so
    #[arg(long)]
    dirty: bool,
    /// Print what the ledger holds of this state of the code, in Markdown, and run nothing
    #[arg(long)]
    report: bool,
    /// With --report: write it into docs/fault-model.md instead, between its markers
    #[arg(long, requires = "report")]
    write: bool,
}

/// Runs or reports; `false` when a piece failed, now or earlier over the same code.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let target = Workspace::read()?.target_directory;
    let ledger = Ledger::at(target.join("torture/ledger.jsonl"));
    let harnesses = harness::all();
    let source = Source::read()?;
    if arguments.report {
        let entries = ledger.read()?;
        let of_source: Vec<_> = source.select(&entries, arguments.dirty).collect();
        let text = report::markdown(&source, &harnesses, &of_source);
        if arguments.write {
            page::write(&text)?;
        } else {
            print!("{text}");
        }
        return Ok(of_source.iter().all(|entry| entry.failure.is_none()));
    }
    if source.is_dirty && !arguments.dirty {
        return Err(
            "code is changed and not committed: figures would belong to no commit; commit \
                    it, or say --dirty"
                .into(),
        );
    }
    let chosen = choose(harnesses, &arguments.only)?;
    ledger.cut_interrupted_line()?;
    let programs = Programs::build(&target)?;
    let run = Run {
        // Building is not torture.
        until: arguments.minutes.map(|m| Instant::now() + Duration::from_secs_f64(m * 60.0)),
        state: Mutex::new(State::new(&source, &chosen, &ledger.read()?)),
        programs,
        harnesses: chosen,
        ledger,
        source,
    };
    run.work_in_threads(arguments.jobs)
}

/// The harnesses that `only` names, or all.
fn choose(harnesses: Vec<Harness>, only: &[String]) -> Result<Vec<Harness>> {
    for name in only {
        if !harnesses.iter().any(|harness| harness.is_called(name)) {
            let known: Vec<_> = harnesses.iter().map(|harness| harness.name.as_str()).collect();
            return Err(format!("no harness `{name}`; there are {}", known.join(", ")).into());
        }
    }
    let is_chosen = |h: &Harness| only.is_empty() || only.iter().any(|name| h.is_called(name));
    Ok(harnesses.into_iter().filter(is_chosen).collect())
}

/// A run of several workers.
struct Run {
    source: Source,
    harnesses: Vec<Harness>,
    programs: Programs,
    ledger: Ledger,
    until: Option<Instant>,
    state: Mutex<State>,
}

/// What the workers share: what is reached, and what is under way.
struct State {
    /// Entries over this state of the code, by harness.
    entries: BTreeMap<String, Vec<Entry>>,
    next_seed: BTreeMap<String, u64>,
    under_way: BTreeMap<String, usize>,
    /// Harnesses that this machine cannot run.
    skipped: Vec<String>,
    /// A harness found something: what the others count would have to be counted again.
    has_failed: bool,
}

/// What a worker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    /// For what keeps a core busy; for the rest when there is no more of that.
    Computes,
    /// For what leaves it to others most of the time.
    Waits,
}

/// What a worker is to do next.
struct Assignment<'a> {
    harness: &'a Harness,
    seed: u64,
}

impl Run {
    fn work_in_threads(&self, count: usize) -> Result<bool> {
        let work = |worker| self.work(worker).map_err(|error| error.to_string());
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..count.max(1))
                .flat_map(|_| [Worker::Computes, Worker::Waits])
                .map(|worker| scope.spawn(move || work(worker)))
                .collect();
            let mut held = true;
            for worker in workers {
                held &= worker.join().expect("no worker panics")?;
            }
            Ok(held)
        })
    }

    /// One worker: piece after piece. Returns whether everything held.
    fn work(&self, worker: Worker) -> Result<bool> {
        let mut held = true;
        while let Some(Assignment { harness, seed }) = self.next(worker) {
            if Source::read()? != self.source {
                return Err("code was changed under the run; start it again".into());
            }
            let finished = match piece::run(harness, seed, &self.programs)? {
                Outcome::Finished(finished) => finished,
                Outcome::Skipped(reason) => {
                    self.skipped(harness, &reason);
                    continue;
                }
            };
            let entry = Entry::new(&self.source, harness, seed, finished);
            held &= entry.failure.is_none();
            self.ledger.append(&entry)?;
            self.finished(harness, entry);
        }
        Ok(held)
    }

    /// The harness that has the least left to do, of those that may be begun now and are this worker's;
    /// once all goals are reached, the one that is the least beyond its own.
    fn next(&self, worker: Worker) -> Option<Assignment<'_>> {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return None;
        }
        let mut state = self.state.lock().expect("no worker panics");
        if state.has_failed {
            return None;
        }
        let rank = |harness: &'_ Harness| {
            let share = harness.goal.share_reached(state.entries_of(harness));
            let is_others = harness.waits && worker == Worker::Computes;
            (share >= 1.0, is_others, harness.minutes_left(share), share)
        };
        let may_take = |harness: &&Harness| {
            state.may_begin(harness) && (harness.waits || worker == Worker::Computes)
        };
        let candidates =
            self.harnesses.iter().filter(may_take).map(|harness| (harness, rank(harness)));
        let (harness, (is_reached, ..)) =
            candidates.min_by(|(_, one), (_, other)| one.partial_cmp(other).expect("numbers"))?;
        // Whoever gave the time wants it used, but not taken from those that compute towards their
        // goals; whoever did not wants the goals.
        if is_reached && (self.until.is_none() || worker == Worker::Waits) {
            return None;
        }
        let seed = state.begin(harness);
        Some(Assignment { harness, seed })
    }

    fn skipped(&self, harness: &Harness, reason: &str) {
        let mut state = self.state.lock().expect("no worker panics");
        println!("SKIPPED  {}: {reason}", harness.name);
        *state.under_way.entry(harness.name.clone()).or_default() -= 1;
        state.skipped.push(harness.name.clone());
    }

    fn finished(&self, harness: &Harness, entry: Entry) {
        let mut state = self.state.lock().expect("no worker panics");
        let name = &harness.name;
        if let Some(failure) = &entry.failure {
            println!("FAILED  {name}: {failure}\nnothing more is begun; mend it, and start again");
            state.has_failed = true;
        }
        let seconds = entry.seconds;
        *state.under_way.entry(name.clone()).or_default() -= 1;
        state.entries.entry(name.clone()).or_default().push(entry);
        let reached = harness.goal.describe(state.entries_of(harness));
        println!("{name:<24}{seconds:>6.1} s   {reached}");
    }
}

impl State {
    fn new(source: &Source, harnesses: &[Harness], entries: &[Entry]) -> Self {
        let mut state = Self {
            entries: BTreeMap::new(),
            next_seed: BTreeMap::new(),
            under_way: BTreeMap::new(),
            skipped: Vec::new(),
            has_failed: false,
        };
        for harness in harnesses {
            // Over other states of the code too: seeds that were tried once are tried no more.
            let of_harness = || entries.iter().filter(|entry| entry.harness == harness.name);
            let next = of_harness().map(|entry| entry.seed_to + 1).max().unwrap_or(0);
            state.next_seed.insert(harness.name.clone(), next);
        }
        for entry in source.select(entries, source.is_dirty) {
            state.entries.entry(entry.harness.clone()).or_default().push(entry.clone());
        }
        state
    }

    fn entries_of(&self, harness: &Harness) -> &[Entry] {
        self.entries.get(&harness.name).map_or(&[], Vec::as_slice)
    }

    fn may_begin(&self, harness: &Harness) -> bool {
        let under_way = self.under_way.get(&harness.name).copied().unwrap_or(0);
        let is_free = under_way == 0 || !harness.is_alone;
        is_free && !self.skipped.contains(&harness.name)
    }

    /// Takes the next seeds for a piece.
    fn begin(&mut self, harness: &Harness) -> u64 {
        *self.under_way.entry(harness.name.clone()).or_default() += 1;
        let next = self.next_seed.entry(harness.name.clone()).or_default();
        let seed = *next;
        *next += harness.seeds_a_piece;
        seed
    }
}

#[cfg(test)]
mod tests;
