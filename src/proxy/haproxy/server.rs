//! A `server` line: what it says, and which of it the runtime API can change or write out for a server that is added.
//! Pure.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::parse::{Line, is_plain};
use super::socket::Word;

/// A server of a section, by the names that the runtime API knows it by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The backend (or listen section).
    pub backend: Word,
    /// The server.
    pub name: Word,
}

impl Id {
    /// If both names are such that HAProxy takes them.
    #[must_use]
    pub fn new(backend: &str, name: &str) -> Option<Self> {
        let named = |text: &str| text.bytes().all(is_name).then(|| Word::new(text))?;
        Some(Self {
            backend: named(backend)?,
            name: named(name)?,
        })
    }

    /// `app/web-1`, as commands name it.
    #[must_use]
    pub fn word(&self) -> Word {
        self.backend.join('/', &self.name)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend.as_str(), self.name.as_str())
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte)
}

/// Keywords that a server added at run time takes with the meaning they have in a file, and how many words follow each.
///
/// Left out, though HAProxy takes them: what another program or server decides (`agent-check`, `track`), what depends on
/// the place among the others (`backup`, `id`) or on what was reckoned at the start (`minconn`), and certificates of our
/// own. Refused by HAProxy: `cookie`, `redir`, `resolvers`, `init-addr`.
const ADDABLE: [(&str, usize); 41] = [
    ("addr", 1),
    ("alpn", 1),
    ("ca-file", 1),
    ("check", 0),
    ("check-alpn", 1),
    ("check-proto", 1),
    ("check-send-proxy", 0),
    ("check-sni", 1),
    ("check-ssl", 0),
    ("disabled", 0),
    ("downinter", 1),
    ("enabled", 0),
    ("error-limit", 1),
    ("fall", 1),
    ("fastinter", 1),
    ("inter", 1),
    ("maxconn", 1),
    ("maxqueue", 1),
    ("no-check", 0),
    ("observe", 1),
    ("on-error", 1),
    ("on-marked-down", 1),
    ("on-marked-up", 1),
    ("pool-low-conn", 1),
    ("pool-max-conn", 1),
    ("pool-purge-delay", 1),
    ("port", 1),
    ("proto", 1),
    ("rise", 1),
    ("send-proxy", 0),
    ("send-proxy-v2", 0),
    ("slowstart", 1),
    ("sni", 1),
    ("ssl", 0),
    ("ssl-max-ver", 1),
    ("ssl-min-ver", 1),
    ("tfo", 0),
    ("verify", 1),
    ("verifyhost", 1),
    ("weight", 1),
    ("ws", 1),
];

/// What has to be written out, because a server that is added lacks the defaults of one in a file. Without the pool's it
/// would open a connection for each request (2.6).
const IMPLIED: [(&str, &str); 2] = [("pool-purge-delay", "5s"), ("pool-max-conn", "-1")];

/// A `server` line with a plain address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server<'a> {
    /// Its name.
    pub name: &'a str,
    /// Address and port.
    pub at: SocketAddr,
    /// Its own keywords and their values, without weight and state.
    pub rest: Vec<&'a str>,
    /// Its own weight.
    pub weight: Option<u16>,
    /// Its own `disabled` (true) or `enabled`.
    pub disabled: Option<bool>,
}

/// The name of a server on a `server` line.
#[must_use]
pub fn name<'a>(line: &Line<'a>) -> Option<&'a str> {
    // Without looking at the rest: there may be ten thousand.
    let name = line.raw().split([' ', '\t']).filter(|w| !w.is_empty());
    name.clone().nth(1).filter(|name| name.bytes().all(is_name))
}

impl<'a> Server<'a> {
    /// Reads a line; none if it says anything in a way that is not understood, or has a host name for an address.
    pub fn read(line: &Line<'a>) -> Option<Self> {
        let words = line.words()?;
        let [_, name, at, keywords @ ..] = words.as_slice() else {
            return None;
        };
        let (rest, weight, disabled) = split(keywords)?;
        let server = Self {
            name,
            at: address(at)?,
            rest,
            weight,
            disabled,
        };
        name.bytes().all(is_name).then_some(server)
    }
}

/// Takes weight and state out of keywords. None if a keyword might be the value of another one.
fn split<'a>(keywords: &[&'a str]) -> Option<(Vec<&'a str>, Option<u16>, Option<bool>)> {
    let (mut rest, mut weight, mut disabled) = (Vec::new(), None, None);
    let mut words = keywords.iter().copied();
    let mut before = "";
    while let Some(word) = words.next() {
        match word {
            // Behind a word that takes a value, this is the value.
            "weight" | "disabled" | "enabled" if takes_value(before) => return None,
            "weight" => {
                weight = Some(words.next()?.parse().ok().filter(|n| *n <= 256)?);
                before = "";
                continue;
            }
            "disabled" => disabled = Some(true),
            "enabled" => disabled = Some(false),
            _ => rest.push(word),
        }
        before = word;
    }
    Some((rest, weight, disabled))
}

/// Further keywords with a value, which might read `disabled`.
const VALUED: [&str; 12] = [
    "agent-send",
    "cookie",
    "crt",
    "id",
    "init-addr",
    "interface",
    "minconn",
    "namespace",
    "redir",
    "resolvers",
    "source",
    "track",
];

/// Whether a word may take the next one as its value, for all that we know.
fn takes_value(word: &str) -> bool {
    let known = ADDABLE.iter().find(|(keyword, _)| *keyword == word);
    known.map_or(VALUED.contains(&word), |(_, values)| *values > 0)
}

/// `10.0.0.1:80`, `[2001:db8::1]:80`, or `2001:db8::1:80`, whose last colon is the port's.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .map_or(Some(host), |host| host.strip_suffix(']'))?;
    let ip: IpAddr = host.parse().ok()?;
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let port: u16 = port.parse().ok().filter(|port| digits && *port > 0)?;
    (!ip.is_unspecified()).then_some(SocketAddr::new(ip, port))
}

/// Everything that a server has to be told when it is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    /// Keywords and values, the weight last.
    pub keywords: Vec<Word>,
    /// With an explicit or implied weight.
    pub weight: u16,
    /// Not to be enabled.
    pub disabled: bool,
    /// With health checks.
    pub checked: bool,
}

/// A keyword that a server cannot be added with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAddable(pub String);

/// The weight and the state of a server with these default-server lines before it.
#[must_use]
pub fn standing(defaults: &[Vec<&str>], server: &Server<'_>) -> Option<(u16, bool)> {
    let (mut weight, mut disabled) = (1, false);
    for words in defaults {
        let (_, line_weight, line_disabled) = split(words)?;
        weight = line_weight.unwrap_or(weight);
        disabled = line_disabled.unwrap_or(disabled);
    }
    Some((
        server.weight.unwrap_or(weight),
        server.disabled.unwrap_or(disabled),
    ))
}

/// Writes out what a server has to be told: its own keywords over those of the default-server lines before it.
pub fn full(defaults: &[Vec<&str>], server: &Server<'_>) -> Result<Full, NotAddable> {
    let not = |word: &str| NotAddable(word.to_owned());
    let mut found: Vec<(&str, Option<&str>)> = Vec::new();
    for words in defaults.iter().chain([&server.rest]) {
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let known = ADDABLE.iter().find(|(keyword, _)| *keyword == word);
            let (_, values) = known.ok_or_else(|| not(word))?;
            let value = if *values == 0 {
                None
            } else {
                Some(words.next().ok_or_else(|| not(word))?)
            };
            let name = if word == "no-check" { "check" } else { word };
            found.retain(|(keyword, _)| *keyword != name);
            if word == name {
                found.push((word, value));
            }
        }
    }
    let (weight, disabled) = standing(defaults, server).ok_or_else(|| not("weight"))?;
    found.retain(|(keyword, _)| !matches!(*keyword, "weight" | "disabled" | "enabled"));
    for (keyword, value) in IMPLIED {
        if !found.iter().any(|(name, _)| *name == keyword) {
            found.push((keyword, Some(value)));
        }
    }
    let has = |keyword: &str| found.iter().any(|(name, _)| *name == keyword);
    // In a file the checks of a server with ssl go over ssl by themselves.
    if has("ssl") && has("check") && !has("check-ssl") {
        return Err(not("ssl"));
    }
    let checked = has("check");
    let words = found
        .iter()
        .flat_map(|(keyword, value)| [Some(*keyword), *value]);
    let keywords = words.flatten().map(|word| {
        let word = Some(word).filter(|word| is_plain(word)).and_then(Word::new);
        word.ok_or_else(|| not("a quoted value"))
    });
    Ok(Full {
        keywords: keywords.collect::<Result<_, _>>()?,
        weight,
        disabled,
        checked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::haproxy::parse::Text;

    fn with<T>(line: &str, look: impl FnOnce(Option<Server<'_>>) -> T) -> T {
        let text = Text::read(line);
        look(Server::read(&text.sections[0].lines[0]))
    }

    #[test]
    fn a_line() {
        with(
            "server a 10.0.0.1:80 check weight 7 inter 2s disabled # x",
            |server| {
                let server = server.unwrap();
                assert_eq!(
                    (server.name, server.at.to_string().as_str()),
                    ("a", "10.0.0.1:80")
                );
                assert_eq!((server.weight, server.disabled), (Some(7), Some(true)));
                assert_eq!(server.rest, ["check", "inter", "2s"]);
            },
        );
        for (text, at) in [
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("2001:db8::1:80", "[2001:db8::1]:80"),
        ] {
            with(&format!("server a {text}"), |server| {
                assert_eq!(server.unwrap().at.to_string(), at);
            });
        }
    }

    #[test]
    fn what_is_no_plain_server() {
        for line in [
            "server a",
            "server a host:80",
            "server a 10.0.0.1",
            "server a 10.0.0.1:+80",
            "server a 10.0.0.1:0",
            "server a 0.0.0.0:80",
            "server a ipv4@10.0.0.1:80",
            "server a /run/a.sock",
            "server a 10.0.0.1:80 weight",
            "server a 10.0.0.1:80 weight 257",
            "server a 10.0.0.1:80 weight x",
            "server a 10.0.0.1:80 cookie weight 3",
            "server a 10.0.0.1:80 cookie disabled",
            "server a\"b\" 10.0.0.1:80",
            "server a 10.0.0.1:80 sni \"x",
        ] {
            with(line, |server| assert_eq!(server, None, "{line}"));
        }
    }

    #[test]
    fn a_server_that_is_added_is_told_everything() {
        let defaults = [
            vec!["check", "inter", "1s", "weight", "3"],
            vec!["inter", "5s"],
        ];
        with("server a 10.0.0.1:80 fall 2 maxconn 9", |server| {
            let full = full(&defaults, &server.unwrap()).unwrap();
            let words: Vec<_> = full.keywords.iter().map(Word::as_str).collect();
            assert_eq!(
                words.join(" "),
                "check inter 5s fall 2 maxconn 9 pool-purge-delay 5s pool-max-conn -1"
            );
            assert_eq!((full.weight, full.disabled, full.checked), (3, false, true));
        });
        with(
            "server a 10.0.0.1:80 no-check disabled weight 0 pool-max-conn 4",
            |server| {
                let full = full(&defaults, &server.unwrap()).unwrap();
                assert_eq!((full.weight, full.disabled, full.checked), (0, true, false));
                assert!(
                    full.keywords
                        .iter()
                        .filter(|w| w.as_str() == "pool-max-conn")
                        .count()
                        == 1
                );
            },
        );
    }

    #[test]
    fn what_no_server_can_be_added_with() {
        for (line, word) in [
            ("cookie x", "cookie"),
            ("check track b/s", "track"),
            ("backup", "backup"),
            ("agent-check", "agent-check"),
            ("check ssl verify none", "ssl"),
            ("resolvers r", "resolvers"),
            ("something-new", "something-new"),
            ("check inter", "inter"),
            ("sni str(\"a\")", "a quoted value"),
        ] {
            with(&format!("server a 10.0.0.1:80 {line}"), |server| {
                let refused = full(&[], &server.unwrap()).unwrap_err();
                assert_eq!(refused, NotAddable(word.to_owned()), "{line}");
            });
        }
    }
}
