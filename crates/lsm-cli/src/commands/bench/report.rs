//! What a benchmark prints when it ends.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::BenchArgs;
use super::place::KEYSPACE;
use super::threads::{KINDS, Measured};
use crate::columns::{Columns, Side};
use crate::exit::Failure;
use crate::latencies::Latencies;
use crate::output::Output;
use crate::units::{bytes, count, counted, duration, rate};
use crate::work::Work;

/// All that there is to tell.
pub(super) struct Report {
    /// How long the records took that are there when the workload begins.
    pub(super) loading: Option<Duration>,
    pub(super) measured: Measured,
    /// How long it took afterwards until all was flushed and merged.
    pub(super) settling: Duration,
    /// What the workload wrote, with what came of it until all was merged.
    pub(super) work: Work,
    pub(super) table_bytes: u64,
}

impl Report {
    /// Prints it; `dir` is where the database stays, if it does.
    pub(super) fn print(&self, args: &BenchArgs, dir: Option<&Path>) -> Result<(), Failure> {
        let mut out = Output::new();
        if args.json {
            out.json(&self.json(args))?;
        } else {
            self.write(&mut out, args, dir)?;
        }
        out.finish()
    }

    fn write(&self, out: &mut Output, args: &BenchArgs, dir: Option<&Path>) -> Result<(), Failure> {
        let together = self.measured.together();
        let elapsed = self.measured.elapsed;
        writeln!(
            out,
            "{}: {} of {} of values, {}, durability {}",
            args.workload.name(),
            counted(args.records, "record", "records"),
            bytes(args.value_bytes.into()),
            counted(args.threads.into(), "thread", "threads"),
            args.durability,
        )?;
        if let Some(loading) = self.loading {
            writeln!(out, "  loaded and merged beforehand in {}", duration(loading))?;
        }
        writeln!(
            out,
            "\n{} in {}: {} a second\n",
            counted(together.count(), "operation", "operations"),
            duration(elapsed),
            count(rate(together.count(), elapsed)),
        )?;
        self.latency_table(&together).print(out, 2)?;
        writeln!(out, "\nHow long they took:")?;
        together.print(out, 2)?;
        if self.work.user_bytes > 0 {
            writeln!(out, "\nWritten, until all was merged {} later:", duration(self.settling))?;
            self.work.print(out, 2)?;
        }
        writeln!(out, "\n{} of tables", bytes(self.table_bytes))?;
        if let Some(dir) = dir {
            writeln!(out, "The records stay in the keyspace {KEYSPACE} of {}.", dir.display())?;
        }
        Ok(())
    }

    /// A row for each kind of operation, and one for all if there are several.
    fn latency_table(&self, together: &Latencies) -> Columns {
        use Side::{Left, Right};
        let mut table = Columns::new(
            &[Left, Right, Right, Right, Right, Right, Right],
            ["", "operations", "p50", "p90", "p99", "p99.9", "max"],
        );
        let mut row = |kind: &str, latencies: &Latencies| {
            let quantile = |share: f64| duration(latencies.quantile(share));
            table.row([
                kind.to_owned(),
                count(latencies.count()),
                quantile(0.5),
                quantile(0.9),
                quantile(0.99),
                quantile(0.999),
                duration(latencies.longest()),
            ]);
        };
        let done: Vec<_> = self.kinds().collect();
        done.iter().for_each(|(kind, latencies)| row(kind, latencies));
        if done.len() > 1 {
            row("all", together);
        }
        table
    }

    /// The kinds of operations that there were.
    fn kinds(&self) -> impl Iterator<Item = (&'static str, &Latencies)> {
        KINDS.into_iter().zip(&self.measured.by_kind).filter(|(_, latencies)| latencies.count() > 0)
    }

    fn json(&self, args: &BenchArgs) -> Value {
        let ms = |elapsed: Duration| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let together = self.measured.together();
        let kinds: Map<String, Value> = self
            .kinds()
            .map(|(kind, latencies)| {
                let figures = json!({
                    "operations": latencies.count(),
                    "latency_us": latencies.json(),
                });
                (kind.replace(' ', "_"), figures)
            })
            .collect();
        json!({
            "workload": args.workload.name(),
            "records": args.records,
            "value_bytes": args.value_bytes,
            "threads": args.threads,
            "durability": args.durability.to_string(),
            "loading_ms": self.loading.map(ms),
            "operations": together.count(),
            "elapsed_ms": ms(self.measured.elapsed),
            "operations_per_second": rate(together.count(), self.measured.elapsed),
            "latency_us": together.json(),
            "kinds": kinds,
            "settling_ms": ms(self.settling),
            "table_bytes": self.table_bytes,
            "work": self.work.json(),
        })
    }
}
