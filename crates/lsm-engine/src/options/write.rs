//! How one write is made, and what it survives.

use std::time::{Duration, Instant};

/// When a write is acknowledged, and so what it survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// When its bytes are in the log's buffer. Survives nothing; the order of writes is kept.
    Memory,
    /// When its bytes are with the operating system. Survives a killed process.
    Os,
    /// When the log is synced, shared by all who wait for it. Survives power loss.
    #[default]
    Disk,
}

/// How one write is made; the default takes the database's durability and waits without limit.
///
/// ```
/// use std::time::Duration;
///
/// use lsm_engine::{Db, Durability, WriteOptions};
///
/// # let dir = tempfile::tempdir()?;
/// # let db = Db::open(dir.path())?;
/// db.put_with("a", "1", Durability::Os.into())?;
/// let deadline = Some(Duration::from_millis(50));
/// db.put_with("b", "2", WriteOptions { deadline, ..WriteOptions::default() })?;
/// db.sync()?; // Whatever they asked for, both survive a power cut now.
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// When to acknowledge; `None`: as [`Options::durability`](crate::Options::durability) says.
    pub durability: Option<Durability>,
    /// The longest wait for a place in the order, while flushes or compactions lag. Past it the
    /// write fails with `Busy` and nothing is written.
    pub deadline: Option<Duration>,
}

impl WriteOptions {
    /// The default with this durability.
    pub fn durability(durability: Durability) -> Self {
        Self { durability: Some(durability), ..Self::default() }
    }

    /// `None`: the write waits without limit, or so long that it does not matter.
    pub(crate) fn deadline_from_now(&self) -> Option<Instant> {
        self.deadline.and_then(|wait| Instant::now().checked_add(wait))
    }
}

/// The durability of a write that does not say.
impl From<Durability> for WriteOptions {
    fn from(durability: Durability) -> Self {
        Self::durability(durability)
    }
}
