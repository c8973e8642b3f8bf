//! `[template.guard]`: what a target may lose at once, as conf.d says it.

use super::document::Section;
use super::parse_duration;
use crate::model::address::Network;
use crate::model::guard::{OnEmpty, Percent, Rules};

/// Takes the table out of `[template]`; `default` stands for what it does not say.
pub(super) fn guard(section: &mut Section<'_, '_>, default: Rules) -> Rules {
    let Some(mut table) = section.section("guard") else {
        return default;
    };
    let networks = table.list("networks", str::parse::<Network>);
    let rules = Rules {
        on_empty: table
            .parsed("on_empty", on_empty)
            .unwrap_or(default.on_empty),
        min_instances: table
            .number("min_instances")
            .and_then(|count| count.try_into().ok())
            .unwrap_or(default.min_instances),
        max_drop: table
            .parsed("max_drop", percent)
            .unwrap_or(default.max_drop),
        window: table.parsed("window", positive).unwrap_or(default.window),
        hold: table.parsed("hold", positive).unwrap_or(default.hold),
        networks: networks.map_or(default.networks, |networks| networks.value),
    };
    table.finish("on_empty, min_instances, max_drop, window, hold and networks");
    rules
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

fn positive(text: &str) -> Result<std::time::Duration, String> {
    let time = parse_duration(text)?;
    if time.is_zero() {
        return Err("it must be longer than nothing".to_owned());
    }
    Ok(time)
}
