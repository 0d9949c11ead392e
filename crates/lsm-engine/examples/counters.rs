//! Counters and sets that nobody reads to change: merge operators, one of the library's and one of
//! the program's own.
//!
//! `cargo run -p lsm-engine --example counters`

use lsm_engine::{
    Counter, Db, KeyspaceOptions, MergeOperator, Operator, Options, Reads, WriteBatch,
};

/// Keeps the best of all results: the larger number, as text.
struct Best;

impl MergeOperator for Best {
    fn name(&self) -> &str {
        "best"
    }

    fn merge(
        &self,
        _key: &[u8],
        base: Option<&[u8]>,
        operands: &[&[u8]],
    ) -> Result<Vec<u8>, String> {
        let results = base.into_iter().chain(operands.iter().copied());
        let best =
            results.map(parse).try_fold(0, |best, result| Ok::<_, String>(best.max(result?)))?;
        Ok(best.to_string().into_bytes())
    }

    /// The best of some results does what they would do one after the other.
    fn combine(&self, key: &[u8], operands: &[&[u8]]) -> Option<Vec<u8>> {
        self.merge(key, None, operands).ok()
    }

    fn check(&self, _key: &[u8], operand: &[u8]) -> Result<(), String> {
        parse(operand).map(drop)
    }
}

fn parse(result: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(result).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| "it is no result".to_owned())
}

fn with(operator: Operator) -> KeyspaceOptions {
    KeyspaceOptions { merge_operator: Some(operator), ..KeyspaceOptions::default() }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("game.db");
    let db = Db::open(&path)?;
    let games = db.keyspace_with("games", with(Operator::new(Counter)))?;
    let best = db.keyspace_with("best", with(Operator::new(Best)))?;
    for (player, result) in [("Ada", 120), ("Grace", 95), ("Ada", 80), ("Ada", 160)] {
        // Both or neither, and nothing is read for it.
        let mut batch = WriteBatch::new();
        batch.within(&games).merge(player, Counter::operand(1));
        batch.within(&best).merge(player, result.to_string());
        db.write(&batch)?;
    }
    let refused = best.merge("Ada", "cheated").expect_err("it is no result");
    println!("{refused}");
    drop((games, best));
    db.close()?;

    // A keyspace is opened with the operator that it has; the library's own need not be given.
    let db = Db::open_with(&path, Options::default())?;
    let games = db.keyspace("games")?;
    let best = db.keyspace_with("best", with(Operator::new(Best)))?;
    for entry in &games.iter().collect::<Result<Vec<_>, _>>()? {
        let (player, count) = entry;
        let best = best.get(player)?.expect("whoever has played has a result");
        println!(
            "{}: {} games, at best {}",
            String::from_utf8_lossy(player),
            Counter::number(count).expect("a counter"),
            String::from_utf8_lossy(&best)
        );
    }
    Ok(())
}
