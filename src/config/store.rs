//! Which store is meant: flags first, then the environment, then the directory of this host.

use std::path::{Path, PathBuf};

use super::{Env, Problem};
use crate::cli::StoreArgs;
use crate::model::location::{EtcdOptions, Location, TlsFiles};
use crate::model::update::Prefix;

const DIRECTORY: &str = "sidekick";

/// The store and the prefix of the instances in it.
pub fn location(
    args: &StoreArgs,
    env: &Env,
    is_root: bool,
) -> Result<(Location, Prefix), Vec<Problem>> {
    let mut problems = Vec::new();
    let prefix = Prefix::parse(&args.prefix)
        .map_err(|error| problems.push(Problem::with(format!("--prefix: {error}"))));
    // Set to nothing is not set: compose files like to do that.
    let location = match args.store.as_ref().filter(|url| !url.is_empty()) {
        Some(url) => parse(url, args, env, &mut problems),
        None => match var(env, "ETCDCTL_ENDPOINTS") {
            Some(list) => Some(etcd(list, "ETCDCTL_ENDPOINTS", args, env, &mut problems)),
            None => default_directory(env, is_root, &mut problems),
        },
    };
    match (location, prefix, problems.is_empty()) {
        (Some(location), Ok(prefix), true) => Ok((location, prefix)),
        _ => Err(problems),
    }
}

fn var<'e>(env: &'e Env, name: &str) -> Option<&'e str> {
    env.get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

fn parse(url: &str, args: &StoreArgs, env: &Env, problems: &mut Vec<Problem>) -> Option<Location> {
    if let Some(path) = url.strip_prefix("dir:") {
        // `dir:///run/x` as a URL has it, `dir:/run/x` as people type it.
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.starts_with('/') {
            return Some(Location::Directory(PathBuf::from(path)));
        }
        problems.push(
            Problem::with(format!("--store: {url} has no absolute path")).hint("write dir:///PATH"),
        );
        return None;
    }
    if let Some(list) = url.strip_prefix("etcd://") {
        let list = list.trim_end_matches('/');
        return Some(etcd(list, "--store", args, env, problems));
    }
    // Whatever stands before an @ may be a password.
    let shown = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
    problems.push(
        Problem::with(format!("--store: {shown:?} is neither etcd:// nor dir://"))
            .hint("write etcd://HOST:2379[,HOST:2379...] or dir:///PATH"),
    );
    None
}

fn etcd(
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
        match endpoint(bare.trim_end_matches('/')) {
            Some(endpoint) => endpoints.push(endpoint),
            // What stands before an @ is a user and a password, as in other URLs; it is nobody's business.
            None if part.contains('@') => problems.push(
                Problem::with(format!("{source}: an endpoint holds a user and a password"))
                    .hint("give them with --user and --password-file, or ETCDCTL_USER and ETCDCTL_PASSWORD"),
            ),
            None => problems.push(
                Problem::with(format!("{source}: {part:?} is not an endpoint")).hint(
                    "an endpoint is HOST:PORT; an IPv6 address stands in brackets, [::1]:2379",
                ),
            ),
        }
    }
    let tls = tls(secure, args, env, problems);
    let auth = auth(args, env, problems);
    Location::Etcd(EtcdOptions {
        endpoints,
        tls,
        auth,
    })
}

/// Whether it is an endpoint, bare or as a URL.
pub(super) fn is_endpoint(text: &str) -> bool {
    let bare = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    endpoint(bare.unwrap_or(text).trim_end_matches('/')).is_some()
}

/// `host:port`, with the port that etcd has by default where there is none.
fn endpoint(text: &str) -> Option<String> {
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

fn tls(secure: bool, args: &StoreArgs, env: &Env, problems: &mut Vec<Problem>) -> Option<TlsFiles> {
    let file =
        |flag: &Option<PathBuf>, name| flag.clone().or_else(|| var(env, name).map(PathBuf::from));
    let cacert = file(&args.cacert, "ETCDCTL_CACERT");
    for path in [
        &cacert,
        &file(&args.cert, "ETCDCTL_CERT"),
        &file(&args.key, "ETCDCTL_KEY"),
    ] {
        problems.extend(path.as_deref().and_then(unusable_pem));
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

/// What is wrong with a certificate or a key, as far as a look can tell. They are read again for each connection.
fn unusable_pem(file: &Path) -> Option<Problem> {
    match std::fs::read(file) {
        Ok(bytes) if bytes.windows(10).any(|part| part == b"-----BEGIN") => None,
        Ok(_) => Some(Problem::in_file(
            file,
            None,
            "there is no PEM block (-----BEGIN ...) in it",
        )),
        Err(error) => Some(Problem::in_file(
            file,
            None,
            format!("cannot be read: {error}"),
        )),
    }
}

fn auth(args: &StoreArgs, env: &Env, problems: &mut Vec<Problem>) -> Option<(String, String)> {
    if args.user.as_ref().is_some_and(|user| user.contains(':')) {
        problems.push(
            Problem::with("--user: a password on the command line is there for everybody to see")
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
        .map(|file| first_line(file, problems));
    let password = from_file
        .flatten()
        .or(with_user)
        .or_else(|| var(env, "ETCDCTL_PASSWORD").map(str::to_owned));
    if password.is_none() && problems.is_empty() {
        problems.push(
            Problem::with(format!("there is no password for the etcd user {user}"))
                .hint("put it into a file for --password-file, or into ETCDCTL_PASSWORD"),
        );
    }
    Some((user, password?))
}

fn first_line(file: &Path, problems: &mut Vec<Problem>) -> Option<String> {
    match std::fs::read_to_string(file) {
        Ok(text) => text
            .lines()
            .next()
            .map(str::to_owned)
            .filter(|line| !line.is_empty())
            .or_else(|| {
                problems.push(Problem::in_file(file, None, "the password file is empty"));
                None
            }),
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
            Problem::with("no store is given, and XDG_RUNTIME_DIR is not set to put one there")
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
        location(&watch.store, &env, false)
            .map(|(location, _)| location)
            .map_err(texts)
    }

    fn endpoints(location: Location) -> Vec<String> {
        match location {
            Location::Etcd(etcd) => etcd.endpoints,
            Location::Directory(path) => panic!("{path:?}"),
        }
    }

    #[test]
    fn directories() {
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
        for url in ["dir:x", "dir://", "consul://a", "x"] {
            assert!(resolve(&["--store", url], &[]).is_err(), "{url}");
        }
        assert!(resolve(&[], &[]).is_err());
    }

    #[test]
    fn several_endpoints() {
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
    fn the_variables_of_etcdctl_are_honoured() {
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
        assert_eq!(etcd.auth, Some(("u".to_owned(), "p".to_owned())));
    }

    #[test]
    fn secrets_do_not_go_on_the_command_line() {
        let error = resolve(&["--store", "etcd://a", "--user", "u:p"], &[]).unwrap_err();
        assert!(error[0].contains("for everybody to see"), "{error:?}");
        for store in ["etcd://u:secret@a", "http://u:secret@a"] {
            let error = resolve(&["--store", store], &[]).unwrap_err();
            assert!(!error[0].contains("secret"), "{error:?}");
        }
        let error = resolve(&["--store", "etcd://a", "--user", "u"], &[]).unwrap_err();
        assert!(error[0].contains("no password"), "{error:?}");
    }

    #[test]
    fn all_problems_at_once() {
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
