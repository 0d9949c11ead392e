//! The harnesses, how a piece of each is run, and what all pieces together are to reach.

use crate::torture::ledger::Entry;

/// One harness.
#[derive(Clone, Debug)]
pub(crate) struct Harness {
    pub(crate) name: String,
    /// What one piece runs; `{seed}` stands for the first of its seeds.
    pub(crate) command: Command,
    /// How many seeds a piece owns. It need not use them all.
    pub(crate) seeds_a_piece: u64,
    /// The longest that a piece may take; beyond it hangs.
    pub(crate) seconds_max: u64,
    /// Whether two pieces of it must not run at once.
    pub(crate) is_alone: bool,
    /// Whether it waits for disks and processes rather than compute: it keeps no core to itself.
    pub(crate) waits: bool,
    /// How long one worker takes to its goal, roughly.
    pub(crate) minutes: f64,
    pub(crate) goal: Goal,
}

/// What a piece is run by.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// The simulator, with these words.
    Simulator(&'static str),
    /// A task of this workspace, with these words.
    Task(String),
}

/// What all pieces together are to reach: so much of one figure.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    pub(crate) figure: String,
    pub(crate) count: u64,
}

/// What libFuzzer is set on, five minutes each.
const FUZZ_TARGETS: [&str; 10] = [
    "log",
    "replay",
    "block",
    "sealed_table",
    "edit",
    "manifest",
    "sealed_blob",
    "damage",
    "hostile",
    "ops",
];

/// Every harness, with its goal.
pub(crate) fn all() -> Vec<Harness> {
    let fuzz = FUZZ_TARGETS.map(|target| Harness {
        name: format!("fuzz {target}"),
        command: Command::Task(format!("fuzz --seconds 300 --target {target}")),
        seeds_a_piece: 1,
        // Before its time begins the first one builds everything, instrumented.
        seconds_max: 1800,
        is_alone: true,
        waits: false,
        minutes: 5.3,
        goal: Goal::of(&format!("fuzz.seconds.{target}"), 300),
    });
    let others = vec![
        Harness {
            name: "crash".to_owned(),
            command: Command::Simulator("crash --minutes 0.75 --seed {seed}"),
            seeds_a_piece: 1_000_000,
            seconds_max: 600,
            is_alone: false,
            waits: false,
            minutes: 20.0,
            goal: Goal::of("crash.images", 1_000_000),
        },
        Harness {
            name: "model".to_owned(),
            command: Command::Simulator("model --operations 5000000 --seed {seed}"),
            seeds_a_piece: 100,
            seconds_max: 600,
            is_alone: false,
            waits: false,
            minutes: 12.0,
            goal: Goal::of("model.operations", 100_000_000),
        },
        Harness {
            name: "kill".to_owned(),
            command: Command::Simulator("kill --cycles 500 --seed {seed}"),
            seeds_a_piece: 1,
            seconds_max: 600,
            is_alone: false,
            waits: true,
            minutes: 3.0,
            goal: Goal::of("kill.cycles", 2_000),
        },
        Harness {
            name: "cut".to_owned(),
            command: Command::Simulator("cut --cuts 500 --seed {seed}"),
            seeds_a_piece: 1,
            seconds_max: 600,
            is_alone: false,
            waits: true,
            minutes: 60.0,
            goal: Goal::of("cut.cuts", 20_000),
        },
        Harness {
            name: "full-disk".to_owned(),
            command: Command::Simulator("full-disk --rounds 50 --seed {seed}"),
            seeds_a_piece: 1,
            seconds_max: 600,
            is_alone: false,
            waits: true,
            minutes: 1.0,
            goal: Goal::of("full_disk.rounds", 200),
        },
        Harness {
            name: "failed-sync".to_owned(),
            // Few: one in which no sync fails for good waits for its deadline.
            command: Command::Simulator("failed-sync --rounds 10 --seed {seed}"),
            seeds_a_piece: 1,
            seconds_max: 600,
            is_alone: false,
            waits: true,
            minutes: 7.0,
            goal: Goal::of("failed_sync.rounds", 100),
        },
        Harness {
            name: "damage".to_owned(),
            command: Command::Simulator("damage"),
            // There is nothing to draw: one piece is all of it.
            seeds_a_piece: 1,
            seconds_max: 1800,
            is_alone: true,
            waits: false,
            minutes: 6.4,
            goal: Goal::of("damage.bits", 250_000),
        },
        Harness {
            name: "faults".to_owned(),
            command: Command::Simulator("faults --minutes 0.75 --seed {seed}"),
            seeds_a_piece: 1_000,
            seconds_max: 600,
            is_alone: false,
            waits: false,
            minutes: 2.4,
            goal: Goal::of("faults.points", 10_000),
        },
        Harness {
            name: "worlds".to_owned(),
            command: Command::Simulator("worlds --histories 25 --seed {seed}"),
            seeds_a_piece: 25,
            seconds_max: 600,
            is_alone: false,
            waits: false,
            minutes: 0.5,
            goal: Goal::of("worlds.runs", 1_000),
        },
        Harness {
            name: "linearizability".to_owned(),
            command: Command::Simulator("linearizability --histories 1000 --seed {seed}"),
            seeds_a_piece: 1_000,
            seconds_max: 600,
            is_alone: false,
            waits: false,
            minutes: 1.0,
            goal: Goal::of("linearizability.histories", 5_000),
        },
        Harness {
            name: "loom".to_owned(),
            command: Command::Task("loom".to_owned()),
            // Every interleaving up to the bound: one piece is all of it.
            seeds_a_piece: 1,
            seconds_max: 3600,
            is_alone: true,
            waits: false,
            minutes: 6.0,
            goal: Goal::of("loom.executions", 10_000),
        },
        Harness {
            name: "planted".to_owned(),
            // Each build anew: a few of them at a time. The whole list is `cargo xtask planted`.
            command: Command::Task("planted --count 5 --rotate {seed}".to_owned()),
            seeds_a_piece: 1,
            seconds_max: 1800,
            is_alone: true,
            waits: false,
            minutes: 15.0,
            goal: Goal::of("planted.caught", 25),
        },
    ];
    others.into_iter().chain(fuzz).collect()
}

impl Harness {
    /// How long one worker has yet to go, of which these pieces are done: nothing once its goal is
    /// reached.
    pub(crate) fn minutes_left(&self, share_reached: f64) -> f64 {
        self.minutes * (1.0 - share_reached).max(0.0)
    }

    /// Whether `name` is its name, or the first word of it.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.split(' ').next() == Some(name)
    }
}

impl Goal {
    fn of(figure: &str, count: u64) -> Self {
        Self { figure: figure.to_owned(), count }
    }

    /// 0 for nothing yet, 1 for reached, more for more.
    pub(crate) fn share_reached<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) -> f64 {
        self.reached(entries) as f64 / self.count as f64
    }

    /// For whoever watches a run.
    pub(crate) fn describe<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) -> String {
        format!("{} {} of {}", self.figure, self.reached(entries), self.count)
    }

    fn reached<'a>(&self, entries: impl IntoIterator<Item = &'a Entry>) -> u64 {
        entries.into_iter().filter_map(|entry| entry.figures.get(&self.figure)).sum()
    }
}
