//! What readers were told is gone because its time is over, and what time a database may begin with after
//! a crash: none at which that would be back, and none that is not there yet.

use crate::data::rank;
use crate::model::Model;
use crate::op::Op;

/// How far ahead of the clock the engine may have said that readers are told of the time.
pub const LEASE_MS: u64 = 200;

impl Model {
    /// An operation was carried out, its answers included.
    pub(crate) fn note_told(&mut self, op: &Op) {
        let (keyspace, ranks) = match op {
            Op::Get { keyspace, key } => (*keyspace, vec![rank(*key)]),
            Op::MultiGet { keyspace, keys } => {
                (*keyspace, keys.iter().map(|key| rank(*key)).collect())
            }
            Op::Scan { keyspace, from, to, .. } => {
                let (from, to) = (rank(*from), rank(*to));
                (*keyspace, (from.min(to)..from.max(to)).collect())
            }
            _ => return,
        };
        let keyspace = usize::from(keyspace);
        let cells = &self.state[keyspace];
        // What may go unasked nobody has to have met.
        let held = ranks.into_iter().filter(|rank| !self.may_go(keyspace, *rank));
        let expiries = held.filter_map(|rank| Some(cells[rank].held()?.expires_at_ms));
        let over = expiries.filter(|expires_at_ms| *expires_at_ms <= self.time_ms);
        self.told_ms = over.fold(self.told_ms, u64::max);
    }

    /// Judges the time with which a database begins after a crash; `clock_ms` is what the clock shows
    /// then, and it may have been waited for.
    ///
    /// # Errors
    /// What a reader was told is gone would be back, or something would be gone too early.
    pub(crate) fn check_time_after_crash(&self, time_ms: u64, clock_ms: u64) -> Result<(), String> {
        let was_set_back = self.clock_ms < self.time_ms;
        let latest_ms = if was_set_back { self.time_ms + LEASE_MS } else { 0 };
        if time_ms > latest_ms.max(clock_ms) || time_ms < clock_ms {
            return Err(format!(
                "database time is {time_ms} and was {}; the clock shows {clock_ms}",
                self.time_ms
            ));
        }
        if time_ms < self.told_ms {
            return Err(format!(
                "database time is {time_ms}, and a reader was told what expired at {}",
                self.told_ms
            ));
        }
        Ok(())
    }
}
