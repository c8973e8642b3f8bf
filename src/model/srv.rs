//! The members of an etcd cluster in the DNS: the names that are looked up, and the order in which members are tried. Pure.

use std::time::Duration;

use super::os::Srv;

/// A domain whose SRV records name the members of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvDomain {
    /// The domain, without a dot at its end.
    pub domain: String,
    /// Tells several clusters of one domain apart.
    pub name: Option<String>,
}

/// What the servers of the DNS say of the SRV records of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SrvAnswer {
    /// These; one at least.
    Records(Vec<Srv>),
    /// This server says that there is none.
    None(String),
    /// No server has answered; why.
    Failed(String),
}

/// Looks up the SRV records of exactly this name, within this time. It blocks.
pub type SrvLookup = fn(&str, Duration) -> SrvAnswer;

/// The members, as the DNS says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// A record for each member, sorted.
    pub records: Vec<Srv>,
    /// Whether they speak TLS.
    pub has_tls: bool,
}

impl SrvDomain {
    /// The name whose SRV records are the members with or without TLS, as `etcdctl` has it.
    #[must_use]
    pub fn question(&self, has_tls: bool) -> String {
        let ssl = if has_tls { "-ssl" } else { "" };
        let name = self.name.as_ref();
        let name = name.map_or_else(String::new, |name| format!("-{name}"));
        format!("_etcd-client{ssl}{name}._tcp.{}", self.domain)
    }

    /// The text by which the store is known: the same for the same domain and name.
    #[must_use]
    pub fn identity(&self) -> String {
        let name = self.name.as_ref();
        let name = name.map_or_else(String::new, |name| format!("?name={name}"));
        format!("etcd+srv://{}{name}", self.domain)
    }

    /// Finds the members: those with TLS, else those without. Each of the two look-ups may take `limit`.
    ///
    /// # Errors
    ///
    /// The error says what was asked, and of which server. A look-up that failed is no reason to do without TLS, and neither is a
    /// lack of records where `needs_tls` says that it is wanted.
    pub fn find(
        &self,
        needs_tls: bool,
        limit: Duration,
        lookup: SrvLookup,
    ) -> Result<Found, String> {
        let secure = self.question(true);
        let none = match ask(&secure, true, limit, lookup) {
            Ok(found) => return Ok(found),
            Err(SrvAnswer::None(server)) => format!("{server} has no SRV record of {secure}"),
            Err(failed) => return Err(failure(&secure, failed)),
        };
        if needs_tls {
            return Err(format!("{none}, and without TLS sidekick does not connect"));
        }
        let plain = self.question(false);
        ask(&plain, false, limit, lookup).map_err(|answer| match answer {
            SrvAnswer::None(_) => format!("{none}, and none of {plain}"),
            failed => failure(&plain, failed),
        })
    }
}

fn ask(name: &str, has_tls: bool, limit: Duration, lookup: SrvLookup) -> Result<Found, SrvAnswer> {
    let mut records = match lookup(name, limit) {
        SrvAnswer::Records(records) => records,
        other => return Err(other),
    };
    // A target that is the root says that the service is not there.
    records.retain(|record| record.target != "." && record.port > 0);
    if records.is_empty() {
        return Err(SrvAnswer::None("the DNS".to_owned()));
    }
    let key = |record: &Srv| {
        let Srv {
            target,
            port,
            priority,
            weight,
        } = record;
        (*priority, *weight, target.clone(), *port)
    };
    records.sort_by_key(key);
    Ok(Found { records, has_tls })
}

fn failure(name: &str, answer: SrvAnswer) -> String {
    let why = match answer {
        SrvAnswer::Failed(why) => why,
        SrvAnswer::None(_) | SrvAnswer::Records(_) => String::new(),
    };
    format!("the SRV records of {name} cannot be looked up: {why}")
}

impl Found {
    /// `host:port` of each member in the order in which they are tried (RFC 2782): lower priorities first, and within one priority
    /// at random by weight. `chance` gives numbers from 0 to below 1.
    pub fn endpoints(&self, mut chance: impl FnMut() -> f64) -> Vec<String> {
        let mut rest = self.records.clone();
        let mut endpoints = Vec::new();
        while let Some(priority) = rest.iter().map(|record| record.priority).min() {
            // One is added, so that a record without weight has a small chance.
            let share = |record: &Srv| {
                let is_next = record.priority == priority;
                if is_next {
                    f64::from(record.weight) + 1.0
                } else {
                    0.0
                }
            };
            let mut left = chance() * rest.iter().map(share).sum::<f64>();
            let chosen = rest.iter().position(|record| {
                left -= share(record);
                left < 0.0
            });
            // Rounding may leave something over.
            let last = rest.iter().rposition(|record| record.priority == priority);
            let Some(at) = chosen.or(last) else { break };
            let record = rest.remove(at);
            endpoints.push(format!(
                "{}:{}",
                record.target.trim_end_matches('.'),
                record.port
            ));
        }
        endpoints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn record(target: &str, priority: u16, weight: u16) -> Srv {
        Srv {
            target: format!("{target}."),
            port: 2379,
            priority,
            weight,
        }
    }

    fn domain(name: Option<&str>) -> SrvDomain {
        SrvDomain {
            domain: "example.org".to_owned(),
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn the_names_are_those_of_etcdctl() {
        assert_eq!(
            domain(None).question(true),
            "_etcd-client-ssl._tcp.example.org"
        );
        assert_eq!(
            domain(None).question(false),
            "_etcd-client._tcp.example.org"
        );
        let named = domain(Some("eu"));
        assert_eq!(named.question(true), "_etcd-client-ssl-eu._tcp.example.org");
        assert_eq!(named.question(false), "_etcd-client-eu._tcp.example.org");
        assert_eq!(named.identity(), "etcd+srv://example.org?name=eu");
    }

    fn none(_: &str, _: Duration) -> SrvAnswer {
        SrvAnswer::None("10.0.0.53:53".to_owned())
    }

    fn plain_only(name: &str, limit: Duration) -> SrvAnswer {
        if name.contains("-ssl") {
            return none(name, limit);
        }
        SrvAnswer::Records(vec![record("a", 1, 1)])
    }

    fn both(_: &str, _: Duration) -> SrvAnswer {
        SrvAnswer::Records(vec![record("a", 1, 1)])
    }

    /// Whether there is TLS is not known.
    fn half(name: &str, limit: Duration) -> SrvAnswer {
        if name.contains("-ssl") {
            return SrvAnswer::Failed("10.0.0.53:53: it does not answer".to_owned());
        }
        plain_only(name, limit)
    }

    fn root_only(_: &str, _: Duration) -> SrvAnswer {
        SrvAnswer::Records(vec![record("", 1, 1)])
    }

    #[test]
    fn members_with_tls_come_first_and_a_failure_does_not_lead_to_those_without() {
        let find = |needs_tls, lookup| domain(None).find(needs_tls, LIMIT, lookup);
        let has_tls = |found: Result<Found, String>| found.map(|found| found.has_tls);
        assert_eq!(has_tls(find(false, both)), Ok(true));
        assert_eq!(has_tls(find(false, plain_only)), Ok(false));
        for (needs_tls, lookup, want) in [
            (
                false,
                none as SrvLookup,
                "10.0.0.53:53 has no SRV record of _etcd-client-ssl._tcp.example.org, and none of \
                 _etcd-client._tcp.example.org",
            ),
            (
                true,
                plain_only,
                "10.0.0.53:53 has no SRV record of _etcd-client-ssl._tcp.example.org, and without TLS sidekick does not connect",
            ),
            (
                false,
                half,
                "the SRV records of _etcd-client-ssl._tcp.example.org cannot be looked up: 10.0.0.53:53: it does not answer",
            ),
            (
                false,
                root_only,
                "the DNS has no SRV record of _etcd-client-ssl._tcp.example.org, and none of _etcd-client._tcp.example.org",
            ),
        ] {
            assert_eq!(find(needs_tls, lookup).unwrap_err(), want);
        }
    }

    #[test]
    fn members_are_tried_by_priority_then_by_weight() {
        let records = vec![record("a", 1, 0), record("b", 1, 99), record("c", 2, 1000)];
        let found = Found {
            records,
            has_tls: false,
        };
        for (chance, want) in [
            (0.0, ["a", "b", "c"]),
            (0.5, ["b", "a", "c"]),
            (0.999_999, ["b", "a", "c"]),
        ] {
            let want = want.map(|host| format!("{host}:2379"));
            assert_eq!(found.endpoints(|| chance), want);
        }
    }

    proptest::proptest! {
        #[test]
        fn each_member_is_tried_once(
            records in proptest::collection::vec((0_u16..3, proptest::prelude::any::<u16>()), 0..8),
            chance in 0.0..1.0,
        ) {
            let records = records.iter().enumerate();
            let records = records.map(|(at, (priority, weight))| record(&format!("n{at}"), *priority, *weight));
            let found = Found { records: records.collect(), has_tls: false };
            let mut endpoints = found.endpoints(|| chance);
            endpoints.sort();
            endpoints.dedup();
            proptest::prop_assert_eq!(endpoints.len(), found.records.len());
        }
    }
}
