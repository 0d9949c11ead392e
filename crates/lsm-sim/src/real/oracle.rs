//! What must be in the database, by what the load was told; and whether it is.
//!
//! Of each writer the oracle knows two numbers: how many of its commits *must* have survived and how
//! many *may* have. What is found has to be the effect of the first `n` commits and of no other, with
//! `n` between the two: then batches are whole, nothing is missing in the middle and nothing was
//! made up. Over all writers, what survived has to lie before what did not, in the one order.

use lsm_engine::{Db, Durability, Keyspace};

use crate::real::acknowledgement::{Acknowledgement, Told};
use crate::real::effect::{Effect, Moment};
use crate::real::stream::{Stream, WRITERS};

/// What has happened to the process that wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was killed: the operating system lives on, with what it was given.
    Killed,
    /// The power was cut: the disk is all there is.
    PowerCut,
}

impl End {
    fn is_survived_by(self, durability: Durability) -> bool {
        match self {
            Self::Killed => durability >= Durability::Os,
            Self::PowerCut => durability >= Durability::Disk,
        }
    }
}

/// What is known of all writers.
#[derive(Debug)]
pub struct Oracle {
    writers: Vec<Writer>,
    /// Commits acknowledged since the contents were last known, with their places in the order.
    unsettled: Vec<Acknowledgement>,
    /// Commits that were acknowledged, had not to survive, and did not.
    taken_back: u64,
}

#[derive(Debug)]
struct Writer {
    effect: Effect,
    must: u64,
    may: u64,
}

impl Oracle {
    /// The oracle of a database that does not exist yet.
    pub fn new(seed: u64) -> Self {
        let writer =
            |writer| Writer { effect: Effect::nothing(Stream { seed, writer }), must: 0, may: 1 };
        Self { writers: (0..WRITERS).map(writer).collect(), unsettled: Vec::new(), taken_back: 0 }
    }

    /// Takes over what a load told before it came to this end.
    ///
    /// # Errors
    /// What the load found, and should not have found, when it opened the database.
    pub fn note(&mut self, told: &[Acknowledgement], end: End) -> Result<(), String> {
        let found: Vec<u64> = told
            .iter()
            .filter(|record| record.told == Told::Found)
            .map(|record| record.n)
            .collect();
        // A load that was ended before it had told of every writer had not begun to write.
        if found.len() == self.writers.len() {
            self.settle(&found)?;
        }
        for record in told {
            let Told::Acknowledged(durability) = record.told else { continue };
            let writer = &mut self.writers[usize::from(record.writer)];
            // The next commit may be under way, and its acknowledgement never told.
            writer.may = writer.may.max(record.n + 1);
            if end.is_survived_by(durability) {
                writer.must = writer.must.max(record.n);
            }
            self.unsettled.push(*record);
        }
        Ok(())
    }

    /// Holds the contents of a database that was just opened against what is known. Returns how many
    /// commits, since the last time, were acknowledged, had not to survive, and did not.
    ///
    /// # Errors
    /// What was lost, or is there and must not be.
    pub fn check(&mut self, db: &Db, keyspaces: &[Keyspace]) -> Result<u64, String> {
        let moment = Moment { snapshot: &db.snapshot(), keyspaces };
        let counts = self.writers.iter().map(|writer| moment.count(&writer.effect.stream));
        self.settle(&counts.collect::<Result<Vec<_>, _>>()?)?;
        for writer in &mut self.writers {
            if !writer.effect.compare(&moment)? {
                return Err("a recovery went back behind an earlier one".into());
            }
        }
        let report = db.verify().map_err(|error| format!("could not verify: {error}"))?;
        match report.damage.first() {
            None => Ok(std::mem::take(&mut self.taken_back)),
            Some(damage) => Err(format!("verify finds {damage:?}")),
        }
    }

    /// Now it is known how many commits of each writer survived.
    fn settle(&mut self, counts: &[u64]) -> Result<(), String> {
        for (writer, count) in self.writers.iter().zip(counts) {
            let name = writer.effect.stream.writer;
            if *count < writer.must {
                return Err(format!(
                    "lost: {count} commits of writer {name} are there, and {} were acknowledged",
                    writer.must
                ));
            }
            if *count > writer.may {
                return Err(format!(
                    "{count} commits of writer {name} are there, and it made {} at most",
                    writer.may
                ));
            }
        }
        let has_survived =
            |record: &Acknowledgement| record.n <= counts[usize::from(record.writer)];
        let first_lost =
            self.unsettled.iter().filter(|r| !has_survived(r)).min_by_key(|r| r.seq_no);
        let last_kept = self.unsettled.iter().filter(|r| has_survived(r)).max_by_key(|r| r.seq_no);
        if let (Some(lost), Some(kept)) = (first_lost, last_kept)
            && kept.seq_no > lost.seq_no
        {
            return Err(format!("what survived is no prefix: {lost:?} is lost, {kept:?} is there"));
        }
        let lost = self.unsettled.iter().filter(|record| !has_survived(record)).count();
        self.taken_back += lost as u64;
        self.unsettled.clear();
        // What a recovery has found it has also made durable.
        for (writer, count) in self.writers.iter_mut().zip(counts) {
            (writer.must, writer.may) = (*count, *count + 1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(told: Told, writer: u8, n: u64, seq_no: u64) -> Acknowledgement {
        Acknowledgement { told, writer, n, seq_no }
    }

    /// Writer 0 makes five commits: the second reaches the operating system, the third the disk.
    fn five_commits() -> Vec<Acknowledgement> {
        let durabilities = [
            Durability::Memory,
            Durability::Os,
            Durability::Disk,
            Durability::Memory,
            Durability::Memory,
        ];
        (1..).zip(durabilities).map(|(n, d)| told(Told::Acknowledged(d), 0, n, 10 * n)).collect()
    }

    #[track_caller]
    fn check_settle(end: End, counts: [u64; 4], complaint: Option<&str>) {
        let mut oracle = Oracle::new(1);
        let mut history = five_commits();
        history.push(told(Told::Acknowledged(Durability::Memory), 1, 1, 45));
        oracle.note(&history, end).unwrap();
        let wrong = oracle.settle(&counts).err();
        match (complaint, &wrong) {
            (None, None) => {}
            (Some(begin), Some(wrong)) => assert!(wrong.starts_with(begin), "{wrong}"),
            _ => panic!("{counts:?}: expected {complaint:?}, found {wrong:?}"),
        }
    }

    #[test]
    fn what_was_acknowledged_must_be_there() {
        check_settle(End::PowerCut, [3, 0, 0, 0], None);
        check_settle(End::PowerCut, [2, 0, 0, 0], Some("lost: 2 commits of writer 0"));
        check_settle(End::Killed, [3, 0, 0, 0], None);
    }

    #[test]
    fn a_commit_under_way_may_be_there_and_none_beyond_it() {
        check_settle(End::Killed, [6, 2, 0, 0], None);
        check_settle(End::Killed, [7, 1, 0, 0], Some("7 commits of writer 0 are there"));
        check_settle(End::Killed, [5, 1, 1, 2], Some("2 commits of writer 3 are there"));
    }

    #[test]
    fn what_survives_is_a_prefix_over_all_writers() {
        // Commit 5 of writer 0 came after the only one of writer 1.
        check_settle(End::PowerCut, [5, 0, 0, 0], Some("what survived is no prefix"));
        check_settle(End::PowerCut, [4, 1, 0, 0], None);
    }

    #[test]
    fn what_the_next_load_finds_settles_what_the_last_one_was_told() {
        let mut oracle = Oracle::new(1);
        oracle.note(&five_commits(), End::PowerCut).unwrap();
        let found = |counts: [u64; 4]| -> Vec<_> {
            (0..).zip(counts).map(|(writer, n)| told(Told::Found, writer, n, 0)).collect()
        };
        oracle.note(&found([4, 0, 0, 0]), End::PowerCut).unwrap();
        // What one recovery has found the next one finds again.
        let wrong = oracle.note(&found([3, 0, 0, 0]), End::PowerCut).unwrap_err();
        assert!(wrong.starts_with("lost: 3 commits of writer 0 are there, and 4"), "{wrong}");
    }
}
