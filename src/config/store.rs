//! The choice of the store: by a flag, else the environment, else the host's file, else a directory.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Env, HostFile, Problem};
use crate::cli::StoreArgs;
use crate::model::pem;
use crate::model::prefix::Prefix;
use crate::model::srv::SrvDomain;
use crate::model::store_url;
use crate::model::store_url::{EtcdOptions, Location, Password, TlsFiles};

/// The longest domain: with the names of the records before it, it is still a name in the DNS.
const MAX_DOMAIN: usize = 180;
/// The longest name of a cluster: `_etcd-client-ssl-` stands before it, and a part of a name has 63 bytes.
const MAX_NAME: usize = 46;

const DIRECTORY: &str = "sidekick";

const STORE: &str = "SIDEKICK_STORE";
pub(super) const STORE_SRV: &str = "SIDEKICK_STORE_SRV";
const STORE_SRV_NAME: &str = "SIDEKICK_STORE_SRV_NAME";
const ENDPOINTS: &str = "ETCDCTL_ENDPOINTS";

/// The store, the path of the instances in it, and where the store's name comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePlace {
    /// The store.
    pub location: Location,
    /// The path of the instances in it.
    pub prefix: Prefix,
    /// Where the store's name comes from.
    pub source: Source,
}

/// Where the store's name comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This flag.
    Flag(&'static str),
    /// This variable of the environment.
    Environment(&'static str),
    /// `confd.toml`.
    Confd(PathBuf),
    /// This variable in the host's file.
    HostFile(&'static str, PathBuf),
    /// No flag, variable or file names a store.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "from {flag}"),
            Self::Environment(variable) => write!(f, "from {variable} in the environment"),
            Self::Confd(file) => write!(f, "from {}", file.display()),
            Self::HostFile(variable, file) => write!(f, "from {variable} in {}", file.display()),
            Self::Default => f.write_str("the default, since no store is given"),
        }
    }
}

/// For the first line of a log; nothing secret is in it.
impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (store, prefix) = (self.location.identity(), &self.prefix);
        write!(f, "the store is {store} ({}), prefix {prefix}", self.source)
    }
}

/// Chooses the store. The host's file is used only if neither a flag nor the environment names a store, so that the
/// credentials of one store are never sent to another.
pub fn choose_store(
    args: &StoreArgs,
    env: &Env,
    host: &HostFile,
    is_root: bool,
) -> Result<StorePlace, Vec<Problem>> {
    let mut problems = Vec::new();
    let given = given(args, env).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let is_named = given.is_some() || var(env, ENDPOINTS).is_some() || !problems.is_empty();
    let completed = if is_named {
        env.clone()
    } else {
        host.complete(env).unwrap_or_else(|problem| {
            problems.push(problem);
            env.clone()
        })
    };
    let prefix =
        super::prefix(args.prefix.as_deref(), &completed).map_err(|problem| problems.push(problem));
    let from = |variable| {
        if is_named {
            Source::Environment(variable)
        } else {
            Source::HostFile(variable, host.path().to_owned())
        }
    };
    let in_file = |name| var(&completed, name).filter(|_| !is_named);
    let (location, source) = if let Some((named, source)) = given {
        (named.locate(args, env, &mut problems), source)
    } else if let Some(domain) = in_file(STORE_SRV) {
        let location = srv_location(domain, args, &completed, &mut problems);
        (location, from(STORE_SRV))
    } else if let Some(url) = in_file(STORE) {
        let location = parse_url(url, args, &completed, &mut problems);
        (location, from(STORE))
    } else if let Some(list) = var(&completed, ENDPOINTS) {
        let location = etcd_location(list, ENDPOINTS, args, &completed, &mut problems);
        (Some(location), from(ENDPOINTS))
    } else if problems.is_empty() {
        (
            default_directory(env, is_root, &mut problems),
            Source::Default,
        )
    } else {
        // The host's file cannot be read, and it may name a store.
        (None, Source::Default)
    };
    match (location, prefix, problems.is_empty()) {
        (Some(location), Ok(prefix), true) => Ok(StorePlace {
            location,
            prefix,
            source,
        }),
        _ => Err(problems),
    }
}

/// What a flag or the environment says of the store.
#[derive(Clone, Copy)]
enum Named<'a> {
    Url(&'a str),
    Domain(&'a str),
}

impl Named<'_> {
    fn locate(self, args: &StoreArgs, env: &Env, problems: &mut Vec<Problem>) -> Option<Location> {
        match self {
            Self::Url(url) => parse_url(url, args, env, problems),
            Self::Domain(domain) => srv_location(domain, args, env, problems),
        }
    }
}

/// The store that `--store` or `--store-srv` names, as a flag or else by its variable. One place that names both is a mistake.
fn given<'a>(args: &'a StoreArgs, env: &'a Env) -> Result<Option<(Named<'a>, Source)>, Problem> {
    // An empty variable counts as not set, because compose files often set variables to nothing.
    let url = args.store.as_deref().filter(|url| !url.is_empty());
    let domain = args
        .store_srv
        .as_deref()
        .filter(|domain| !domain.is_empty());
    let domain = domain.or_else(|| var(env, STORE_SRV));
    let source = |text, flag, variable| {
        let is_of_environment = var(env, variable) == Some(text);
        if is_of_environment {
            Source::Environment(variable)
        } else {
            Source::Flag(flag)
        }
    };
    let url = url.map(|url| (Named::Url(url), source(url, "--store", STORE)));
    let domain = domain.map(|domain| {
        (
            Named::Domain(domain),
            source(domain, "--store-srv", STORE_SRV),
        )
    });
    match (url, domain) {
        (Some((_, Source::Flag(_))), Some((_, Source::Flag(_)))) => {
            Err(both_named("--store and --store-srv"))
        }
        (Some(url @ (_, Source::Flag(_))), Some(_)) => Ok(Some(url)),
        (Some(_), Some(domain @ (_, Source::Flag(_)))) => Ok(Some(domain)),
        (Some(_), Some(_)) => Err(both_named(
            "SIDEKICK_STORE and SIDEKICK_STORE_SRV in the environment",
        )),
        (url, domain) => Ok(url.or(domain)),
    }
}

fn both_named(what: &str) -> Problem {
    Problem::with(format!("{what} name a store each")).hint("give one of them")
}

/// The store whose members the DNS names. `https://` before the domain asks for TLS.
fn srv_location(
    text: &str,
    args: &StoreArgs,
    env: &Env,
    problems: &mut Vec<Problem>,
) -> Option<Location> {
    let secure = text.strip_prefix("https://");
    let bare = secure
        .or_else(|| text.strip_prefix("http://"))
        .unwrap_or(text);
    let bare = bare.trim_end_matches(['/', '.']);
    let name = args
        .store_srv_name
        .as_deref()
        .filter(|name| !name.is_empty());
    let name = name.or_else(|| var(env, STORE_SRV_NAME));
    let is_domain = is_domain(bare);
    if !is_domain {
        problems.push(
            Problem::with(format!("--store-srv: {bare:?} is not a domain"))
                .hint("write --store-srv DOMAIN, as example.com"),
        );
    }
    if let Some(name) = name.filter(|name| !is_label(name) || name.len() > MAX_NAME) {
        problems.push(Problem::with(format!(
            "--store-srv-name: {name:?} is not a name of at most {MAX_NAME} letters, digits and hyphens"
        )));
    }
    let options = EtcdOptions {
        endpoints: Vec::new(),
        tls: read_tls(secure.is_some(), args, env, problems),
        auth: read_auth(args, env, problems),
    };
    let domain = SrvDomain {
        domain: bare.to_owned(),
        name: name.map(str::to_owned),
    };
    is_domain.then_some(Location::EtcdSrv(domain, options))
}

/// Whether a text is a domain whose members can be looked up.
pub(super) fn is_domain(text: &str) -> bool {
    text.len() <= MAX_DOMAIN && text.split('.').all(is_label)
}

/// Whether a text is one part of a name in the DNS.
fn is_label(text: &str) -> bool {
    let fits = (1..64).contains(&text.len());
    fits && text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

fn var<'e>(env: &'e Env, name: &str) -> Option<&'e str> {
    env.get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

fn parse_url(
    url: &str,
    args: &StoreArgs,
    env: &Env,
    problems: &mut Vec<Problem>,
) -> Option<Location> {
    if let Some(path) = url.strip_prefix("dir:") {
        // `dir:///run/x` is the URL; people also type `dir:/run/x`.
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.starts_with('/') {
            return Some(Location::Directory(PathBuf::from(path)));
        }
        problems.push(
            Problem::with(format!("--store: {url} has no absolute path")).hint("write dir:///PATH"),
        );
        return None;
    }
    if let Some(path) = url.strip_prefix("file:") {
        return files_location(url, path, problems);
    }
    if matches!(url, "env:" | "env://") {
        return Some(Location::Environment);
    }
    if let Some(list) = url.strip_prefix("etcd://") {
        let list = list.trim_end_matches('/');
        return Some(etcd_location(list, "--store", args, env, problems));
    }
    // The text before an `@` may have a password, so the message leaves it out.
    let shown = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
    problems.push(
        Problem::with(format!(
            "--store: {shown:?} begins with none of etcd://, dir://, file: and env:"
        ))
        .hint("write etcd://HOST:2379[,HOST:2379...], dir:///PATH, file:PATH or env:"),
    );
    None
}

/// A file may be named as people name files; with two slashes it is a URL, whose path is absolute.
fn files_location(url: &str, path: &str, problems: &mut Vec<Problem>) -> Option<Location> {
    let in_url = path.strip_prefix("//");
    let is_path = in_url.map_or(!path.is_empty(), |path| path.starts_with('/'));
    let absolute = is_path.then(|| std::path::absolute(in_url.unwrap_or(path)));
    if let Some(Ok(path)) = absolute {
        return Some(Location::Files(path));
    }
    problems.push(
        Problem::with(format!("--store: {url} names no file"))
            .hint("write file:PATH, or file:///PATH with an absolute path"),
    );
    None
}

fn etcd_location(
    list: &str,
    source: &str,
    args: &StoreArgs,
    env: &Env,
    problems: &mut Vec<Problem>,
) -> Location {
    let mut secure = false;
    let mut endpoints = Vec::new();
    for part in list.split(',').map(str::trim) {
        // ETCDCTL_ENDPOINTS may hold URLs.
        let bare = part.strip_prefix("https://").inspect(|_| secure = true);
        let bare = bare
            .or_else(|| part.strip_prefix("http://"))
            .unwrap_or(part);
        match parse_endpoint(bare.trim_end_matches('/')) {
            Some(endpoint) => endpoints.push(endpoint),
            // As in other URLs, a user and a password stand before an `@`; the message leaves them out.
            None if part.contains('@') => problems.push(
                Problem::with(format!("{source}: an endpoint has a user and a password"))
                    .hint("give them with --user and --password-file, or ETCDCTL_USER and ETCDCTL_PASSWORD"),
            ),
            None => problems.push(
                Problem::with(format!("{source}: {part:?} is not an endpoint")).hint(
                    "an endpoint is HOST:PORT; an IPv6 address stands in brackets, [::1]:2379",
                ),
            ),
        }
    }
    let tls = read_tls(secure, args, env, problems);
    let auth = read_auth(args, env, problems);
    Location::Etcd(EtcdOptions {
        endpoints,
        tls,
        auth,
    })
}

/// Whether a text is an endpoint, bare or as a URL.
pub(super) fn is_endpoint(text: &str) -> bool {
    let bare = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    parse_endpoint(bare.unwrap_or(text).trim_end_matches('/')).is_some()
}

/// Parses `host:port`; the default is etcd's port, 2379.
fn parse_endpoint(text: &str) -> Option<String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok()?),
        Some(_) | None => (text, 2379),
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_host = match bracketed {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        }
    };
    (is_host && port > 0).then(|| format!("{host}:{port}"))
}

fn read_tls(
    secure: bool,
    args: &StoreArgs,
    env: &Env,
    problems: &mut Vec<Problem>,
) -> Option<TlsFiles> {
    let file =
        |flag: &Option<PathBuf>, name| flag.clone().or_else(|| var(env, name).map(PathBuf::from));
    let cacert = file(&args.cacert, "ETCDCTL_CACERT");
    for (path, wanted) in [
        (&cacert, pem::Wanted::Certificate),
        (&file(&args.cert, "ETCDCTL_CERT"), pem::Wanted::Certificate),
        (&file(&args.key, "ETCDCTL_KEY"), pem::Wanted::PrivateKey),
    ] {
        problems.extend(
            path.as_deref()
                .and_then(|path| find_pem_problem(path, wanted)),
        );
    }
    let identity = match (
        file(&args.cert, "ETCDCTL_CERT"),
        file(&args.key, "ETCDCTL_KEY"),
    ) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            problems.push(Problem::with(
                "--cert and --key go together; one of them is missing",
            ));
            None
        }
    };
    (secure || cacert.is_some() || identity.is_some()).then_some(TlsFiles { cacert, identity })
}

/// Why a file with a certificate or a key cannot be used, if it cannot. The store reads it again for each connection.
fn find_pem_problem(file: &Path, wanted: pem::Wanted) -> Option<Problem> {
    let why = match std::fs::read(file) {
        Ok(bytes) => pem::judge(&String::from_utf8_lossy(&bytes), wanted)
            .err()?
            .to_string(),
        Err(error) => format!("cannot be read: {error}"),
    };
    Some(Problem::in_file(file, None, why))
}

fn read_auth(
    args: &StoreArgs,
    env: &Env,
    problems: &mut Vec<Problem>,
) -> Option<(String, Password)> {
    if args.user.as_ref().is_some_and(|user| user.contains(':')) {
        problems.push(
            Problem::with("--user: everybody on this host can see a password on the command line")
                .hint("put it into a file for --password-file, or into ETCDCTL_PASSWORD"),
        );
        return None;
    }
    let (user, with_user) = match (&args.user, var(env, "ETCDCTL_USER")) {
        (Some(user), _) => (user.clone(), None),
        (None, Some(text)) => match text.split_once(':') {
            Some((user, password)) => (user.to_owned(), Some(password.to_owned())),
            None => (text.to_owned(), None),
        },
        (None, None) => {
            if args.password_file.is_some() {
                problems.push(Problem::with(
                    "--password-file goes with --user, which is missing",
                ));
            }
            return None;
        }
    };
    let from_file = args
        .password_file
        .as_deref()
        .map(|file| check_password_file(file, problems));
    let given = || with_user.or_else(|| var(env, "ETCDCTL_PASSWORD").map(str::to_owned));
    let password = from_file.flatten().or_else(|| given().map(Password::Given));
    if password.is_none() && problems.is_empty() {
        problems.push(
            Problem::with(format!("there is no password for the etcd user {user}"))
                .hint("put it into a file for --password-file, or into ETCDCTL_PASSWORD"),
        );
    }
    Some((user, password?))
}

/// Checks that a password file can be read. The store reads it again for each login.
fn check_password_file(file: &Path, problems: &mut Vec<Problem>) -> Option<Password> {
    match std::fs::read_to_string(file) {
        Ok(text) if store_url::first_line(&text).is_some() => Some(Password::File(file.to_owned())),
        Ok(_) => {
            problems.push(Problem::in_file(file, None, "the password file is empty"));
            None
        }
        Err(error) => {
            problems.push(Problem::in_file(
                file,
                None,
                format!("cannot read the password: {error}"),
            ));
            None
        }
    }
}

fn default_directory(env: &Env, is_root: bool, problems: &mut Vec<Problem>) -> Option<Location> {
    let parent = if is_root {
        Some("/run")
    } else {
        var(env, "XDG_RUNTIME_DIR")
    };
    if parent.is_none() {
        problems.push(
            Problem::with(
                "no store is given, and the default is below XDG_RUNTIME_DIR, which is not set",
            )
            .hint("give --store etcd://HOST:2379 or --store dir:///PATH"),
        );
    }
    Some(Location::Directory(Path::new(parent?).join(DIRECTORY)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn resolve(flags: &[&str], env: &[(&str, &str)]) -> Result<Location, Vec<String>> {
        let line = ["sidekick", "watch"].iter().chain(flags);
        let Command::Watch(watch) = Cli::try_parse_from(line).unwrap().command else {
            unreachable!("watch was typed");
        };
        let env = env
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let texts = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect();
        choose_store(&watch.store, &env, &HostFile::read(&nowhere()), false)
            .map(|place| place.location)
            .map_err(texts)
    }

    /// An environment for a host without a file.
    fn nowhere() -> Env {
        Env::from([("SIDEKICK_ENV_FILE".to_owned(), "/nonexistent".to_owned())])
    }

    #[test]
    fn the_hosts_file_names_the_store_if_no_flag_or_variable_does() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "SIDEKICK_STORE=etcd://file\nSIDEKICK_PREFIX=/file\nETCDCTL_USER=u\nETCDCTL_PASSWORD=p\n";
        std::fs::write(file.path(), text).unwrap();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let path = file.path().display().to_string();
        let place = |flags: &[&str], more: &[(&str, &str)]| {
            let mut env = Env::from([pair("SIDEKICK_ENV_FILE", &path)]);
            env.extend(more.iter().map(|(a, b)| pair(a, b)));
            let line = ["sidekick", "watch"].iter().chain(flags);
            let Command::Watch(watch) = Cli::try_parse_from(line).unwrap().command else {
                unreachable!("watch was typed");
            };
            choose_store(&watch.store, &env, &HostFile::read(&env), false).unwrap()
        };
        let shown = |flags: &[&str], more: &[(&str, &str)]| place(flags, more).to_string();
        assert_eq!(
            shown(&[], &[]),
            format!("the store is etcd://file:2379 (from SIDEKICK_STORE in {path}), prefix /file")
        );
        let Location::Etcd(etcd) = place(&[], &[]).location else {
            panic!("the file names an etcd");
        };
        let password = Password::Given("p".to_owned());
        assert_eq!(etcd.auth, Some(("u".to_owned(), password)));
        assert_eq!(
            shown(&["--prefix", "/flag"], &[("SIDEKICK_STORE", "")]),
            format!("the store is etcd://file:2379 (from SIDEKICK_STORE in {path}), prefix /flag")
        );
        assert_eq!(
            shown(&["--store", "etcd://flag"], &[]),
            "the store is etcd://flag:2379 (from --store), prefix /services"
        );
        assert!(shown(&["--prefix", "/"], &[]).ends_with(", prefix /"));
        assert_eq!(
            shown(&[], &[("ETCDCTL_ENDPOINTS", "env:1")]),
            "the store is etcd://env:1 (from ETCDCTL_ENDPOINTS in the environment), prefix /services"
        );
        // The password for the file's store is not sent to another store.
        let Location::Etcd(etcd) = place(&["--store", "etcd://flag"], &[]).location else {
            panic!("an etcd was asked for");
        };
        assert_eq!(etcd.auth, None);
    }

    #[test]
    fn an_unreadable_hosts_file_does_not_lead_to_another_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let host = HostFile::read(&Env::from([(
            "SIDEKICK_ENV_FILE".to_owned(),
            path.to_owned(),
        )]));
        let env = Env::from([("XDG_RUNTIME_DIR".to_owned(), "/r".to_owned())]);
        let with = |flags: &[&str]| {
            let line = ["sidekick", "watch"].iter().chain(flags);
            let Command::Watch(watch) = Cli::try_parse_from(line).unwrap().command else {
                unreachable!("watch was typed");
            };
            choose_store(&watch.store, &env, &host, false)
        };
        let problems = with(&[]).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].hint.as_ref().unwrap().contains("--store"));
        assert!(with(&["--store", "dir:///x"]).is_ok());
    }

    fn endpoints(location: Location) -> Vec<String> {
        match location {
            Location::Etcd(etcd) => etcd.endpoints,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_directory_is_given_or_the_default() {
        for (url, path) in [("dir:///run/x", "/run/x"), ("dir:/run/x", "/run/x")] {
            assert_eq!(
                resolve(&["--store", url], &[]),
                Ok(Location::Directory(path.into()))
            );
        }
        assert_eq!(
            resolve(&[], &[("XDG_RUNTIME_DIR", "/r")]),
            Ok(Location::Directory("/r/sidekick".into()))
        );
        for (url, path) in [
            ("file:/etc/keys.yaml", "/etc/keys.yaml"),
            ("file:///etc/keys.d", "/etc/keys.d"),
        ] {
            let files = Ok(Location::Files(path.into()));
            assert_eq!(resolve(&["--store", url], &[]), files);
        }
        let Ok(Location::Files(path)) = resolve(&["--store", "file:keys.yaml"], &[]) else {
            panic!("a path may be relative");
        };
        assert!(
            path.is_absolute() && path.ends_with("keys.yaml"),
            "{path:?}"
        );
        for url in ["env:", "env://"] {
            assert_eq!(resolve(&["--store", url], &[]), Ok(Location::Environment));
        }
        for url in [
            "dir:x",
            "dir://",
            "consul://a",
            "x",
            "env",
            "env:X",
            "file:",
            "file://",
            "file://x",
        ] {
            assert!(resolve(&["--store", url], &[]).is_err(), "{url}");
        }
        assert!(resolve(&[], &[]).is_err());
    }

    #[test]
    fn a_domain_names_the_members() {
        let srv = |flags: &[&str], env: &[(&str, &str)]| match resolve(flags, env) {
            Ok(Location::EtcdSrv(domain, options)) => {
                Ok(format!("{} {}", domain.identity(), options.tls.is_some()))
            }
            Ok(other) => Ok(other.identity()),
            Err(problems) => Err(problems.join("; ")),
        };
        let in_env = [("SIDEKICK_STORE_SRV", "env.example")];
        let url_in_env = [("SIDEKICK_STORE", "etcd://a"), ("ETCDCTL_ENDPOINTS", "b")];
        let ok = |text: &str| Ok(text.to_owned());
        for (flags, env, want) in [
            (
                &["--store-srv", "example.com."][..],
                &[][..],
                "etcd+srv://example.com false",
            ),
            (&["--store-srv", "https://a"], &[], "etcd+srv://a true"),
            (
                &["--store-srv", "a", "--store-srv-name", "eu"],
                &in_env,
                "etcd+srv://a?name=eu false",
            ),
            (
                &["--store-srv", "a"],
                &[("ETCDCTL_ENDPOINTS", "b")],
                "etcd+srv://a false",
            ),
            (&[], &in_env, "etcd+srv://env.example false"),
            (&["--store", "etcd://a"], &in_env, "etcd://a:2379"),
            (&["--store-srv", "a"], &url_in_env, "etcd+srv://a false"),
        ] {
            assert_eq!(srv(flags, env), ok(want), "{flags:?} {env:?}");
        }
        for (flags, want) in [
            (
                &["--store-srv", "a b"][..],
                "--store-srv: \"a b\" is not a domain",
            ),
            (
                &["--store-srv", "a..b"],
                "--store-srv: \"a..b\" is not a domain",
            ),
            (
                &["--store-srv", "a", "--store-srv-name", "a.b"],
                "--store-srv-name: \"a.b\" is not",
            ),
            (
                &["--store-srv", "a", "--store", "etcd://a"],
                "--store and --store-srv name a store each",
            ),
        ] {
            let said = srv(flags, &[]).unwrap_err();
            assert!(said.starts_with(want), "{said}");
        }
    }

    #[test]
    fn a_list_of_endpoints_is_read() {
        let list = resolve(&["--store", "etcd://a:1,b,[::1]:3/"], &[]).map(endpoints);
        assert_eq!(
            list,
            Ok(vec![
                "a:1".to_owned(),
                "b:2379".to_owned(),
                "[::1]:3".to_owned()
            ])
        );
        for url in [
            "etcd://",
            "etcd://a:0",
            "etcd://a:b",
            "etcd://a,,b",
            "etcd://a b",
            "etcd://[x]:1",
        ] {
            assert!(resolve(&["--store", url], &[]).is_err(), "{url}");
        }
    }

    #[test]
    fn the_variables_of_etcdctl_are_used() {
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), "-----BEGIN CERTIFICATE-----").unwrap();
        let env = [
            ("ETCDCTL_ENDPOINTS", "https://a:2379,https://b:2379"),
            ("ETCDCTL_CACERT", ca.path().to_str().unwrap()),
            ("ETCDCTL_USER", "u:p"),
        ];
        let Ok(Location::Etcd(etcd)) = resolve(&[], &env) else {
            panic!()
        };
        assert_eq!(etcd.endpoints, ["a:2379", "b:2379"]);
        assert_eq!(etcd.tls.unwrap().cacert, Some(ca.path().to_owned()));
        let password = Password::Given("p".to_owned());
        assert_eq!(etcd.auth, Some(("u".to_owned(), password)));
    }

    #[test]
    fn a_certificate_and_a_key_that_tls_cannot_read_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, label: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("-----BEGIN {label}-----\n")).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let ca = file("ca", "TRUSTED CERTIFICATE");
        let (cert, key) = (
            file("cert", "CERTIFICATE"),
            file("key", "ENCRYPTED PRIVATE KEY"),
        );
        let flags = [
            "--store", "etcd://a", "--cacert", &ca, "--cert", &cert, "--key", &key,
        ];
        let told = resolve(&flags, &[]).unwrap_err();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with(&ca) && told[0].contains("openssl x509"),
            "{told:?}"
        );
        assert!(
            told[1].starts_with(&key) && told[1].contains("encrypted"),
            "{told:?}"
        );
    }

    #[test]
    fn a_password_on_the_command_line_is_refused() {
        let error = resolve(&["--store", "etcd://a", "--user", "u:p"], &[]).unwrap_err();
        assert!(
            error[0].contains("everybody on this host can see"),
            "{error:?}"
        );
        for store in ["etcd://u:secret@a", "http://u:secret@a"] {
            let error = resolve(&["--store", store], &[]).unwrap_err();
            assert!(!error[0].contains("secret"), "{error:?}");
        }
        let error = resolve(&["--store", "etcd://a", "--user", "u"], &[]).unwrap_err();
        assert!(error[0].contains("no password"), "{error:?}");
    }

    #[test]
    fn all_problems_are_reported_at_once() {
        let flags = [
            "--store",
            "etcd://a b,c:x",
            "--cert",
            "/no/such/file",
            "--prefix",
            "x",
        ];
        assert_eq!(resolve(&flags, &[]).unwrap_err().len(), 5);
    }
}
