//! Certificates for a test: an authority, a server at 127.0.0.1, a client.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::command::{arg, run};
use super::{temp_dir, tool};

/// A directory with `ca.pem`, `server.pem`, `client.pem` and their keys (`.key`).
pub(crate) struct Pki {
    dir: TempDir,
}

impl Pki {
    /// Makes an authority and certificates signed by it.
    pub(crate) fn make() -> Self {
        let pki = Self { dir: temp_dir() };
        pki.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
             -subj /CN=authority -keyout ca.key -out ca.pem",
        );
        pki.issue("server", "subjectAltName=IP:127.0.0.1,DNS:localhost");
        pki.issue("client", "basicConstraints=CA:FALSE");
        pki
    }

    /// Makes a key and a certificate with one extension.
    pub(crate) fn issue(&self, name: &str, extension: &str) {
        let extensions = format!("{extension}\nextendedKeyUsage=serverAuth,clientAuth\n");
        std::fs::write(self.file("extensions"), extensions).expect("write extensions");
        self.openssl(&format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} \
             -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 \
             -extfile extensions -out {name}.pem"
        ));
    }

    /// Makes a certificate of X.509 version 1 for the key of the client, as `openssl` does when it is given no extensions.
    pub(crate) fn issue_version_1(&self, name: &str) {
        self.openssl(&format!(
            "x509 -req -in client.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out {name}.pem"
        ));
    }

    fn openssl(&self, args: &str) {
        let mut command = Command::new(tool("openssl"));
        command
            .current_dir(self.dir.path())
            .args(args.split_whitespace());
        run(&mut command, b"");
    }

    /// Where a file of it lies.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn server_args(&self, client_certs: bool) -> Vec<String> {
        let file = |name| arg(&self.file(name));
        let mut args = vec![
            "--cert-file".to_owned(),
            file("server.pem"),
            "--key-file".to_owned(),
            file("server.key"),
        ];
        if client_certs {
            // An authority alone makes etcd ask for client certificates already.
            args.extend(["--client-cert-auth", "--trusted-ca-file"].map(str::to_owned));
            args.push(file("ca.pem"));
        }
        args
    }

    pub(super) fn client_args(&self) -> Vec<String> {
        let file = |name| arg(&self.file(name));
        vec![
            "--cacert".to_owned(),
            file("ca.pem"),
            "--cert".to_owned(),
            file("client.pem"),
            "--key".to_owned(),
            file("client.key"),
        ]
    }
}
