//! `lsm merge`: adds to a value without reading it.

use std::ffi::OsString;

use clap::{Args, ValueEnum};
use lsm_engine::{
    Append, Counter, Db, Keyspace, KeyspaceOptions, MergeOperator, Operator, SetUnion, WriteBatch,
    WriteOptions,
};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::format::Format;
use crate::output::Output;
use crate::target::Target;

/// Add to a key's value by the keyspace's merge operator, durably
#[derive(Args, Debug)]
pub(crate) struct MergeArgs {
    #[command(flatten)]
    target: Target,
    /// The key
    #[arg(allow_hyphen_values = true)]
    key: OsString,
    /// What to add: numbers to a counter, elements to a set, bytes to be appended
    #[arg(required = true, allow_negative_numbers = true)]
    operands: Vec<OsString>,
    /// The operator, for a keyspace that has none yet; database and keyspace are created if they are
    /// not there
    #[arg(long, value_enum)]
    operator: Option<Own>,
    #[command(flatten)]
    format: Format,
}

/// The operators that can be named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Own {
    /// Adds numbers of 64 bits
    Counter,
    /// Adds elements to a set
    SetUnion,
    /// Puts bytes behind those that are there
    Append,
}

impl Own {
    fn operator(self) -> Operator {
        match self {
            Self::Counter => Operator::new(Counter),
            Self::SetUnion => Operator::new(SetUnion),
            Self::Append => Operator::new(Append),
        }
    }

    /// The one with this saved name.
    fn named(name: &str) -> Option<Self> {
        let own: [(&dyn MergeOperator, Self); 3] =
            [(&Counter, Self::Counter), (&SetUnion, Self::SetUnion), (&Append, Self::Append)];
        own.into_iter().find(|(operator, _)| operator.name() == name).map(|(_, own)| own)
    }
}

pub(crate) fn run(args: &MergeArgs) -> Result<Exit, Failure> {
    let bytes_format = args.format.bytes;
    let key = bytes_format.parse_argument("the key", &args.key)?;
    let (db, keyspace) = open(args)?;
    let own = own_operator(&args.target, &keyspace)?;
    let mut batch = WriteBatch::new();
    let mut batch_within = batch.within(&keyspace);
    if own == Own::Counter {
        for operand in &args.operands {
            let number = operand.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
                let shown = operand.display();
                Failure::usage(format!("the operand \"{shown}\" is not a number of 64 bits"))
            })?;
            batch_within.merge(&key, Counter::operand(number));
        }
    } else {
        let operands = args.operands.iter();
        let parsed = operands.map(|operand| bytes_format.parse_argument("the operand", operand));
        let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
        if own == Own::SetUnion {
            batch_within.merge(&key, SetUnion::operand(parsed));
        } else {
            parsed.iter().for_each(|operand| batch_within.merge(&key, operand));
        }
    }
    let seq_no = db.write_with(&batch, WriteOptions::default())?;
    drop(keyspace);
    db.close()?;
    if args.format.json {
        let mut out = Output::new();
        out.json(&json!({ "key": bytes_format.json(&key), "seq_no": seq_no }))?;
        out.finish()?;
    }
    Ok(Exit::Done)
}

fn open(args: &MergeArgs) -> Result<(Db, Keyspace), Failure> {
    let Some(own) = args.operator else { return args.target.write() };
    let (db, keyspace) = args.target.create()?;
    let merge_operator = Some(own.operator());
    let options = KeyspaceOptions { merge_operator, ..keyspace.options() };
    let keyspace = db.keyspace_with(args.target.keyspace_name(), options)?;
    Ok((db, keyspace))
}

/// The keyspace's operator, if it is one whose operands can be written here.
fn own_operator(target: &Target, keyspace: &Keyspace) -> Result<Own, Failure> {
    let name = target.keyspace_name();
    let operator = keyspace.options().merge_operator;
    let Some(operator) = operator else {
        let advice = "--operator gives it one";
        return Err(Failure::usage(format!("keyspace \"{name}\" has no merge operator; {advice}")));
    };
    Own::named(operator.name()).ok_or_else(|| {
        let operator = operator.name();
        Failure::usage(format!(
            "keyspace \"{name}\" has merge operator \"{operator}\", whose operands only its program knows"
        ))
    })
}
