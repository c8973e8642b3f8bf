//! What the engine says, as far as it matters: its JSON becomes lists, events and containers. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::time;
use crate::model::container::{Binding, Container, ContainerId, LABEL_PREFIX, Status};
use crate::model::os::Signal;

/// A container in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) id: ContainerId,
    pub(super) status: Status,
}

/// What has happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: ContainerId,
    pub(super) what: What,
    /// Whether it has labels for us. An event of a network does not tell.
    pub(super) has_labels: bool,
    /// Nanoseconds since 1970.
    pub(super) time: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// It can serve now, or in another way than before.
    Came,
    /// It cannot serve any more.
    Went,
    /// Somebody has sent it a signal.
    Killed(Signal),
}

/// The answer to `GET /containers/json`: the containers that run and have labels for us.
pub(super) fn list(text: &str) -> Result<Vec<Listed>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Row {
        id: String,
        labels: Option<BTreeMap<String, String>>,
        #[serde(default)]
        state: String,
        #[serde(default)]
        status: String,
    }
    let rows: Vec<Row> = serde_json::from_str(text)?;
    let ours = rows
        .into_iter()
        .filter(|row| row.labels.as_ref().is_some_and(has_labels));
    let listed = |row: Row| {
        // `Up 5 minutes (health: starting)`
        let health = row.status.rsplit_once('(').map_or("", |(_, health)| health);
        Some(Listed {
            id: ContainerId::parse(&row.id)?,
            status: match (row.state.as_str(), health) {
                ("running", "health: starting)") => Status::Starting,
                ("running", "unhealthy)") => Status::Unhealthy,
                ("running", _) => Status::Up,
                ("paused", _) => Status::Paused,
                (_, _) => Status::Stopped,
            },
        })
    };
    Ok(ours.filter_map(listed).collect())
}

fn has_labels(labels: &BTreeMap<String, String>) -> bool {
    labels.keys().any(|key| key.starts_with(LABEL_PREFIX))
}

/// A line of `GET /events`; `None` if it is about nothing that matters.
pub(super) fn event(line: &str) -> Option<Event> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Line {
        #[serde(rename = "Type")]
        kind: String,
        action: String,
        actor: Actor,
        #[serde(rename = "timeNano", default)]
        time: u64,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Actor {
        #[serde(rename = "ID")]
        id: String,
        #[serde(default)]
        attributes: BTreeMap<String, String>,
    }
    let line: Line = serde_json::from_str(line).ok()?;
    let attributes = line.actor.attributes;
    let signal = || attributes.get("signal")?.parse::<Signal>().ok();
    let (id, what) = match (line.kind.as_str(), line.action.as_str()) {
        ("network", "connect" | "disconnect") => (attributes.get("container")?, What::Came),
        ("container", "kill") => (&line.actor.id, What::Killed(signal()?)),
        ("container", "die" | "stop" | "pause" | "destroy" | "health_status: unhealthy") => {
            (&line.actor.id, What::Went)
        }
        ("container", "start" | "restart" | "unpause" | "rename") => (&line.actor.id, What::Came),
        // Some engines do not say in the event what the health is; the inspection does.
        ("container", action) if action.starts_with("health_status") => {
            (&line.actor.id, What::Came)
        }
        (_, _) => return None,
    };
    Some(Event {
        id: ContainerId::parse(id)?,
        what,
        has_labels: has_labels(&attributes),
        time: line.time,
    })
}

/// The answer to `GET /containers/ID/json`.
pub(super) fn inspection(text: &str) -> Result<Container, String> {
    let raw: raw::Inspection = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let id = ContainerId::parse(&raw.id).ok_or("its id is not 64 hexadecimal digits")?;
    let mut labels = raw.config.labels.unwrap_or_default();
    labels.retain(|key, _| key.starts_with(LABEL_PREFIX));
    let networks = raw.network_settings.networks.unwrap_or_default();
    let addresses = networks.into_iter().filter_map(|(name, network)| {
        let mut both = [network.ip_address, network.ipv6_address].into_iter();
        Some((name, both.find_map(|text| text?.parse().ok())?))
    });
    Ok(Container {
        name: raw.name.trim_start_matches('/').to_owned(),
        hostname: raw.config.hostname,
        status: status(&raw.state),
        started_at: time::rfc3339(&raw.state.started_at).unwrap_or_default(),
        stop_signal: stop_signal(raw.config.stop_signal.as_deref()),
        is_on_host_network: raw.host_config.network_mode == "host",
        networks: addresses.collect(),
        published: published(&raw.network_settings.ports.unwrap_or_default()),
        labels,
        id,
    })
}

fn status(state: &raw::State) -> Status {
    // The engine says of a container that waits for its next start that it runs.
    if !state.running || state.restarting || state.dead {
        return Status::Stopped;
    }
    let health = state.health.as_ref().map(|health| health.status.as_str());
    match health {
        _ if state.paused => Status::Paused,
        Some("starting") => Status::Starting,
        Some("unhealthy") => Status::Unhealthy,
        Some(_) | None => Status::Up,
    }
}

fn stop_signal(text: Option<&str>) -> Signal {
    let signal = text.and_then(|text| text.parse().ok());
    signal.unwrap_or(Signal::TERM)
}

/// A port counts once, over TCP if it is published over TCP and something else.
fn published(ports: &BTreeMap<String, Option<Vec<raw::Binding>>>) -> BTreeMap<u16, Vec<Binding>> {
    let mut published = BTreeMap::new();
    for is_tcp in [true, false] {
        for (key, bindings) in ports {
            let Some((port, protocol)) = key.split_once('/') else {
                continue;
            };
            let bindings = bindings.iter().flatten().filter_map(binding);
            let bindings: Vec<Binding> = bindings.collect();
            if let Ok(port) = port.parse::<u16>()
                && (protocol == "tcp") == is_tcp
                && !bindings.is_empty()
            {
                published.entry(port).or_insert(bindings);
            }
        }
    }
    published
}

fn binding(raw: &raw::Binding) -> Option<Binding> {
    let ip = match raw.ip.as_str() {
        "" => "0.0.0.0",
        ip => ip,
    };
    Some(Binding {
        ip: ip.parse().ok()?,
        port: raw.port.parse().ok().filter(|port| *port > 0)?,
    })
}

/// The JSON as it comes.
mod raw {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub(super) struct Inspection {
        pub(super) id: String,
        #[serde(default)]
        pub(super) name: String,
        pub(super) state: State,
        pub(super) config: Config,
        #[serde(default)]
        pub(super) host_config: HostConfig,
        #[serde(default)]
        pub(super) network_settings: NetworkSettings,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    #[expect(clippy::struct_excessive_bools, reason = "the engine has as many")]
    pub(super) struct State {
        pub(super) running: bool,
        #[serde(default)]
        pub(super) paused: bool,
        #[serde(default)]
        pub(super) restarting: bool,
        #[serde(default)]
        pub(super) dead: bool,
        #[serde(default)]
        pub(super) started_at: String,
        pub(super) health: Option<Health>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub(super) struct Health {
        #[serde(default)]
        pub(super) status: String,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    pub(super) struct Config {
        #[serde(default)]
        pub(super) hostname: String,
        pub(super) labels: Option<BTreeMap<String, String>>,
        pub(super) stop_signal: Option<String>,
    }

    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase")]
    pub(super) struct HostConfig {
        #[serde(default)]
        pub(super) network_mode: String,
    }

    #[derive(Deserialize, Default)]
    #[serde(rename_all = "PascalCase")]
    pub(super) struct NetworkSettings {
        pub(super) networks: Option<BTreeMap<String, Network>>,
        /// The container's port and protocol, such as `8080/tcp`; null for one that is not published.
        pub(super) ports: Option<BTreeMap<String, Option<Vec<Binding>>>>,
    }

    #[derive(Deserialize)]
    pub(super) struct Network {
        #[serde(rename = "IPAddress")]
        pub(super) ip_address: Option<String>,
        #[serde(rename = "GlobalIPv6Address")]
        pub(super) ipv6_address: Option<String>,
    }

    #[derive(Deserialize)]
    pub(super) struct Binding {
        #[serde(rename = "HostIp", default)]
        pub(super) ip: String,
        #[serde(rename = "HostPort", default)]
        pub(super) port: String,
    }
}

#[cfg(test)]
mod tests;
