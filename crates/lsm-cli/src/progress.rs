//! How far something long has come: a bar on standard error, if that is a terminal.

use std::cell::OnceCell;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for something whose length in bytes is known, or a line that counts if it is not.
pub(crate) fn bar(what: &str, bytes_total: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes_total {
        Some(total) => (
            ProgressBar::new(total),
            "{prefix} {bar:28} {percent:>3}%  {bytes} of {total_bytes}  {binary_bytes_per_sec}  \
             {msg}  {eta} left",
        ),
        None => (
            ProgressBar::no_length(),
            "{prefix} {spinner} {bytes}  {binary_bytes_per_sec}  {msg}  {elapsed}",
        ),
    };
    styled(bar, what, template)
}

/// A bar for something that is counted or timed, whose length is known; what else there is to say is
/// its message.
pub(crate) fn share_bar(what: &str, total: u64) -> ProgressBar {
    let template = "{prefix} {bar:28} {percent:>3}%  {msg}  {eta} left";
    styled(ProgressBar::new(total), what, template)
}

fn styled(bar: ProgressBar, what: &str, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    bar.set_style(style.progress_chars("━╸─"));
    bar.set_prefix(what.to_owned());
    bar
}

/// A bar for something whose length is known only once it has begun. Gone when it is dropped.
#[derive(Debug)]
pub(crate) struct LateBar {
    what: &'static str,
    bar: OnceCell<ProgressBar>,
}

impl LateBar {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, bar: OnceCell::new() }
    }

    pub(crate) fn show(&self, done: u64, total: u64) {
        self.bar.get_or_init(|| bar(self.what, Some(total))).set_position(done);
    }

    pub(crate) fn clear(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for LateBar {
    fn drop(&mut self) {
        self.clear();
    }
}
