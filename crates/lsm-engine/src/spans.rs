//! What goes on inside, told to `tracing` where the feature of that name is on: spans around what takes
//! time. What happens at one moment is an event, and [`Listener::tracing`] passes that on; nothing is told
//! in both ways.
//!
//! Without the feature nothing is left of it, nor of what a span would say.

/// Enters a span until the end of the block.
#[cfg(feature = "tracing")]
macro_rules! span {
    ($level:ident, $name:literal $(, $field:ident = $value:expr)*) => {
        let _span = tracing::span!(
            target: "lsm_engine", tracing::Level::$level, $name $(, $field = $value)*
        )
        .entered();
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! span {
    ($($ignored:tt)*) => {};
}

pub(crate) use span;

#[cfg(feature = "tracing")]
use crate::events::{Event, Listener};

#[cfg(feature = "tracing")]
impl Listener {
    /// Passes each event on to the subscriber of `tracing`, under the target `lsm_engine`: errors that end
    /// writing as errors, what somebody should look at as warnings, the rest as debugging. With the
    /// feature `tracing`.
    ///
    /// ```
    /// use lsm_engine::{Db, Listener, Options};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let options = Options { listener: Some(Listener::tracing()), ..Options::default() };
    /// let db = Db::open_with(dir.path(), options)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tracing() -> Self {
        Self::new(|event| match event {
            Event::Poisoned { .. } => tracing::error!(target: "lsm_engine", "{event}"),
            Event::NoSpace { .. }
            | Event::BackgroundError { .. }
            | Event::TablesSetAside { .. }
            | Event::Stalled { .. }
            | Event::Missed { .. } => tracing::warn!(target: "lsm_engine", "{event}"),
            _ => tracing::debug!(target: "lsm_engine", "{event}"),
        })
    }
}
