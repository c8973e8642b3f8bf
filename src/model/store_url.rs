//! Which store the configuration names, and how to reach it. Pure.

use std::fmt;
use std::path::PathBuf;

use super::srv::SrvDomain;

/// Which store the configuration names, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory on this host.
    Directory(PathBuf),
    /// An etcd cluster.
    Etcd(EtcdOptions),
    /// An etcd cluster whose members the DNS names; the options name none.
    EtcdSrv(SrvDomain, EtcdOptions),
    /// A file of keys, or a directory of them, that is only read.
    Files(PathBuf),
    /// The environment of this process, which is only read.
    Environment,
}

impl Location {
    /// A text that is the same for the same store; it contains no secret.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Directory(path) => format!("dir://{}", path.display()),
            Self::Etcd(options) => {
                let mut endpoints = options.endpoints.clone();
                endpoints.sort();
                format!("etcd://{}", endpoints.join(","))
            }
            Self::EtcdSrv(domain, _) => domain.identity(),
            Self::Files(path) => format!("file:{}", path.display()),
            Self::Environment => "env:".to_owned(),
        }
    }

    /// Whether nobody can change this store by way of `sidekick`.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Files(_) | Self::Environment => true,
            Self::Directory(_) | Self::Etcd(_) | Self::EtcdSrv(..) => false,
        }
    }
}

/// How to reach an etcd cluster.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EtcdOptions {
    /// `host:port` of each member.
    pub endpoints: Vec<String>,
    /// TLS, if the members speak it.
    pub tls: Option<TlsFiles>,
    /// User and password.
    pub auth: Option<(String, Password)>,
}

/// Where the password of a user comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// The first line of this file. `sidekick` reads it for each login, so that a changed password is used without a restart.
    File(PathBuf),
    /// The password itself, from the environment, which `sidekick` reads once, at the start.
    Given(String),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => f.debug_tuple("File").field(file).finish(),
            Self::Given(_) => f.write_str("Given"),
        }
    }
}

/// The password in the text of a password file.
#[must_use]
pub fn first_line(text: &str) -> Option<&str> {
    text.lines().next().filter(|line| !line.is_empty())
}

/// The files of a TLS connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// The authority that signed the servers' certificates; the system's own list without it.
    pub cacert: Option<PathBuf>,
    /// Our certificate and its key, for servers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("tls", &self.tls)
            .field("user", &self.auth.as_ref().map(|(user, _)| user))
            .finish_non_exhaustive()
    }
}
