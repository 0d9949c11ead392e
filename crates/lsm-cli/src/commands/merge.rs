//! `lsm merge`: adds to a value without reading it.

use std::ffi::{OsStr, OsString};

use clap::{Args, ValueEnum};
use lsm_engine::{
    Append, Counter, Keyspace, KeyspaceOptions, MAX_KEY_BYTES, MergeOperator, Operator, SeqNo,
    SetUnion, WriteBatch, WriteOptions,
};
use serde_json::json;

use crate::destination::Destination;
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

    /// What was typed, as this operator takes it.
    fn operands(self, args: &MergeArgs) -> Result<Vec<Vec<u8>>, Failure> {
        let typed = args.operands.iter();
        if self == Self::Counter {
            return typed.map(|operand| count(operand)).collect();
        }
        let parse = |operand: &OsString| args.format.bytes.parse_argument("the operand", operand);
        let parsed = typed.map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok(if self == Self::SetUnion { vec![SetUnion::operand(parsed)] } else { parsed })
    }

    /// The one with this saved name.
    fn named(name: &str) -> Option<Self> {
        let own: [(&dyn MergeOperator, Self); 3] =
            [(&Counter, Self::Counter), (&SetUnion, Self::SetUnion), (&Append, Self::Append)];
        own.into_iter().find(|(operator, _)| operator.name() == name).map(|(_, own)| own)
    }
}

/// The operator with this name, saved or of the command line, if it is one of the library's.
pub(crate) fn operator_called(name: &str) -> Option<Operator> {
    let own = Own::named(name).or_else(|| Own::from_str(name, false).ok());
    own.map(Own::operator)
}

/// The operand of a counter.
fn count(typed: &OsStr) -> Result<Vec<u8>, Failure> {
    let number = typed.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
        let shown = typed.display();
        Failure::usage(format!("the operand \"{shown}\" is not a number of 64 bits"))
    })?;
    Ok(Counter::operand(number).into())
}

pub(crate) fn run(args: &MergeArgs) -> Result<Exit, Failure> {
    let key = args.format.bytes.parse_argument("the key", &args.key)?;
    let (destination, merged) = match args.operator {
        Some(own) => {
            // The operands come first: one that is refused names no operator, which would stay.
            let operands = own.operands(args)?;
            check_length(&key)?;
            let destination = args.target.create()?;
            let merged = name_operator(&destination, own)
                .and_then(|()| merge(&destination, &key, &operands));
            (destination, merged)
        }
        None => {
            let (db, keyspace) = args.target.write()?;
            let operands = own_operator(&args.target, &keyspace)?.operands(args)?;
            let destination = Destination::found(db, keyspace);
            let merged = merge(&destination, &key, &operands);
            (destination, merged)
        }
    };
    let seq_no = destination.close(merged)?;
    if args.format.json {
        let mut out = Output::new();
        out.json(&json!({ "key": args.format.bytes.json(&key), "seq_no": seq_no }))?;
        out.finish()?;
    }
    Ok(Exit::Done)
}

fn check_length(key: &[u8]) -> Result<(), Failure> {
    if key.len() <= MAX_KEY_BYTES {
        return Ok(());
    }
    let bytes = key.len();
    Err(Failure::usage(format!("the key has {bytes} bytes; a key has at most {MAX_KEY_BYTES}")))
}

/// Gives the keyspace its operator, if it has none yet.
fn name_operator(destination: &Destination, own: Own) -> Result<(), Failure> {
    let Destination { db, keyspace, .. } = destination;
    let merge_operator = Some(own.operator());
    let options = KeyspaceOptions { merge_operator, ..keyspace.options() };
    db.keyspace_with(keyspace.name(), options)?;
    Ok(())
}

fn merge(destination: &Destination, key: &[u8], operands: &[Vec<u8>]) -> Result<SeqNo, Failure> {
    let mut batch = WriteBatch::new();
    let mut within = batch.within(&destination.keyspace);
    operands.iter().for_each(|operand| within.merge(key, operand));
    Ok(destination.db.write_with(&batch, WriteOptions::default())?)
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
