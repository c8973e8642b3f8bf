//! What the flags say about the containers of this host.

use std::time::Duration;

use super::input::{Problems, Setting};
use super::parse_duration;
use crate::cli::{DockerAddress, DockerArgs};
use crate::model::address::Spec;
use crate::model::listen_address::ListenAddress;

/// How the containers of this host are announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Docker {
    /// The socket of the engine.
    pub engine: ListenAddress,
    /// How long containers stay announced while the engine does not answer.
    pub grace: Duration,
    /// Which address of each is announced.
    pub ways: ContainerWays,
}

/// Which address of a container is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerWays {
    /// Whether it is the host's, with the published port.
    pub published: bool,
    /// The network that counts for containers that name none.
    pub network: Option<String>,
    /// The ways to the host's address, for published ports and containers in the host's network.
    pub host: Vec<Spec>,
}

/// What the flags say; `host` are the ways to the host's address. `None` without `--docker`.
pub(super) fn parse_docker(
    args: &DockerArgs,
    host: Vec<Spec>,
    found: &mut Problems<'_, '_>,
) -> Option<Docker> {
    let engine = Setting::flag("--docker", args.docker.as_ref()?).parse(found, parse_engine);
    let grace = Setting::flag("--docker-grace", &args.docker_grace).parse(found, parse_duration);
    Some(Docker {
        engine: engine?,
        grace: grace?,
        ways: ContainerWays {
            published: args.docker_address == DockerAddress::Published,
            network: args.docker_network.clone(),
            host,
        },
    })
}

fn parse_engine(text: &str) -> Result<ListenAddress, String> {
    let path = text.strip_prefix("unix://").or(text.strip_prefix("unix:"));
    let path = path.unwrap_or(text);
    format!("unix:{path}").parse().map_err(|_| {
        format!("{text:?} is not the path of a socket: write unix:///var/run/docker.sock")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_a_path() {
        for good in ["unix:///a/b", "unix:/a/b", "/a/b"] {
            assert_eq!(parse_engine(good), Ok(ListenAddress::Unix("/a/b".into())));
        }
        for bad in ["tcp://127.0.0.1:2375", "a/b", "", "unix://a"] {
            assert!(parse_engine(bad).is_err(), "{bad}");
        }
    }
}
