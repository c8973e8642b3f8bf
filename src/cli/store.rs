//! The flags that say which store, for every command that asks one.

use std::path::PathBuf;

use clap::Args;

/// Which store, and how to get in.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// etcd://HOST:PORT, dir:///PATH, file:PATH or env:.
    ///
    /// etcd://HOST:PORT[,HOST:PORT...] is an etcd, dir:///PATH a directory of this host.
    ///
    /// Two more are only read, so register, drain and undrain refuse them: file:PATH is a file of keys in YAML or JSON, or a
    /// directory of such files, and is followed; env: is the environment, in which SERVICES_WEB_A_IP is the key
    /// /services/web/a/ip.
    ///
    /// Without it: the endpoints in ETCDCTL_ENDPOINTS, else what /etc/sidekick/sidekick.env names, the file that the units
    /// of this host share, else a directory: /run/sidekick for root, $XDG_RUNTIME_DIR/sidekick for others.
    #[arg(long, value_name = "URL", env = "SIDEKICK_STORE")]
    pub store: Option<String>,
    /// The domain whose DNS names the members of etcd.
    ///
    /// In place of --store. The SRV records of _etcd-client-ssl._tcp.DOMAIN are members with TLS; if there are none, those of
    /// _etcd-client._tcp.DOMAIN are members without. https://DOMAIN, --cacert or --cert ask for TLS only. They are looked up at
    /// each connection.
    #[arg(long, value_name = "DOMAIN", env = "SIDEKICK_STORE_SRV")]
    pub store_srv: Option<String>,
    /// Which of several clusters of the domain.
    ///
    /// The records are then those of _etcd-client-ssl-NAME._tcp.DOMAIN and _etcd-client-NAME._tcp.DOMAIN.
    #[arg(long, value_name = "NAME", env = "SIDEKICK_STORE_SRV_NAME")]
    pub store_srv_name: Option<String>,
    /// Where instances live in the store.
    ///
    /// Without it: /services.
    #[arg(long, value_name = "PATH", env = "SIDEKICK_PREFIX")]
    pub prefix: Option<String>,
    /// The certificate authority of the etcd servers.
    ///
    /// Also from ETCDCTL_CACERT.
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Our certificate for etcd.
    ///
    /// Also from ETCDCTL_CERT.
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// The key of our certificate.
    ///
    /// Also from ETCDCTL_KEY.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The etcd user.
    ///
    /// Also from ETCDCTL_USER. The password comes from --password-file or ETCDCTL_PASSWORD.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// A file whose first line is the password of --user.
    ///
    /// It is read again for each login.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}
