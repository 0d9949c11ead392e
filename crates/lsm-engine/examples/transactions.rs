//! Accounts, moved between by several threads at once: no transfer is lost and the sum stays.
//!
//! `cargo run --release -p lsm-engine --example transactions`

use std::sync::atomic::{AtomicU32, Ordering};

use lsm_engine::{Db, ErrorKind, Reads, Result};

const ACCOUNTS: u64 = 10;
const OPENING_BALANCE: u64 = 100;
const TRANSFERS: u64 = 200;
const THREADS: u64 = 4;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Db::open(dir.path().join("bank.db"))?;
    for account in 0..ACCOUNTS {
        db.put(account.to_be_bytes(), OPENING_BALANCE.to_be_bytes())?;
    }
    let conflicts = AtomicU32::new(0);
    std::thread::scope(|scope| -> Result<()> {
        let transfers = |thread| {
            let (db, conflicts) = (&db, &conflicts);
            move || (0..TRANSFERS).try_for_each(|n| transfer(db, thread + n * THREADS, conflicts))
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(transfers(thread))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panicked"))
    })?;
    let balances = db.iter().map(|entry| Ok(number(&entry?.1)));
    let sum: u64 = balances.sum::<Result<u64>>()?;
    assert_eq!(sum, ACCOUNTS * OPENING_BALANCE);
    println!(
        "{} transfers by {THREADS} threads, {} of them begun anew; the sum is still {sum}",
        TRANSFERS * THREADS,
        conflicts.load(Ordering::Relaxed)
    );
    Ok(())
}

/// Moves something between two accounts, as often as it takes.
fn transfer(db: &Db, n: u64, conflicts: &AtomicU32) -> Result<()> {
    let (from, to) = (n * 7 % ACCOUNTS, n * 3 % ACCOUNTS);
    if from == to {
        return Ok(());
    }
    loop {
        let tx = db.transaction();
        let balance = |account: u64| -> Result<u64> {
            Ok(tx.get(account.to_be_bytes())?.map_or(0, |value| number(&value)))
        };
        let (source, target) = (balance(from)?, balance(to)?);
        let amount = source.min(1 + n % 5);
        tx.put(from.to_be_bytes(), (source - amount).to_be_bytes());
        tx.put(to.to_be_bytes(), (target + amount).to_be_bytes());
        match tx.commit() {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                conflicts.fetch_add(1, Ordering::Relaxed);
            }
            outcome => return outcome.map(drop),
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}
