//! The terminal: lent to a program while it runs, and drawn on. Adapter.

use std::io::{self, IsTerminal};

use nix::unistd::{getpgrp, tcgetpgrp, tcsetpgrp};

/// The terminal's foreground, which is ours to give away; it comes back to us when this is dropped.
#[derive(Debug)]
pub(super) struct Foreground(());

impl Foreground {
    /// Takes note of it. `None` if there is no terminal, or if it is not ours: we run in the background.
    pub(super) fn ours() -> Option<Self> {
        let stdin = io::stdin();
        // A terminal that does not control our session says ENOTTY, and one that has hung up ENXIO.
        let is_ours = stdin.is_terminal() && tcgetpgrp(&stdin).is_ok_and(|it| it == getpgrp());
        is_ours.then_some(Self(()))
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        // Our signal mask holds back what the terminal has to say about it, and one that is gone needs no group.
        let _ = tcsetpgrp(io::stdin(), getpgrp());
    }
}

/// How many characters a line of the terminal at our standard output has, and how many lines it has; `None` if there is no
/// terminal. One that does not say has 80 by 24.
#[must_use]
pub fn size() -> Option<(usize, usize)> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&stdout).ok();
    let or = |said: u16, default| {
        if said == 0 {
            default
        } else {
            usize::from(said)
        }
    };
    let said = |size: rustix::termios::Winsize| (or(size.ws_col, 80), or(size.ws_row, 24));
    Some(size.map_or((80, 24), said))
}
