//! The flags that say how a command is stopped, for the modes that run one.

use clap::Args;

/// How the command is stopped.
#[derive(Debug, Args)]
#[command(next_help_heading = "Stop")]
pub struct StopArgs {
    /// The signal that asks the command to end.
    ///
    /// QUIT, SIGQUIT or 3, for example.
    ///
    /// TERM, INT and this signal, sent to sidekick, all begin a stop; an image with STOPSIGNAL SIGQUIT (nginx, PHP-FPM)
    /// works as it is with --stop-signal QUIT. A second signal is passed on as it is. Without this the command gets the
    /// signal that sidekick has got: TERM or INT.
    #[arg(long, value_name = "SIGNAL", env = "SIDEKICK_STOP_SIGNAL")]
    pub stop_signal: Option<String>,
    /// How long the command has to end.
    ///
    /// If it takes longer after that signal, it is killed, with what is left of its group.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub stop_grace: String,
    /// Send signals to the command's whole group.
    ///
    /// They go to its process group, and not to the command alone.
    ///
    /// Without it a master tells its workers itself, in its own order: one that waits for its workers' jobs would lose
    /// them if they heard the signal too. What is left of the group when the command has ended gets TERM either way.
    #[arg(long)]
    pub signal_group: bool,
}
