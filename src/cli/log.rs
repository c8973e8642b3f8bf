//! The flags of the log, for the commands that run until they are stopped.

use clap::{Args, ValueEnum};

/// What is said, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// How much is said: error, warn, info, debug or trace.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "SIDEKICK_LOG_LEVEL"
    )]
    pub log_level: LogLevel,
    /// How it is said: one line of text, or one JSON object, per event. The log goes to standard error.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        env = "SIDEKICK_LOG_FORMAT"
    )]
    pub log_format: LogFormat,
}

impl Default for LogArgs {
    fn default() -> Self {
        Self {
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
        }
    }
}

/// How much is said.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogLevel {
    /// What failed for good.
    Error,
    /// What failed and is tried again.
    Warn,
    /// State changes.
    Info,
    /// Each decision.
    Debug,
    /// Everything.
    Trace,
}

/// How it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text per event.
    Text,
    /// One JSON object per event.
    Json,
}
