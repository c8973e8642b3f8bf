//! The terminal at our standard input, lent to a program while it runs. Adapter.

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
