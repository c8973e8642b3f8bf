//! The flags that announce containers.

use clap::{Args, ValueEnum};

/// Whether the containers of this host are announced, and with which addresses.
#[derive(Debug, Args)]
#[command(next_help_heading = "Docker")]
pub struct DockerArgs {
    /// Announce this host's containers by their labels.
    ///
    /// It announces those that have labels for it: sidekick.name=web, sidekick.port=8080.
    ///
    /// A container is announced while it runs and its health check, if it has one, passes; it is withdrawn when it is asked
    /// to stop, ends, is paused or becomes unhealthy. Its instance has the id CONTAINER-PORT. It may go together with
    /// --config, --name and a command. docs/docker.md lists the labels.
    #[arg(
        long,
        value_name = "SOCKET",
        num_args = 0..=1,
        default_missing_value = "unix:///var/run/docker.sock"
    )]
    pub docker: Option<String>,
    /// The address of a container.
    ///
    /// Its own in a network of Docker's, or the host's with the published port.
    #[arg(
        long,
        value_name = "WHICH",
        default_value = "internal",
        requires = "docker"
    )]
    pub docker_address: DockerAddress,
    /// The network whose addresses count.
    ///
    /// It is for containers that are in several networks; the label sidekick.network says it for one container.
    #[arg(long, value_name = "NAME", requires = "docker")]
    pub docker_network: Option<String>,
    /// How long the engine may be silent.
    ///
    /// Containers stay announced for this time while the engine does not answer.
    #[arg(long, value_name = "TIME", default_value = "60s", requires = "docker")]
    pub docker_grace: String,
}

/// Which address of a container is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DockerAddress {
    /// Its own.
    Internal,
    /// The host's.
    Published,
}
