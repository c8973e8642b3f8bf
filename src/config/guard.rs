//! `[template.guard]`: what a target may lose at once, as conf.d says it.

use std::time::Duration;

use super::toml_table::Section;
use super::{Output, Sources, parse_duration};
use crate::model::address::Network;
use crate::model::guard::{OnEmpty, Percent, Rules};

/// What a table says of the limits.
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
pub(super) fn guard(section: &mut Section<'_, '_>) -> Option<Limits> {
    let mut table = section.section("guard")?;
    let limits = Limits {
        on_empty: table.parsed("on_empty", on_empty),
        min_instances: table
            .number("min_instances")
            .and_then(|count| count.try_into().ok()),
        max_drop: table.share("max_drop", percent),
        window: table.time("window", positive),
        hold: table.time("hold", positive),
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
    /// The rules for a target with these files. Services are guarded unless conf.d says otherwise; raw keys are not, as
    /// with confd.
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

fn on_empty(text: &str) -> Result<OnEmpty, String> {
    match text {
        "hold" => Ok(OnEmpty::Hold),
        "render" => Ok(OnEmpty::Render),
        _ => Err(format!("{text:?} is neither \"hold\" nor \"render\"")),
    }
}

/// The sign is required: a bare number could as well be a count.
fn percent(text: &str) -> Result<Percent, String> {
    let number = text.strip_suffix('%').filter(|number| {
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        digits && !number.is_empty()
    });
    match number.and_then(|number| number.parse().ok()) {
        Some(share @ 0..=100) => Ok(Percent(share)),
        Some(_) | None => Err(format!("{text:?} is not a share from \"0%\" to \"100%\"")),
    }
}

fn positive(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if time.is_zero() {
        return Err("it must be longer than nothing".to_owned());
    }
    Ok(time)
}
