//! Asking before something that cannot be undone.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;

use crate::exit::Failure;

/// Whether to ask.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Consent {
    /// Do not ask before something that cannot be undone
    #[arg(long)]
    pub(crate) yes: bool,
}

impl Consent {
    /// Goes on only if the user agrees; `question` ends with a question mark.
    ///
    /// # Errors
    /// `Usage` if the answer is no, or if nobody can be asked.
    pub(crate) fn ask(self, question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(Failure::usage(format!(
                "{question} There is no terminal to ask on, so --yes is needed; nothing was changed"
            )));
        }
        eprint!("{question} [y/N] ");
        let mut answer = String::new();
        // Neither can fail in a way that makes the answer yes.
        let _ = io::stderr().flush();
        let _ = io::stdin().lock().read_line(&mut answer);
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::usage("not confirmed; nothing was changed")),
        }
    }
}
