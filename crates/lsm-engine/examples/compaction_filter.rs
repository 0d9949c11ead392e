//! A rule of the program's own about which values are still wanted, asked as tables are merged: users
//! who are gone are forgotten, and records in an old form get the new one.
//!
//! `cargo run -p lsm-engine --example compaction_filter`

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use lsm_engine::{CompactionFilter, Db, FilterDecision, KeyspaceOptions, Reads, ValueFilter};

/// Keys are "user/record"; records begin with the number of their form.
#[derive(Clone, Default)]
struct Records {
    gone: Arc<Mutex<HashSet<Vec<u8>>>>,
}

impl CompactionFilter for Records {
    fn name(&self) -> &str {
        "records"
    }

    fn filter_key(&self, key: &[u8]) -> Option<FilterDecision> {
        let user = key.split(|byte| *byte == b'/').next().unwrap_or_default();
        let is_gone = self.gone.lock().is_ok_and(|gone| gone.contains(user));
        is_gone.then_some(FilterDecision::Remove)
    }

    fn filter(&self, _key: &[u8], value: &[u8]) -> FilterDecision {
        match value.strip_prefix(b"1 ") {
            Some(record) => FilterDecision::Replace([b"2 ", record].concat()),
            None => FilterDecision::Keep,
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Db::open(dir.path().join("records.db"))?;
    let rule = Records::default();
    let options = KeyspaceOptions {
        compaction_filter: Some(ValueFilter::new(rule.clone())),
        ..KeyspaceOptions::default()
    };
    let records = db.keyspace_with("records", options)?;
    for user in ["ada", "grace"] {
        for n in 0..3 {
            records.put(format!("{user}/{n}"), format!("1 record {n}"))?;
        }
    }
    let before = db.snapshot();
    rule.gone.lock().expect("no panic").insert(b"grace".to_vec());

    // What a snapshot sees stays as it is.
    records.compact_range::<&str>(..)?;
    println!("while a snapshot is held, {} records are there", records.iter().count());
    assert_eq!(before.within(&records).iter().count(), 6);
    drop(before);

    records.compact_range::<&str>(..)?;
    for entry in records.iter() {
        let (key, value) = entry?;
        println!("{}: {}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value));
    }
    let metrics = db.metrics();
    println!("{} removed, {} replaced", metrics.filter_removed, metrics.filter_replaced);
    assert_eq!(records.get("grace/0")?, None);
    assert_eq!(records.get("ada/0")?.as_deref(), Some(&b"2 record 0"[..]));
    Ok(())
}
