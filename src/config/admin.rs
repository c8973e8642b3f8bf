//! The flags of the admin endpoint, and of `sidekick health`, which asks it.

use std::time::Duration;

use super::Problem;
use super::duration::parse_duration;
use crate::cli;
use crate::model::listen_address::ListenAddress;

/// The admin endpoint of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The address at which it listens.
    pub address: ListenAddress,
    /// Further host names that requests may use.
    pub names: Vec<String>,
}

/// The question of `sidekick health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthQuestion {
    /// The address of the admin endpoint; `None` if it is switched off.
    pub address: Option<ListenAddress>,
    /// The path of the request.
    pub path: &'static str,
    /// How long the answer may take.
    pub limit: Duration,
}

/// Reads the flags of the admin endpoint; `None` if it is switched off.
pub fn parse_admin(args: &cli::AdminArgs) -> Result<Option<Admin>, Vec<Problem>> {
    let given = args.admin.as_deref().filter(|text| !text.is_empty());
    let Some(text) = given else {
        return Ok(None);
    };
    Ok(Some(Admin {
        address: parse_address(text).map_err(|problem| vec![problem])?,
        names: args.allowed.names(),
    }))
}

/// Reads the flags of `sidekick health`.
pub fn parse_health(args: &cli::Health) -> Result<HealthQuestion, Vec<Problem>> {
    let address = Some(&args.admin).filter(|text| !text.is_empty());
    let address = address.map(|text| parse_address(text)).transpose();
    let limit = parse_duration(&args.timeout);
    let limit = limit.map_err(|what| Problem::with(format!("--timeout: {what}")));
    match (address, limit) {
        (Ok(address), Ok(limit)) => Ok(HealthQuestion {
            address,
            path: if args.ready { "/ready" } else { "/health" },
            limit,
        }),
        (address, limit) => Err(address.err().into_iter().chain(limit.err()).collect()),
    }
}

fn parse_address(text: &str) -> Result<ListenAddress, Problem> {
    text.parse()
        .map_err(|error| Problem::with(format!("--admin: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_switches_the_endpoint_off() {
        let args = |admin: Option<&str>| cli::AdminArgs {
            admin: admin.map(str::to_owned),
            allowed: cli::AllowedHosts {
                allowed_host: vec![String::new(), "metrics.example.org".to_owned()],
            },
        };
        assert_eq!(parse_admin(&args(None)), Ok(None));
        assert_eq!(parse_admin(&args(Some(""))), Ok(None));
        let one = parse_admin(&args(Some("127.0.0.1:1"))).unwrap().unwrap();
        assert_eq!(one.names, ["metrics.example.org"]);
        assert_eq!(parse_admin(&args(Some("9465"))).unwrap_err().len(), 1);
    }

    #[test]
    fn all_mistakes_of_a_question_come_at_once() {
        let args = |admin: &str, timeout: &str| cli::Health {
            admin: admin.to_owned(),
            ready: false,
            timeout: timeout.to_owned(),
            format: cli::Format::Table,
        };
        assert_eq!(parse_health(&args("nowhere", "soon")).unwrap_err().len(), 2);
        assert_eq!(parse_health(&args("", "3s")).unwrap().address, None);
    }
}
