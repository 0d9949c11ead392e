//! A server that keeps counts for its clients, on an async runtime whose threads never wait for a
//! disk.
//!
//! - A write is ordered at once and acknowledged by a *ticket*, which is a future: thousands are in
//!   flight on one thread, sharing their syncs. A client hears "stored" when its write is on disk.
//! - A read of what is in memory takes about a microsecond, less than handing it to another thread. Reads
//!   that may wait for a disk (more data than memory, long scans) go to `spawn_blocking`.
//! - What is written is followed by a task as well: here it counts, elsewhere it would tell others.
//! - Ordering a write waits only under pressure, when flushes lag behind. A deadline of zero turns the
//!   wait into an error, and the server waits in its own way.
//!
//! `cargo run --release -p lsm-engine --example async_server`

use std::error::Error;
use std::time::Duration;

use lsm_engine::{Db, ErrorKind, Reads, WriteBatch, WriteOptions};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const CLIENTS: usize = 20;
const WRITES: usize = 50;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let db = Db::open(dir.path().join("server.db"))?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = tokio::spawn(accept(listener, db.clone()));
    let follower = tokio::spawn(follow(db.clone(), CLIENTS * WRITES));

    let clients: Vec<_> =
        (0..CLIENTS).map(|number| tokio::spawn(client(address, number))).collect();
    for client in clients {
        client.await??;
    }
    server.abort();
    let batches = follower.await??;

    let metrics = db.metrics();
    let stored = tokio::task::spawn_blocking(move || db.iter().count()).await?;
    assert_eq!(stored, CLIENTS * WRITES);
    println!(
        "{CLIENTS} clients stored {stored} entries durably, sharing {} syncs; a follower saw {batches} \
         batches",
        metrics.log_syncs
    );
    Ok(())
}

async fn accept(listener: TcpListener, db: Db) -> Outcome<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream, db.clone()));
    }
}

/// `put KEY VALUE` and `get KEY`, a line each, answered by a line.
async fn serve(stream: TcpStream, db: Db) -> Outcome<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["put", key, value] => match put(&db, key, value).await {
                Ok(()) => "stored".to_owned(),
                Err(error) => format!("error: {error}"),
            },
            ["get", key] => match db.get(key)? {
                Some(value) => String::from_utf8_lossy(&value).into_owned(),
                None => "nothing".to_owned(),
            },
            _ => "error: say `put KEY VALUE` or `get KEY`".to_owned(),
        };
        writer.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    Ok(())
}

/// Returns when the write is on disk, without ever holding up the thread.
async fn put(db: &Db, key: &str, value: &str) -> lsm_engine::Result<()> {
    let mut batch = WriteBatch::new();
    batch.put(key, value);
    loop {
        let options = WriteOptions { deadline: Some(Duration::ZERO), ..WriteOptions::default() };
        match db.write_async_with(&batch, options) {
            Ok(ticket) => return ticket.await.map(drop),
            Err(error) if error.kind() == ErrorKind::Busy => {
                let wait = error.retry_after().unwrap_or(Duration::from_millis(10));
                tokio::time::sleep(wait).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Follows what is written until so many entries have come; returns in how many batches.
async fn follow(db: Db, entries: usize) -> Outcome<usize> {
    let mut changes = db.changes(0)?;
    let (mut seen, mut batches) = (0, 0);
    while seen < entries {
        let change = changes.next_change().await?;
        seen += change.entries.len();
        batches += 1;
    }
    Ok(batches)
}

async fn client(address: std::net::SocketAddr, number: usize) -> Outcome<()> {
    let (reader, mut writer) = TcpStream::connect(address).await?.into_split();
    let mut lines = BufReader::new(reader).lines();
    for n in 0..WRITES {
        writer.write_all(format!("put {number}/{n} {n}\n").as_bytes()).await?;
        assert_eq!(lines.next_line().await?.as_deref(), Some("stored"));
    }
    writer.write_all(format!("get {number}/0\n").as_bytes()).await?;
    assert_eq!(lines.next_line().await?.as_deref(), Some("0"));
    Ok(())
}
