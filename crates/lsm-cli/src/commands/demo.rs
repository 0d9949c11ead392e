//! `lsm demo`: everything on real data. Load, change, kill, recover, check, compact.
//!
//! A plan of what should be in the database is kept in memory beside it (`source.rs`), and what is
//! in the database is held against the plan; `changes.rs` changes both. The writer that is killed is in `writer.rs`, how it is
//! started and killed in `crash.rs`, where the database is put in `place.rs`, what is printed in
//! `story.rs`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use lsm_engine::{
    CompactionPolicy, Db, Keyspace, KeyspaceOptions, LeveledOptions, Options, WriteBatch,
};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::question::Consent;
use crate::recovery;
use crate::units::{bytes, count, duration, rate, ratio};
use crate::work::Work;

mod changes;
mod crash;
mod place;
mod source;
mod story;
mod writer;

use changes::Changes;
use source::{Plan, Source};
use story::Story;

pub(crate) use writer::{WriterArgs, run as run_writer};

/// Records that become durable together while loading.
const GROUP_RECORDS: usize = 500;
/// The keyspace of the index from names to code points.
const INDEX: &str = "by-name";
/// Fewer records would not be worth a crash.
const RECORDS_MIN: i64 = 1000;

/// See it work: load real data, kill a writer, recover, check every record, compact
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Where to put the database [default: a new directory among the temporary files]
    #[arg(long, value_name = "DIR")]
    db: Option<PathBuf>,
    /// Use only the first N records of the data set
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(RECORDS_MIN..))]
    records: Option<u32>,
    /// Print nothing but a JSON object at the end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    consent: Consent,
}

/// Small memtables and tables, so that a small data set makes a tree worth looking at.
fn options() -> Options {
    let policy = LeveledOptions {
        size_ratio: 4,
        base_bytes: 128 << 10,
        table_bytes: 128 << 10,
        ..LeveledOptions::default()
    };
    Options {
        memory_bytes: 16 << 20,
        memtable_bytes: Some(256 << 10),
        log_segment_bytes: 1 << 20,
        keyspace: KeyspaceOptions {
            compaction: CompactionPolicy::Leveled(policy),
            ..KeyspaceOptions::default()
        },
        ..Options::default()
    }
}

pub(crate) fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    let dir = place::prepare(args.db.as_deref(), args.consent)?;
    let source = Source::first(args.records.map_or(usize::MAX, |records| records as usize));
    let story = Story::new(!args.json);
    Demo { dir: &dir, source, plan: Plan::default(), story, work: Work::default() }.run()?;
    Ok(Exit::Done)
}

struct Demo<'a> {
    dir: &'a Path,
    source: Source,
    /// What should be in the default keyspace.
    plan: Plan,
    story: Story,
    /// What all opens in this process have written.
    work: Work,
}

impl Demo<'_> {
    fn run(mut self) -> Result<(), Failure> {
        self.story
            .title("The names of Unicode's characters: stored, killed, recovered, checked")?;

        let db = Db::open_with(self.dir, options())?;
        let load = self.load(&db)?;
        self.change(&db)?;
        self.look_back(&db)?;
        self.work += Work::from(&db.metrics());
        db.close()?;

        let acknowledged = self.crash()?;

        let db = Db::open_with(self.dir, options())?;
        let recovery = self.show_recovery(&db)?;
        let index = db.keyspace(INDEX)?;
        let found = self.check(&db, &index, acknowledged)?;
        self.finish_index(&db, &index, found)?;
        let figures = self.compact(&db, &index)?;
        drop(index);
        db.close()?;

        self.show_figures(load, figures)?;
        self.story.next_commands(self.dir)?;
        self.story.finish(&json!({
            "db": self.dir,
            "records": self.source.len(),
            "acknowledged_before_kill": acknowledged,
            "found_after_kill": found,
            "recovery": recovery,
            "records_per_second": rate(self.source.len() as u64, load),
            "work": self.work.json(),
            "space_amplification_before": figures.before.space_amplification(),
            "space_amplification_after": figures.after.space_amplification(),
        }))
    }

    fn load(&mut self, db: &Db) -> Result<Duration, Failure> {
        let records = count(self.source.len() as u64);
        self.story.step(&format!("Load {records} records, durably"))?;
        let began = Instant::now();
        let mut groups = 0;
        let mut batch = WriteBatch::new();
        for group in self.source.records().chunks(GROUP_RECORDS) {
            batch.clear();
            for record in group {
                batch.put(record.key(), record.value());
                self.plan.put(record.key(), record.value());
            }
            db.write(&batch)?;
            groups += 1;
        }
        let elapsed = began.elapsed();
        self.story.say(&format!(
            "{} of keys and values in {}: {} records a second",
            bytes(self.plan.bytes()),
            duration(elapsed),
            count(rate(self.source.len() as u64, elapsed))
        ))?;
        self.story
            .say(&format!("in {groups} batches, each on the disk before the next was begun"))?;
        Ok(elapsed)
    }

    fn change(&mut self, db: &Db) -> Result<(), Failure> {
        self.story.step("Update some, delete some")?;
        let mut changes = Changes::new(db);
        let (mut updated, mut deleted) = (0_u64, 0_u64);
        for record in self.source.records() {
            match record.category() {
                "Lu" | "Ll" => {
                    let (name, category) = (record.name().to_lowercase(), record.category());
                    let value = format!("{name}; {category}");
                    changes.put(&mut self.plan, record.key(), &value)?;
                    updated += 1;
                }
                "Mn" | "Mc" | "Me" => {
                    changes.delete(&mut self.plan, record.key())?;
                    deleted += 1;
                }
                _ => {}
            }
        }
        changes.write()?;
        let (updated, deleted) = (count(updated), count(deleted));
        self.story.say(&format!("{updated} letters renamed in lower case"))?;
        self.story.say(&format!("{deleted} combining marks deleted"))
    }

    fn look_back(&mut self, db: &Db) -> Result<(), Failure> {
        self.story.step("Take a snapshot, and delete behind its back")?;
        let snapshot = db.snapshot();
        let then = self.plan.clone();
        let mut changes = Changes::new(db);
        let mut deleted = 0_u64;
        for record in self.source.records().iter().filter(|record| record.category() == "Lo") {
            changes.delete(&mut self.plan, record.key())?;
            deleted += 1;
        }
        changes.write()?;
        self.story.say(&format!("{} letters without case deleted", count(deleted)))?;
        let (seen_then, seen_now) = (then.compare(&snapshot)?, self.plan.compare(db)?);
        self.story.say(&format!(
            "a reader now sees {} records, the snapshot {}: each as it should be",
            count(seen_now),
            count(seen_then)
        ))
    }

    fn crash(&mut self) -> Result<u64, Failure> {
        self.story.step("Kill a writer in the middle of its work")?;
        let wanted = self.source.len() as u64 / 3;
        let killed = crash::start_and_kill(self.dir, self.source.len(), wanted)?;
        self.story.say(&format!(
            "process {} indexed the characters by name, {} records a batch",
            killed.process_id,
            writer::GROUP_RECORDS
        ))?;
        self.story.say(&format!(
            "killed (SIGKILL) after {}, when {} records were acknowledged",
            duration(killed.lived),
            count(killed.acknowledged)
        ))?;
        Ok(killed.acknowledged)
    }

    fn show_recovery(&mut self, db: &Db) -> Result<Value, Failure> {
        self.story.step("Open what it left")?;
        let report = db.recovery_report();
        self.story.with(|out| recovery::print(out, report, story::INDENT))?;
        Ok(recovery::json(report))
    }

    /// Holds every record against the source; returns how many of the killed writer's there are.
    fn check(&mut self, db: &Db, index: &Keyspace, acknowledged: u64) -> Result<u64, Failure> {
        self.story.step("Check every record")?;
        let records = self.plan.compare(db)?;
        self.story.say(&format!("all {} records are what the source says", count(records)))?;
        let found = self.source.compare_index(index)?;
        if found < acknowledged {
            return Err(Failure::new(
                Exit::Corrupt,
                format!("{acknowledged} records were acknowledged, but {found} are there"),
            ));
        }
        self.story.say(&format!(
            "of the killed writer's, the first {} are there, none missing between them:",
            count(found)
        ))?;
        self.story.say(&format!(
            "the {} acknowledged ones, and {} that were on their way",
            count(acknowledged),
            count(found - acknowledged)
        ))?;
        Ok(found)
    }

    /// Does the rest of what the killed writer was at.
    fn finish_index(&mut self, db: &Db, index: &Keyspace, found: u64) -> Result<(), Failure> {
        let rest = &self.source.records()[found as usize..];
        let mut batch = WriteBatch::new();
        for group in rest.chunks(GROUP_RECORDS) {
            batch.clear();
            for record in group {
                batch.within(index).put(record.name(), record.key());
            }
            db.write(&batch)?;
        }
        self.story.say(&format!("the other {} were written now", count(rest.len() as u64)))
    }

    fn compact(&mut self, db: &Db, index: &Keyspace) -> Result<Figures, Failure> {
        self.story.step("Compact")?;
        db.flush()?;
        db.settle()?;
        let live_bytes = self.plan.bytes() + self.source.index_bytes();
        let before = Space::of(db, index, live_bytes);
        self.story.trees("before", db, index)?;
        let began = Instant::now();
        db.compact_range::<&[u8]>(..)?;
        index.compact_range::<&[u8]>(..)?;
        db.settle()?;
        let elapsed = began.elapsed();
        let after = Space::of(db, index, live_bytes);
        self.story.trees("after", db, index)?;
        let metrics = db.metrics();
        self.work += Work::from(&metrics);
        let dropped = count(metrics.entries_dropped);
        self.story.say(&format!(
            "in {}; since the open, {dropped} shadowed and deleted entries went",
            duration(elapsed)
        ))?;
        Ok(Figures { before, after })
    }

    fn show_figures(&mut self, load: Duration, figures: Figures) -> Result<(), Failure> {
        self.story.step("Figures")?;
        let records = self.source.len() as u64;
        let per_second = count(rate(records, load));
        self.story.say(&format!("loading      {per_second} durable records a second"))?;
        let work = self.work;
        self.story.with(|out| work.print(out, story::INDENT))?;
        let Figures { before, after } = figures;
        self.story.say(&format!(
            "space        {} before compacting, {} after, for {} of keys and values",
            bytes(before.table_bytes),
            bytes(after.table_bytes),
            bytes(after.live_bytes),
        ))?;
        self.story.say(&format!(
            "             space amplification {} before, {} after",
            ratio(before.table_bytes, before.live_bytes),
            ratio(after.table_bytes, after.live_bytes),
        ))?;
        self.story.say("(the killed writer's own work is not counted)")
    }
}

/// What the tables took, before and after.
#[derive(Clone, Copy)]
struct Figures {
    before: Space,
    after: Space,
}

#[derive(Clone, Copy)]
struct Space {
    table_bytes: u64,
    live_bytes: u64,
}

impl Space {
    fn of(db: &Db, index: &Keyspace, live_bytes: u64) -> Self {
        let tables = |keyspace: &Keyspace| -> u64 {
            let runs = keyspace.shape().runs;
            runs.iter().flat_map(|run| &run.tables).map(|table| table.bytes).sum()
        };
        Self { table_bytes: tables(db.default_keyspace()) + tables(index), live_bytes }
    }

    fn space_amplification(self) -> f64 {
        self.table_bytes as f64 / self.live_bytes.max(1) as f64
    }
}
