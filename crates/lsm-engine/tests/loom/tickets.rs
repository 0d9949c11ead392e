//! Tickets: a task that waits is woken, whoever leads.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread::{self, Thread};
use lsm_engine::{Durability, Step, WriteBatch};
use lsm_memtable::modelled::explore;

use crate::{Rig, beside};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls until the future is done, asleep in between.
fn wait_for<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

#[test]
fn a_task_is_woken_by_a_writer_that_leads_or_by_the_logs_thread() {
    explore("ticket", Some(3), || {
        let rig = Rig::new(false);
        let is_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&is_done);
        let task = beside(&rig, move |rig| {
            let mut batch = WriteBatch::new();
            batch.put("a", "1");
            let ticket = rig.db.write_async(&batch).expect("ordered");
            wait_for(ticket).expect("acknowledged");
            assert_eq!(rig.left_by_a_power_cut(&["a"]), [true]);
            done.store(true, Ordering::Release);
        });
        rig.put("b", "1", Durability::Disk).expect("writes");
        // What the log's own thread does whenever it is woken.
        while !is_done.load(Ordering::Acquire) {
            rig.db.step(Step::Log).expect("works");
            thread::yield_now();
        }
        task.join().unwrap();
    });
}
