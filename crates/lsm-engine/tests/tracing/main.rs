//! What `tracing` is told.
//!
//! A program of its own: `tracing` keeps for the whole process whether anybody listens to a span, and a
//! thread that nobody listens to can settle that just before somebody begins to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use lsm_engine::{Db, Env, Listener, Options};
use lsm_io::SimFs;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes down the names of spans, and the levels of events.
#[derive(Clone, Default)]
struct Heard {
    told: Arc<Mutex<Vec<String>>>,
    spans: Arc<AtomicU64>,
}

impl Heard {
    fn note(&self, what: String) {
        self.told.lock().expect("nobody panicked").push(what);
    }
}

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "lsm_engine"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.note(span.metadata().name().to_owned());
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn event(&self, event: &Event<'_>) {
        self.note(event.metadata().level().to_string());
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What is told of a life of a database, without what is told of its writes.
fn told(listener: Option<Listener>) -> Vec<String> {
    let (fs, heard) = (SimFs::new(1), Heard::default());
    tracing::subscriber::with_default(heard.clone(), || {
        let options = Options { listener, env: Env::simulated(fs.shared()), ..Options::default() };
        let db = Db::open_with("db", options.clone()).expect("opens");
        db.put("key", "value").expect("writes");
        db.put("key", "value again").expect("writes");
        db.flush().expect("flushes");
        db.put("key", "and again").expect("writes");
        db.checkpoint("copy").expect("copies");
        db.settle().expect("settles");
        drop(db);
        Db::open_with("db", options).expect("opens again");
    });
    let mut told = std::mem::take(&mut *heard.told.lock().expect("nobody panicked"));
    assert!(told.iter().any(|what| what == "commit"), "{told:?}");
    told.retain(|what| what != "commit");
    told
}

#[test]
fn what_takes_time_is_a_span() {
    let told = told(None);
    assert_eq!(told, ["open", "flush", "checkpoint", "flush", "open", "replay"]);
}

#[test]
fn what_happens_is_an_event_where_somebody_wants_it_and_told_once() {
    let told = told(Some(Listener::tracing()));
    assert_eq!(told.iter().filter(|what| *what == "DEBUG").count(), 2, "two flushes: {told:?}");
}
