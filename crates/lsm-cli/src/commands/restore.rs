//! `lsm restore`: a checkpoint takes a database's place.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use lsm_engine::{RestoreOptions, RestoreProgress, restore_with};
use serde_json::json;

use crate::commands::checkpoint::{print, told};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::progress::LateBar;
use crate::question::Consent;
use crate::units::{bytes, counted};

/// Put a checkpoint in the place of a database, after checking every byte of it
#[derive(Args, Debug)]
pub(crate) struct RestoreArgs {
    /// The checkpoint's directory, which stays as it is
    checkpoint: PathBuf,
    /// The database's directory; what is there is kept as DIR.replaced
    #[arg(long, value_name = "DIR")]
    db: PathBuf,
    /// Copy every table instead of linking it
    #[arg(long)]
    copy: bool,
    /// Remove what was there before, once the new database is in place
    #[arg(long)]
    remove_replaced: bool,
    /// Print JSON: one object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    consent: Consent,
}

pub(crate) fn run(args: &RestoreArgs) -> Result<Exit, Failure> {
    if is_in_use(&args.db) {
        args.consent.ask(&question(args))?;
    }
    let options = RestoreOptions {
        copy_tables: args.copy,
        keep_replaced: !args.remove_replaced,
        ..RestoreOptions::default()
    };
    let (checking, copying) = (LateBar::new("checking"), LateBar::new("copying"));
    let report = restore_with(&args.checkpoint, &args.db, &options, |told| match told {
        RestoreProgress::Verify(told) => checking.show(told.bytes, told.bytes_total),
        RestoreProgress::Copy(told) => {
            checking.clear();
            copying.show(told.bytes, told.bytes_total);
        }
    })?;
    copying.clear();
    let mut out = Output::new();
    if args.json {
        let mut object = told(&report.restored);
        object["bytes_verified"] = json!(report.verified.bytes);
        object["replaced"] = json!(report.replaced);
        out.json(&object)?;
    } else {
        let (checkpoint, db) = (args.checkpoint.display(), args.db.display());
        let files = counted(report.verified.files, "file", "files");
        let verified = bytes(report.verified.bytes);
        writeln!(out, "Checked {files} of {checkpoint}, {verified}, and put it in place as {db}.")?;
        print(&mut out, &report.restored)?;
        if let Some(replaced) = &report.replaced {
            writeln!(out, "What was there before is kept as {}.", replaced.display())?;
        }
    }
    out.finish()?;
    Ok(Exit::Done)
}

/// Whether there is anything to be replaced.
fn is_in_use(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut listing| listing.next().is_some())
}

fn question(args: &RestoreArgs) -> String {
    let (checkpoint, db) = (args.checkpoint.display(), args.db.display());
    let fate = if args.remove_replaced {
        "removed".to_owned()
    } else {
        "kept beside it, with \".replaced\" behind its name".to_owned()
    };
    format!("Put {checkpoint} in the place of the database in {db}, which is then {fate}?")
}
