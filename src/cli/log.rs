//! The flags of the log, for the commands that run until they are stopped.

use clap::{Args, ValueEnum};

use super::OutputArgs;

/// What the log says, and in which form.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// How much the log says.
    ///
    /// error, warn, info, debug or trace. Each -v is one step more, each -q one less.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "SIDEKICK_LOG_LEVEL"
    )]
    pub log_level: LogLevel,
    /// The form of the log.
    ///
    /// One line of text, or one JSON object, for each event. The log goes to standard error.
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

/// How much the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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

impl LogLevel {
    const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// This level, one step more for each `-v` and one less for each `-q`.
    #[must_use]
    pub fn shifted(self, output: OutputArgs) -> Self {
        let more = self as usize + usize::from(output.verbose);
        let level = more.saturating_sub(usize::from(output.quiet));
        Self::ALL[level.min(Self::ALL.len() - 1)]
    }
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text per event.
    Text,
    /// One JSON object per event.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ColorWhen;

    #[test]
    fn each_v_is_one_step_more_and_each_q_one_less() {
        let shifted = |level: LogLevel, verbose, quiet| {
            level.shifted(OutputArgs {
                color: ColorWhen::Auto,
                quiet,
                verbose,
            })
        };
        assert_eq!(shifted(LogLevel::Info, 0, 0), LogLevel::Info);
        assert_eq!(shifted(LogLevel::Info, 1, 0), LogLevel::Debug);
        assert_eq!(shifted(LogLevel::Info, 9, 0), LogLevel::Trace);
        assert_eq!(shifted(LogLevel::Info, 0, 1), LogLevel::Warn);
        assert_eq!(shifted(LogLevel::Error, 0, 3), LogLevel::Error);
        assert_eq!(shifted(LogLevel::Info, 2, 2), LogLevel::Info);
    }
}
