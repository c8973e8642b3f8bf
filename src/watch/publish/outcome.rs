//! The outcome of a publish, on which all others act: the schedule, the guard, the applied revision, readiness and the exit
//! status. Pure.

/// How a publish ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::watch) enum Outcome {
    /// Files and programs are as they should be; `reloaded`: the program was reloaded for that.
    Good { reloaded: bool },
    /// The files would change. Nothing was changed, as `--noop` asks.
    WouldChange,
    /// The target needs a reload, and it is too early for one.
    ReloadOwed,
    /// The program has refused these contents before, and it is too early to try them again.
    RefusedBefore,
    /// The running HAProxy has been changed, and the publish made way for newer data before its file was checked.
    Overtaken,
    /// The publish was ended from outside; it counts neither as a success nor as a failure.
    GivenUp,
    /// A step failed; `reloaded`: the program was asked to reload before that.
    Failed { reloaded: bool },
    /// The files would change, and the difference, for which `--noop --diff` asks, cannot be printed.
    NotPrinted,
    /// The new files were in their places, and the program or a check refused them there.
    Refused { reloaded: bool },
}

impl Outcome {
    /// The name of the outcome in metrics.
    pub(in crate::watch) fn name(self) -> &'static str {
        match self {
            Self::Good { .. } => "good",
            Self::WouldChange => "would_change",
            Self::ReloadOwed => "reload_owed",
            Self::RefusedBefore => "refused_before",
            Self::Overtaken => "overtaken",
            Self::GivenUp => "given_up",
            Self::Failed { .. } | Self::NotPrinted => "failed",
            Self::Refused { .. } => "refused",
        }
    }

    /// Whether the files and the programs are as they should be.
    pub(in crate::watch) fn is_good(self) -> bool {
        matches!(self, Self::Good { .. })
    }

    /// Whether a step failed, or the program refused the files.
    pub(in crate::watch) fn is_failure(self) -> bool {
        matches!(
            self,
            Self::Failed { .. } | Self::NotPrinted | Self::Refused { .. }
        )
    }

    /// Whether the outcome says how the target's files and programs are now. The others leave open whether they are good.
    pub(in crate::watch) fn is_final(self) -> bool {
        match self {
            Self::Good { .. }
            | Self::WouldChange
            | Self::Failed { .. }
            | Self::NotPrinted
            | Self::Refused { .. } => true,
            Self::ReloadOwed | Self::RefusedBefore | Self::Overtaken | Self::GivenUp => false,
        }
    }

    /// Whether the program was asked to reload, with or without success.
    pub(in crate::watch) fn has_reloaded(self) -> bool {
        match self {
            Self::Good { reloaded } | Self::Failed { reloaded } | Self::Refused { reloaded } => {
                reloaded
            }
            Self::WouldChange
            | Self::NotPrinted
            | Self::ReloadOwed
            | Self::RefusedBefore
            | Self::Overtaken
            | Self::GivenUp => false,
        }
    }
}
