//! What a recorded history is checked against: a map in which every operation happens at one instant.

use porcupine_rs::{CheckResult, Model, Operation};
use std::time::Duration;

/// A value, as its number.
pub(crate) type Number = u32;
/// A key, as its index, with what it holds.
pub(crate) type Held = (usize, Option<Number>);

/// How many keys there are.
pub(crate) const KEYS: usize = 3;
/// A history that takes the checker longer is reported as undecided.
const PATIENCE: Duration = Duration::from_secs(60);

/// One operation with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// These keys held these values.
    Read(Vec<Held>),
    /// Writes that depend on what is there; a plain write expects nothing.
    Write { expected: Vec<Held>, writes: Vec<Held>, outcome: Outcome },
    /// The process was killed, or the power cut.
    Crash,
}

/// What the caller of a write knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was acknowledged.
    Done,
    /// What it expected was not there.
    Refused,
    /// It was under way in a crash: it has happened before, or never will.
    Unknown,
}

/// The map, and whether it has crashed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    values: [Option<Number>; KEYS],
    has_crashed: bool,
}

impl State {
    fn holds(&self, held: &[Held]) -> bool {
        held.iter().all(|(key, value)| self.values[*key] == *value)
    }

    fn with(&self, writes: &[Held]) -> Self {
        let mut state = self.clone();
        for (key, value) in writes {
            state.values[*key] = *value;
        }
        state
    }
}

/// The specification that the checker knows.
#[derive(Clone, Debug)]
pub(crate) struct Map;

impl Model for Map {
    type State = State;
    type Op = Op;
    type Metadata = ();

    fn init() -> State {
        State::default()
    }

    fn step(state: &State, op: &Op) -> (bool, State) {
        match op {
            Op::Read(held) => (state.holds(held), state.clone()),
            Op::Write { expected, writes, outcome } => match outcome {
                Outcome::Done => (state.holds(expected), state.with(writes)),
                Outcome::Refused => (!state.holds(expected), state.clone()),
                Outcome::Unknown if !state.has_crashed && state.holds(expected) => {
                    (true, state.with(writes))
                }
                Outcome::Unknown => (true, state.clone()),
            },
            Op::Crash => (true, State { has_crashed: true, ..state.clone() }),
        }
    }
}

/// An operation with the moments of its call and its return, by one clock for all threads.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) thread: u32,
    pub(crate) called: i64,
    pub(crate) returned: i64,
    pub(crate) op: Op,
}

/// What the checker says of a history that it does not refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Some order of its operations explains every answer.
    Explained,
    /// None was found in time, nor that there is none: too many writes of which nobody knows the outcome
    /// lay beside each other.
    Undecided,
}

/// Looks for an order of the operations that explains every answer.
///
/// # Errors
/// The history, if there is none.
pub(crate) fn check(history: &[Recorded]) -> Result<Verdict, String> {
    let operations: Vec<Operation<Map>> = history
        .iter()
        .map(|recorded| Operation {
            client_id: Some(recorded.thread),
            call_time: recorded.called,
            return_time: recorded.returned,
            op: recorded.op.clone(),
            metadata: None,
        })
        .collect();
    match porcupine_rs::check_operations_timeout(&operations, PATIENCE) {
        CheckResult::Ok => return Ok(Verdict::Explained),
        CheckResult::Unknown => return Ok(Verdict::Undecided),
        CheckResult::Illegal => {}
    }
    let mut ordered: Vec<_> = history.iter().collect();
    ordered.sort_by_key(|recorded| recorded.called);
    let lines = ordered.iter().map(|Recorded { thread, called, returned, op }| {
        format!("\n  thread {thread} [{called:>5}, {returned:>5}] {op:?}")
    });
    Err(format!("no order of its operations explains every answer:{}", lines.collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPLAINED: Result<Verdict, String> = Ok(Verdict::Explained);

    fn read(called: i64, returned: i64, held: &[Held]) -> Recorded {
        Recorded { thread: 1, called, returned, op: Op::Read(held.to_vec()) }
    }

    fn write(called: i64, returned: i64, held: &[Held], outcome: Outcome) -> Recorded {
        let op = Op::Write { expected: Vec::new(), writes: held.to_vec(), outcome };
        Recorded { thread: 0, called, returned, op }
    }

    fn crash(called: i64) -> Recorded {
        Recorded { thread: 2, called, returned: called + 1, op: Op::Crash }
    }

    #[test]
    fn a_read_beside_a_write_sees_either_value_and_a_later_one_the_new() {
        let put = write(1, 10, &[(0, Some(7))], Outcome::Done);
        assert_eq!(check(&[put.clone(), read(2, 3, &[(0, None)])]), EXPLAINED);
        assert_eq!(check(&[put.clone(), read(2, 3, &[(0, Some(7))])]), EXPLAINED);
        assert!(check(&[put, read(11, 12, &[(0, None)])]).is_err());
    }

    #[test]
    fn what_was_seen_never_disappears() {
        let put = write(1, 10, &[(0, Some(7))], Outcome::Done);
        let seen = read(2, 3, &[(0, Some(7))]);
        assert!(check(&[put, seen, read(4, 5, &[(0, None)])]).is_err());
    }

    #[test]
    fn half_a_batch_is_never_seen() {
        let batch = write(1, 10, &[(0, Some(7)), (1, Some(8))], Outcome::Done);
        assert!(check(&[batch, read(2, 3, &[(0, Some(7)), (1, None)])]).is_err());
    }

    #[test]
    fn a_write_under_way_in_a_crash_has_happened_before_it_or_never_does() {
        let unknown = write(1, 30, &[(0, Some(7))], Outcome::Unknown);
        let (lost, kept) = (read(12, 13, &[(0, None)]), read(14, 15, &[(0, Some(7))]));
        assert_eq!(check(&[unknown.clone(), crash(10), lost.clone()]), EXPLAINED);
        assert_eq!(check(&[unknown.clone(), crash(10), kept.clone()]), EXPLAINED);
        assert!(check(&[unknown, crash(10), lost, kept]).is_err());
    }

    #[test]
    fn an_acknowledged_write_is_there_after_a_crash() {
        let put = write(1, 5, &[(0, Some(7))], Outcome::Done);
        assert!(check(&[put, crash(10), read(12, 13, &[(0, None)])]).is_err());
    }
}
