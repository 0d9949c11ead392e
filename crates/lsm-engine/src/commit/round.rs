//! One round: take what the log has buffered, write it, sync it, and publish what is durable by then.

use lsm_entry::SeqNo;
use lsm_wal::{Pending, PendingWrite};

use super::{Commit, Order};
use crate::options::Durability;
use crate::spans::span;
use crate::sync::Instant;
use crate::sync::atomic::Ordering;

impl Commit {
    /// Leads one round, unless somebody leads already: then the buffer is in good hands.
    pub(crate) fn try_write_out(&self) {
        if self.take_lead() {
            self.lead();
        }
    }

    /// One round: take, write, sync, publish, hand over.
    pub(super) fn lead(&self) {
        if let Err(error) = self.round() {
            self.poison_with(error);
        }
        self.hand_over();
    }

    fn round(&self) -> lsm_io::Result<()> {
        span!(TRACE, "commit");
        if self.wants_sync() {
            self.pace.gather();
        }
        let (mut pending, through, sync) = {
            let mut order = self.lock_order();
            let durable = self.durable();
            let sync = self.wants_sync();
            if sync {
                self.pace.take();
            }
            let through = order.log().next_seq_no() - 1;
            if sync && durable > order.marked {
                // What is stored whole stays so: else the mark would have to be written, and nobody
                // could store anything meanwhile.
                let is_stored = order.log().buffered_bytes() == 0;
                self.append_mark(&mut order, durable);
                if is_stored {
                    self.store(&mut order, through)?;
                }
            }
            let kind = if sync { Pending::Sync } else { Pending::Write };
            (order.log().take_pending(kind), through, sync)
        };
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.log_bytes.fetch_add(pending.bytes() as u64, Ordering::Relaxed);
        pending.write()?;
        self.note_written(&mut pending, through)?;
        if sync {
            self.syncs.fetch_add(1, Ordering::Relaxed);
            let begun = Instant::now();
            pending.sync()?;
            let took = begun.elapsed();
            self.pace.note_sync(took);
            self.sync_times.record(took);
            // Order: durable before visible. A reader must never see what a power cut can take.
            self.durable.store(through, Ordering::Release);
            self.publish(&mut self.lock_order());
            self.followers.call();
        }
        Ok(())
    }

    /// A round has written what it took. Whoever does not wait for its sync goes on.
    fn note_written(&self, pending: &mut PendingWrite, through: SeqNo) -> lsm_io::Result<()> {
        let mut order = self.lock_order();
        order.log().note_written(pending);
        // Later commits may have been stored meanwhile.
        self.written.fetch_max(through, Ordering::AcqRel);
        if order.unmet.iter().all(|unmet| unmet.need == Durability::Disk) {
            return Ok(());
        }
        // Those that came while it wrote could not be stored, and would wait for the next round.
        let last = order.log().next_seq_no() - 1;
        self.store(&mut order, last)?;
        self.publish(&mut order);
        drop(order);
        self.wake_reached();
        Ok(())
    }

    /// Moves `visible` over every commit whose need is met, in order, up to one that is held back.
    pub(super) fn publish(&self, order: &mut Order) {
        let (written, durable) = (self.written.load(Ordering::Acquire), self.durable());
        let end = self.held().map_or(SeqNo::MAX, |held| held - 1);
        while let Some(first) = order.unmet.front() {
            let met = match first.need {
                Durability::Memory => first.through,
                Durability::Os => written,
                Durability::Disk => durable,
            };
            let reached = met.min(end);
            if reached >= first.through {
                self.visible.store(first.through, Ordering::Release);
                order.unmet.pop_front();
                continue;
            }
            // Neighbours with one need share an entry, so part of it may be met.
            if reached > self.visible() {
                self.visible.store(reached, Ordering::Release);
            }
            break;
        }
    }

    fn wants_sync(&self) -> bool {
        self.wanted_durable.load(Ordering::Acquire) > self.durable()
    }

    fn append_mark(&self, order: &mut Order, durable: SeqNo) {
        let mut extra = [0; 16];
        extra[..8].copy_from_slice(&self.manifest_edit().to_le_bytes());
        extra[8..].copy_from_slice(&self.database_time_ms.load(Ordering::Acquire).to_le_bytes());
        // A segment without room for it goes without; the next group's mark tells more anyway.
        if order.log().fits(8 + extra.len()) {
            order.log().append_mark(durable, &extra);
            order.marked = durable;
        }
    }
}
