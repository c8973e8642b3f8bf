//! A `server` line, and the full settings with which the runtime API adds the same server. Pure.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::parse::{Line, is_plain};
use super::socket::Word;

/// The names by which the runtime API knows a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The backend (or listen section).
    pub backend: Word,
    /// The server.
    pub name: Word,
}

impl Id {
    /// The id, if both names have only characters that HAProxy allows.
    #[must_use]
    pub fn new(backend: &str, name: &str) -> Option<Self> {
        let named = |text: &str| text.bytes().all(is_name).then(|| Word::new(text))?;
        Some(Self {
            backend: named(backend)?,
            name: named(name)?,
        })
    }

    /// The id as commands write it: `app/web-1`.
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

/// Keywords that mean the same for a server that is added at run time as in a file, and how many words follow each.
///
/// Keywords that HAProxy takes and that are left out here: those that let another program or server decide (`agent-check`,
/// `track`), those that depend on the order of the servers (`backup`, `id`) or on a calculation at the start (`minconn`),
/// and client certificates (`crt`). HAProxy refuses `cookie`, `redir`, `resolvers` and `init-addr`.
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

/// Defaults of a server in a file that HAProxy does not apply to one that is added at run time, so the command has to give
/// them. Without those of the pool, HAProxy 2.6 would open a connection for each request.
const IMPLIED: [(&str, &str); 2] = [("pool-purge-delay", "5s"), ("pool-max-conn", "-1")];

/// A `server` line with a plain address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server<'a> {
    /// Its name.
    pub name: &'a str,
    /// Address and port.
    pub at: SocketAddr,
    /// The keywords of this line and their values, without weight and state.
    pub rest: Vec<&'a str>,
    /// The weight on this line.
    pub weight: Option<u16>,
    /// `disabled` (true) or `enabled` (false) on this line.
    pub disabled: Option<bool>,
}

/// The name on a `server` line, if it has only characters that HAProxy allows.
#[must_use]
pub fn name<'a>(line: &Line<'a>) -> Option<&'a str> {
    // Only the beginning of the line is read, since there may be ten thousand.
    let name = line.raw().split([' ', '\t']).filter(|w| !w.is_empty());
    name.clone().nth(1).filter(|name| name.bytes().all(is_name))
}

impl<'a> Server<'a> {
    /// Reads a line; `None` if it cannot be read with certainty, or has a host name instead of an address.
    pub fn parse(line: &Line<'a>) -> Option<Self> {
        let words = line.words()?;
        let [_, name, at, keywords @ ..] = words.as_slice() else {
            return None;
        };
        let (rest, weight, disabled) = take_weight_and_state(keywords)?;
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

/// Takes weight and state out of keywords; `None` if `weight`, `disabled` or `enabled` might be the value of another one.
fn take_weight_and_state<'a>(
    keywords: &[&'a str],
) -> Option<(Vec<&'a str>, Option<u16>, Option<bool>)> {
    let (mut rest, mut weight, mut disabled) = (Vec::new(), None, None);
    let mut words = keywords.iter().copied();
    let mut before = "";
    while let Some(word) = words.next() {
        match word {
            // This word may be the value of the word before it.
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

/// Further keywords that take a value, which might be `disabled`.
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

/// Whether a word is known to take the next one as its value.
fn takes_value(word: &str) -> bool {
    let known = ADDABLE.iter().find(|(keyword, _)| *keyword == word);
    known.map_or(VALUED.contains(&word), |(_, values)| *values > 0)
}

/// Reads `10.0.0.1:80`, `[2001:db8::1]:80` or `2001:db8::1:80`, where the last colon stands before the port.
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

/// All settings of a server, as the command that adds it has to give them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Keywords and values, without weight and state.
    pub keywords: Vec<Word>,
    /// The weight: the server's own, that of the defaults, or 1.
    pub weight: u16,
    /// Whether the server stays out of service.
    pub disabled: bool,
    /// Whether HAProxy checks the server's health.
    pub checked: bool,
}

/// The keyword because of which a server cannot be added at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAddable(pub String);

/// The weight of a server with these `default-server` lines before it, and whether it is disabled.
#[must_use]
pub fn weight_and_state(defaults: &[Vec<&str>], server: &Server<'_>) -> Option<(u16, bool)> {
    let (mut weight, mut disabled) = (1, false);
    for words in defaults {
        let (_, line_weight, line_disabled) = take_weight_and_state(words)?;
        weight = line_weight.unwrap_or(weight);
        disabled = line_disabled.unwrap_or(disabled);
    }
    Some((
        server.weight.unwrap_or(weight),
        server.disabled.unwrap_or(disabled),
    ))
}

/// The settings of a server: its own keywords over those of the `default-server` lines before it.
pub fn all_settings(defaults: &[Vec<&str>], server: &Server<'_>) -> Result<Settings, NotAddable> {
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
    let (weight, disabled) = weight_and_state(defaults, server).ok_or_else(|| not("weight"))?;
    found.retain(|(keyword, _)| !matches!(*keyword, "weight" | "disabled" | "enabled"));
    for (keyword, value) in IMPLIED {
        if !found.iter().any(|(name, _)| *name == keyword) {
            found.push((keyword, Some(value)));
        }
    }
    let has = |keyword: &str| found.iter().any(|(name, _)| *name == keyword);
    // In a file, `ssl` makes the checks use TLS, too. A server that is added would be checked without.
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
    Ok(Settings {
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

    fn with_server<T>(line: &str, check: impl FnOnce(Option<Server<'_>>) -> T) -> T {
        let text = Text::read(line);
        check(Server::parse(&text.sections[0].lines[0]))
    }

    #[test]
    fn a_line_is_read() {
        with_server(
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
            with_server(&format!("server a {text}"), |server| {
                assert_eq!(server.unwrap().at.to_string(), at);
            });
        }
    }

    #[test]
    fn a_line_without_a_plain_address_is_not_read() {
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
            with_server(line, |server| assert_eq!(server, None, "{line}"));
        }
    }

    #[test]
    fn all_settings_have_those_of_the_defaults() {
        let defaults = [
            vec!["check", "inter", "1s", "weight", "3"],
            vec!["inter", "5s"],
        ];
        with_server("server a 10.0.0.1:80 fall 2 maxconn 9", |server| {
            let all_settings = all_settings(&defaults, &server.unwrap()).unwrap();
            let words: Vec<_> = all_settings.keywords.iter().map(Word::as_str).collect();
            assert_eq!(
                words.join(" "),
                "check inter 5s fall 2 maxconn 9 pool-purge-delay 5s pool-max-conn -1"
            );
            assert_eq!(
                (
                    all_settings.weight,
                    all_settings.disabled,
                    all_settings.checked
                ),
                (3, false, true)
            );
        });
        with_server(
            "server a 10.0.0.1:80 no-check disabled weight 0 pool-max-conn 4",
            |server| {
                let all_settings = all_settings(&defaults, &server.unwrap()).unwrap();
                assert_eq!(
                    (
                        all_settings.weight,
                        all_settings.disabled,
                        all_settings.checked
                    ),
                    (0, true, false)
                );
                assert!(
                    all_settings
                        .keywords
                        .iter()
                        .filter(|w| w.as_str() == "pool-max-conn")
                        .count()
                        == 1
                );
            },
        );
    }

    #[test]
    fn some_keywords_keep_a_server_from_being_added() {
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
            with_server(&format!("server a 10.0.0.1:80 {line}"), |server| {
                let refused = all_settings(&[], &server.unwrap()).unwrap_err();
                assert_eq!(refused, NotAddable(word.to_owned()), "{line}");
            });
        }
    }
}
