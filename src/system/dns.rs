//! Look-ups in the DNS, for templates and for the members of etcd: addresses through the system's resolver, SRV records by a small client of our own,
//! since the system's resolver has no call for them. Adapter.

mod message;

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::model::os::Srv;
use crate::model::srv::SrvAnswer;

/// How long a look-up may take, over all servers and names.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one server has for an answer.
const ONE_TRY: Duration = Duration::from_secs(2);
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The variable that names another file, for tests and for hosts whose SRV records have servers of their own.
const RESOLV_CONF_VARIABLE: &str = "SIDEKICK_RESOLV_CONF";
const PORT: u16 = 53;
/// The largest datagram without extensions.
const DATAGRAM: usize = 512;

/// The addresses of a host, within 5 s, none if there is no answer, as with confd; the address itself where `host` is one.
#[must_use]
pub fn addresses(host: &str) -> Vec<IpAddr> {
    let (to, answer) = mpsc::channel();
    let name = host.to_owned();
    // The system's resolver has no time limit of its own that we could set, so one that hangs is left behind.
    let asked = std::thread::Builder::new()
        .name("lookup".to_owned())
        .spawn(move || {
            let found = (name.as_str(), 0).to_socket_addrs();
            let found: Vec<IpAddr> = found.into_iter().flatten().map(|addr| addr.ip()).collect();
            // Past the limit nobody waits for the answer any more.
            let _ = to.send(found);
        });
    let found = asked.ok().and_then(|_| answer.recv_timeout(PATIENCE).ok());
    let found = found.unwrap_or_default();
    if found.is_empty() {
        tracing::debug!("no address is found for {host:?}");
    }
    found
}

/// The SRV records of a name, within 5 s; none if there is no answer, as with confd.
#[must_use]
pub fn services(name: &str) -> Vec<Srv> {
    let found = query_servers(&Resolver::read(), name, Instant::now() + PATIENCE);
    if found.is_empty() {
        tracing::debug!("no SRV record is found for {name:?}");
    }
    found
}

/// The SRV records of exactly this name, within `limit`; else what the servers say, or why they say nothing.
#[must_use]
pub fn srv_records(name: &str, limit: Duration) -> SrvAnswer {
    let until = Instant::now() + limit;
    let servers = Resolver::read().servers;
    let mut failures = Vec::new();
    for (at, server) in servers.iter().enumerate() {
        // One that does not answer leaves time for the others.
        let left = until.saturating_duration_since(Instant::now());
        let share = u32::try_from(servers.len() - at).map_or(left, |rest| left / rest);
        match query_server(*server, name, Instant::now() + share) {
            Ok(records) if records.is_empty() => return SrvAnswer::None(server.to_string()),
            Ok(records) => return SrvAnswer::Records(records),
            Err(error) => failures.push(format!("{server}: {}", explain(&error))),
        }
    }
    if failures.is_empty() {
        failures.push(format!("{} names no server", resolv_conf().display()));
    }
    SrvAnswer::Failed(failures.join("; "))
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it does not answer".to_owned(),
        _ => error.to_string(),
    }
}

fn resolv_conf() -> PathBuf {
    let named = std::env::var_os(RESOLV_CONF_VARIABLE).filter(|path| !path.is_empty());
    named.map_or_else(|| PathBuf::from(RESOLV_CONF), PathBuf::from)
}

/// The servers and search domains of `resolv.conf`.
#[derive(Debug, PartialEq, Eq)]
struct Resolver {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    dots: usize,
}

impl Resolver {
    fn read() -> Self {
        Self::parse(&std::fs::read_to_string(resolv_conf()).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut resolver = Self {
            servers: Vec::new(),
            search: Vec::new(),
            dots: 1,
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    resolver.servers.extend(words.next().and_then(server));
                }
                Some("search" | "domain") => resolver.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let mut dots =
                        words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    resolver.dots = dots.next_back().unwrap_or(resolver.dots);
                }
                Some(_) | None => {}
            }
        }
        resolver
    }

    /// The names that are tried for a name, in order.
    fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(full) = name.strip_suffix('.') {
            return vec![full.to_owned()];
        }
        let longer = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let mut names: Vec<String> = longer.collect();
        if name.matches('.').count() >= self.dots {
            names.insert(0, name.to_owned());
        } else {
            names.push(name.to_owned());
        }
        names
    }
}

/// A server, by its address or, beyond what other programs take, by address and port.
fn server(word: &str) -> Option<SocketAddr> {
    let on_port = word.parse::<SocketAddr>().ok();
    on_port.or_else(|| Some(SocketAddr::new(word.parse().ok()?, PORT)))
}

fn query_servers(resolver: &Resolver, name: &str, until: Instant) -> Vec<Srv> {
    for name in resolver.candidates(name) {
        for server in &resolver.servers {
            match query_server(*server, &name, until) {
                Ok(records) if records.is_empty() => break,
                Ok(records) => return records,
                Err(error) => {
                    tracing::debug!(%error, "{server} does not answer for {name:?}: {error}");
                }
            }
        }
    }
    Vec::new()
}

fn query_server(server: SocketAddr, name: &str, until: Instant) -> io::Result<Vec<Srv>> {
    let id = fastrand::u16(..);
    let question = message::question(id, name)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a name of the DNS"))?;
    let answer = by_datagram(server, &question, until)?;
    let answer = match message::answer(&answer, id) {
        Some(message::Answer::Truncated) => {
            let answer = by_stream(server, &question, until)?;
            message::answer(&answer, id)
        }
        other => other,
    };
    match answer {
        Some(message::Answer::Records(records)) => Ok(records),
        Some(message::Answer::Failed(code)) => Err(io::Error::other(match code {
            2 => "it answers that it failed (SERVFAIL)".to_owned(),
            5 => "it refuses to answer (REFUSED)".to_owned(),
            code => format!("it answers with the error {code}"),
        })),
        Some(message::Answer::Truncated) | None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// How long the next step may take, of what is left.
fn limit(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now()).min(ONE_TRY);
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

fn by_datagram(server: SocketAddr, question: &[u8], until: Instant) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if server.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    // Only what comes from there is taken for an answer.
    socket.connect(server)?;
    socket.set_read_timeout(Some(limit(until)?))?;
    socket.send(question)?;
    let mut answer = vec![0; DATAGRAM];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

fn by_stream(server: SocketAddr, question: &[u8], until: Instant) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, limit(until)?)?;
    stream.set_read_timeout(Some(limit(until)?))?;
    stream.set_write_timeout(Some(limit(until)?))?;
    let length = u16::try_from(question.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf() {
        let resolver = Resolver::parse(
            "# x\nnameserver 10.0.0.1\nnameserver ::1\nnameserver nonsense\nnameserver 10.0.0.2:5300\nsearch a.example b\noptions rotate ndots:3\n",
        );
        assert_eq!(
            resolver.servers,
            ["10.0.0.1:53", "[::1]:53", "10.0.0.2:5300"].map(|server| server.parse().unwrap())
        );
        assert_eq!(resolver.dots, 3);
        assert_eq!(
            resolver.candidates("_x._tcp.web"),
            ["_x._tcp.web.a.example", "_x._tcp.web.b", "_x._tcp.web"]
        );
        assert_eq!(resolver.candidates("a.b.c.d")[0], "a.b.c.d");
        assert_eq!(resolver.candidates("a."), ["a"]);
    }

    #[test]
    fn addresses_of_addresses() {
        assert_eq!(
            addresses("127.0.0.1"),
            ["127.0.0.1".parse::<IpAddr>().unwrap()]
        );
        assert!(addresses("not a name").is_empty());
    }

    /// A server that cuts its datagrams short and answers whole by stream.
    #[test]
    fn a_server_is_asked_by_datagram_then_by_stream() {
        let stream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = stream.local_addr().unwrap();
        let Ok(datagram) = UdpSocket::bind(at) else {
            // Somebody else has the port of that number; the two halves have tests of their own.
            return;
        };
        let server = std::thread::spawn(move || {
            let mut question = [0; DATAGRAM];
            let (length, from) = datagram.recv_from(&mut question).unwrap();
            let cut = message::tests::reply(&question[..length], true, &[]);
            datagram.send_to(&cut, from).unwrap();
            let (mut client, _) = stream.accept().unwrap();
            let mut length = [0; 2];
            client.read_exact(&mut length).unwrap();
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            client.read_exact(&mut question).unwrap();
            let whole =
                message::tests::reply(&question, false, &[(10, 5, 8080, "web.example.org")]);
            let length = u16::try_from(whole.len()).unwrap().to_be_bytes();
            client.write_all(&[&length[..], &whole].concat()).unwrap();
        });
        let resolver = Resolver {
            servers: vec![at],
            search: Vec::new(),
            dots: 1,
        };
        let found = query_servers(
            &resolver,
            "_http._tcp.example.org",
            Instant::now() + PATIENCE,
        );
        let want = Srv {
            target: "web.example.org.".to_owned(),
            port: 8080,
            priority: 10,
            weight: 5,
        };
        assert_eq!(found, [want]);
        server.join().unwrap();
    }

    #[test]
    fn nobody_there_is_no_record() {
        let resolver = Resolver {
            servers: Vec::new(),
            search: Vec::new(),
            dots: 1,
        };
        assert!(query_servers(&resolver, "a.b", Instant::now() + PATIENCE).is_empty());
        let late = Instant::now();
        assert!(query_server("127.0.0.1:9".parse().unwrap(), "a.b", late).is_err());
    }
}
