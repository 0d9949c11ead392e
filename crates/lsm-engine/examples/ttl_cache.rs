//! A cache whose entries expire: a first-in-first-out keyspace with a time to live for every put, in
//! which tables go whole when everything in them has expired.
//!
//! ```sh
//! cargo run -p lsm-engine --example ttl_cache
//! ```

use std::time::Duration;

use lsm_engine::{
    CompactionPolicy, Db, FifoOptions, Keyspace, KeyspaceOptions, Reads, Result, Value,
};

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let db = Db::open(dir.path())?;
    let options = KeyspaceOptions {
        // At most this much on disk, however fast it fills: the oldest goes first.
        compaction: CompactionPolicy::Fifo(FifoOptions {
            bytes_max: 1 << 30,
            ..Default::default()
        }),
        ttl_ms: Some(300_000),
        ..KeyspaceOptions::default()
    };
    let pages = db.keyspace_with("pages", options)?;

    let page = page_of(&pages, "/about")?;
    assert_eq!(page, "the page /about");
    assert!(pages.contains_key("/about")?, "it is found in the cache from now on");

    // A session ends after an hour, whatever the keyspace says; this one is over at once.
    db.put_ttl("session:7", "Ada", Duration::from_secs(3600))?;
    db.put_ttl("session:8", "Grace", Duration::ZERO)?;
    assert!(db.contains_key("session:7")?);
    assert!(!db.contains_key("session:8")?);

    // Of two who want the place, the second gets it once the first has let it expire.
    assert!(db.put_if("session:8", None, Some(b"Mary"))?.is_some());

    for share in pages.expiry() {
        println!("{} tables expire {}", share.tables, share.due);
    }
    db.close()
}

/// The page, from the cache if it is there.
fn page_of(cache: &Keyspace, path: &str) -> Result<Value> {
    if let Some(page) = cache.get(path)? {
        return Ok(page);
    }
    cache.put(path, format!("the page {path}"))?;
    Ok(cache.get(path)?.expect("it is kept for five minutes"))
}
