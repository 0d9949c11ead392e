//! How far something long has come: a bar on standard error, if that is a terminal.

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
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    bar.set_style(style.progress_chars("━╸─"));
    bar.set_prefix(what.to_owned());
    bar
}
