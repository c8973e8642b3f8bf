//! The table `[template.guard]` of conf.d: how many instances a target may lose at once.

use std::time::Duration;

use super::duration::parse_positive_duration;
use super::toml_fields::TomlTable;
use super::{Output, Sources};
use crate::model::address::Network;
use crate::model::guard::{OnEmpty, Percent, Rules};

/// The limits in a table; `None` where the table says nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    on_empty: Option<OnEmpty>,
    min_instances: Option<usize>,
    max_drop: Option<Percent>,
    window: Option<Duration>,
    hold: Option<Duration>,
    networks: Option<Vec<Network>>,
}

/// The table `guard`, if there is one.
pub(super) fn read_guard(table: &mut TomlTable<'_, '_>) -> Option<Limits> {
    let mut table = table.table("guard")?;
    let limits = Limits {
        on_empty: table.parsed("on_empty", parse_on_empty),
        min_instances: table
            .number("min_instances")
            .and_then(|count| count.try_into().ok()),
        max_drop: table.share("max_drop", parse_percent),
        window: table.time("window", parse_positive_duration),
        hold: table.time("hold", parse_positive_duration),
        networks: table
            .list("networks", str::parse::<Network>)
            .map(|networks| networks.value),
    };
    table.finish(&[
        "on_empty",
        "min_instances",
        "max_drop",
        "window",
        "hold",
        "networks",
    ]);
    Some(limits)
}

impl Limits {
    /// The rules for a target with these files. By default, services are guarded and raw keys are not, as with confd.
    pub(super) fn rules(self, outputs: &[Output]) -> Rules {
        let follows_services = |output: &Output| match output.sources {
            Sources::AllServices | Sources::Services(_) => true,
            Sources::Keys(_) => false,
        };
        let default = if outputs.iter().any(follows_services) {
            Rules::of_services()
        } else {
            Rules::none()
        };
        Rules {
            on_empty: self.on_empty.unwrap_or(default.on_empty),
            min_instances: self.min_instances.unwrap_or(default.min_instances),
            max_drop: self.max_drop.unwrap_or(default.max_drop),
            window: self.window.unwrap_or(default.window),
            hold: self.hold.unwrap_or(default.hold),
            networks: self.networks.unwrap_or(default.networks),
        }
    }
}

fn parse_on_empty(text: &str) -> Result<OnEmpty, String> {
    match text {
        "hold" => Ok(OnEmpty::Hold),
        "render" => Ok(OnEmpty::Render),
        _ => Err(format!("{text:?} is neither \"hold\" nor \"render\"")),
    }
}

/// Parses a share. The sign `%` is required, since a bare number could be a count.
fn parse_percent(text: &str) -> Result<Percent, String> {
    let number = text.strip_suffix('%').filter(|number| {
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        digits && !number.is_empty()
    });
    match number.and_then(|number| number.parse().ok()) {
        Some(share @ 0..=100) => Ok(Percent(share)),
        Some(_) | None => Err(format!("{text:?} is not a share from \"0%\" to \"100%\"")),
    }
}
