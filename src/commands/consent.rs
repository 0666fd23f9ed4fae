//! Asking before something is changed that cannot be changed back.

use std::io::{BufRead, IsTerminal, Write, stdin, stdout};

use anyhow::bail;

/// Whether the command line said `--yes`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    Given,
    Ask,
}

impl Consent {
    /// Of the option `--yes`.
    pub(super) fn of(yes: bool) -> Self {
        if yes { Self::Given } else { Self::Ask }
    }

    /// Whether the answer to the question is yes. Fails when there is no terminal to ask on.
    pub(super) fn to(self, question: &str) -> anyhow::Result<bool> {
        if self == Self::Given {
            return Ok(true);
        }
        if !stdin().is_terminal() {
            bail!("nothing was changed: there is no terminal to ask \"{question}\" on; say --yes");
        }
        print!("{question} [y/N] ");
        stdout().flush()?;
        let mut answer = String::new();
        stdin().lock().read_line(&mut answer)?;
        let is_yes = matches!(answer.trim(), "y" | "Y" | "yes");
        if !is_yes {
            println!("Nothing was changed.");
        }
        Ok(is_yes)
    }
}
