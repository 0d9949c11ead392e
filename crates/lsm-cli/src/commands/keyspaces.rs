//! `lsm keyspaces`: the named maps of a database.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::columns::{Columns, Side};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::target::{find_keyspace, open_read_only};
use crate::units::{bytes, count};

/// List the keyspaces with the tables and the policy of each
#[derive(Args, Debug)]
pub(crate) struct KeyspacesArgs {
    /// The database's directory
    #[arg(long, value_name = "DIR")]
    db: PathBuf,
    /// Print JSON: one object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &KeyspacesArgs) -> Result<Exit, Failure> {
    const ALIGNMENT: [Side; 4] = [Side::Left, Side::Right, Side::Right, Side::Left];
    let db = open_read_only(&args.db)?;
    let mut out = Output::new();
    let mut columns = Columns::new(&ALIGNMENT, ["keyspace", "tables", "bytes", "policy"]);
    for name in db.keyspaces() {
        let keyspace = find_keyspace(&db, &args.db, &name)?;
        let (mut tables, mut table_bytes) = (0, 0);
        for table in keyspace.shape().runs.iter().flat_map(|run| &run.tables) {
            tables += 1;
            table_bytes += table.bytes;
        }
        let policy = keyspace.options().compaction.to_string();
        if args.json {
            out.json(&json!({
                "keyspace": name, "tables": tables, "bytes": table_bytes, "policy": policy
            }))?;
        } else {
            columns.row([name, count(tables), bytes(table_bytes), policy]);
        }
    }
    if !args.json {
        columns.print(&mut out, 0)?;
    }
    out.finish()?;
    Ok(Exit::Done)
}
