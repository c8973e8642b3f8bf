//! The flags that every command has: how much it says, and whether in colour.

use clap::{ArgAction, Args, ValueEnum};

/// What is printed, and how.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// When to use colour.
    ///
    /// auto: on a terminal, unless NO_COLOR is set. CLICOLOR_FORCE=1 forces it, into a pipe, too.
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t = ColorWhen::Auto,
        global = true
    )]
    pub color: ColorWhen,
    /// Say less: results and errors only.
    ///
    /// No explanations, no confirmations, and a log of warnings; -qq: of errors only.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub quiet: u8,
    /// Say more: each decision (debug); -vv: everything (trace).
    ///
    /// It is the log that says more.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl OutputArgs {
    /// Whether only results and errors are wanted.
    #[must_use]
    pub fn is_quiet(self) -> bool {
        self.quiet > self.verbose
    }
}
