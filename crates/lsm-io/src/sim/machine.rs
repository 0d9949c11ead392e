//! The machine around a simulated disk: its lock, its clock of steps, and what is to go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, NodeId};
use super::fault::{Effect, Fault, Operation, Pattern};
use super::hold::HoldState;
use crate::{Error, Result};

/// One machine: everything behind a mutex, which no held call keeps.
pub(super) struct Machine {
    state: Mutex<State>,
    /// Signalled when a hold ends and when a call begins to wait for one.
    holds_changed: Condvar,
}

pub(super) struct State {
    pub(super) disk: Disk,
    pub(super) seed: u64,
    /// The lock files that somebody holds.
    pub(super) locked: BTreeSet<NodeId>,

    pub(super) steps: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) has_crashed: bool,

    pub(super) faults: Vec<Fault>,
    /// Calls that a fault made fail.
    pub(super) struck: u64,
    pub(super) holds: BTreeMap<u64, HoldState>,
    pub(super) next_hold: u64,
    pub(super) limit_bytes: Option<u64>,

    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
    pub(super) opens: Tally,
    pub(super) maps: Tally,
    pub(super) syncs: Tally,
}

/// One call, as faults and error messages see it.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) operation: Operation,
    /// A verb that fits "could not …".
    pub(super) action: &'static str,
    pub(super) path: &'a Path,
    /// The new name of a rename or link.
    pub(super) other_path: Option<&'a Path>,
}

impl<'a> Call<'a> {
    pub(super) fn new(operation: Operation, action: &'static str, path: &'a Path) -> Self {
        Self { operation, action, path, other_path: None }
    }
}

/// How often something was done to each file.
#[derive(Default)]
pub(super) struct Tally(BTreeMap<PathBuf, u64>);

impl Tally {
    pub(super) fn note(&mut self, path: &Path) {
        match self.0.get_mut(path) {
            Some(count) => *count += 1,
            None => drop(self.0.insert(path.to_owned(), 1)),
        }
    }

    pub(super) fn count(&self, pattern: &Pattern) -> u64 {
        self.0.iter().filter(|(path, _)| pattern.matches(path)).map(|(_, count)| count).sum()
    }
}

impl Machine {
    pub(super) fn new(state: State) -> Self {
        Self { state: Mutex::new(state), holds_changed: Condvar::new() }
    }

    /// The state, also after a panic elsewhere: a failing test may still want to look at the disk.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases the lock until a hold ends or gains a caller.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.holds_changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn announce_holds(&self) {
        self.holds_changed.notify_all();
    }

    /// Makes a call: waits where it is held, counts its step, and then does it, or as much of it as
    /// a fault or the crash lets happen.
    pub(super) fn call<R>(
        &self,
        call: Call<'_>,
        act: impl FnOnce(&mut State, Effect) -> io::Result<R>,
    ) -> Result<R> {
        let mut state = self.wait_for_holds(call);
        let outcome = state.carry_out(call, act);
        outcome.map_err(|source| Error::io(call.action, call.path, source))
    }

    fn wait_for_holds(&self, call: Call<'_>) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let mut held_by = Vec::new();
        for (id, hold) in &mut state.holds {
            if hold.calls.strikes(call.operation, [Some(call.path), call.other_path]) {
                hold.waiting += 1;
                held_by.push(*id);
            }
        }
        if !held_by.is_empty() {
            self.announce_holds();
        }
        while held_by.iter().any(|id| state.holds.contains_key(id)) {
            state = self.wait(state);
        }
        state
    }
}

impl State {
    pub(super) fn new(disk: Disk, seed: u64) -> Self {
        Self {
            disk,
            seed,
            locked: BTreeSet::new(),
            steps: 0,
            crash_at: None,
            has_crashed: false,
            faults: Vec::new(),
            struck: 0,
            holds: BTreeMap::new(),
            next_hold: 0,
            limit_bytes: None,
            bytes_read: 0,
            bytes_written: 0,
            opens: Tally::default(),
            maps: Tally::default(),
            syncs: Tally::default(),
        }
    }

    fn carry_out<R>(
        &mut self,
        call: Call<'_>,
        act: impl FnOnce(&mut Self, Effect) -> io::Result<R>,
    ) -> io::Result<R> {
        if self.has_crashed {
            return Err(simulated_crash());
        }
        if call.operation.is_step() {
            let step = self.steps;
            self.steps += 1;
            if self.crash_at.is_some_and(|crash_at| crash_at <= step) {
                self.has_crashed = true;
                if !call.operation.is_sync() {
                    // Nobody will hear whether it went well: the power is off.
                    let _ = act(self, Effect::Whole);
                }
                return Err(simulated_crash());
            }
        }
        match self.strike(call) {
            None => act(self, Effect::Whole),
            Some((Effect::Nothing | Effect::Whole, error)) => Err(error),
            Some((effect, error)) => act(self, effect).and(Err(error)),
        }
    }

    /// The first fault whose turn it is. All that match count the call.
    fn strike(&mut self, call: Call<'_>) -> Option<(Effect, io::Error)> {
        let mut first = None;
        for fault in &mut self.faults {
            let strikes = fault.strikes(call.operation, [Some(call.path), call.other_path]);
            if strikes && first.is_none() {
                first = Some((fault.effect(), fault.error()));
            }
        }
        self.struck += u64::from(first.is_some());
        first
    }

    /// How long a file of this length may grow.
    pub(super) fn length_limit(&self, length: u64) -> u64 {
        match self.limit_bytes {
            Some(limit) => length + limit.saturating_sub(self.disk.used_bytes()),
            None => u64::MAX,
        }
    }

    pub(super) fn reset_counters(&mut self) {
        self.bytes_read = 0;
        self.bytes_written = 0;
        self.opens = Tally::default();
        self.maps = Tally::default();
        self.syncs = Tally::default();
    }
}

fn simulated_crash() -> io::Error {
    io::Error::other("simulated crash")
}
