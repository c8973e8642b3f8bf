//! What proves to the cluster who we are: read from its files for each connection, so that what is replaced there is used.
//! Adapter.

use std::path::{Path, PathBuf};

use etcd_client::{Certificate, Identity, TlsOptions};

use super::error::{Failure, Kind};
use crate::model::pem;
use crate::model::pem::Wanted;
use crate::model::store_url::{EtcdOptions, Password, TlsFiles, first_line};

/// The contents of the files, as they were for one connection.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    tls: Option<Tls>,
    pub(super) password: Option<String>,
}

#[derive(Clone, PartialEq, Eq)]
struct Tls {
    cacert: Option<Vec<u8>>,
    /// Certificate and key.
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Credentials {
    /// Reads all files.
    pub(super) fn read(options: &EtcdOptions) -> Result<Self, Failure> {
        let password = options.auth.as_ref().map(|(_, password)| password);
        Ok(Self {
            tls: options.tls.as_ref().map(Tls::read).transpose()?,
            password: password.map(read_password).transpose()?,
        })
    }

    /// What the TLS library needs; nothing without TLS.
    pub(super) fn tls(&self) -> Option<TlsOptions> {
        let tls = self.tls.as_ref()?;
        let options = match &tls.cacert {
            Some(pem) => TlsOptions::new().ca_certificate(Certificate::from_pem(pem)),
            None => TlsOptions::new().with_enabled_roots(),
        };
        Some(match &tls.identity {
            Some((cert, key)) => options.identity(Identity::from_pem(cert, key)),
            None => options,
        })
    }
}

impl Tls {
    fn read(files: &TlsFiles) -> Result<Self, Failure> {
        let identity = files.identity.as_ref();
        let read = |(cert, key): &(PathBuf, PathBuf)| {
            let cert = read_pem(cert, Wanted::Certificate)?;
            Ok((cert, read_pem(key, Wanted::PrivateKey)?))
        };
        let identity = identity.map(read);
        let cacert = files.cacert.as_deref();
        let cacert = cacert.map(|path| read_pem(path, Wanted::Certificate));
        Ok(Self {
            cacert: cacert.transpose()?,
            identity: identity.transpose()?,
        })
    }
}

fn refuse(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    let reason = format!("cannot use {}: {why}", path.display());
    Failure::new(Kind::Refused, reason)
}

fn read_pem(path: &Path, wanted: Wanted) -> Result<Vec<u8>, Failure> {
    let bytes = std::fs::read(path).map_err(|error| refuse(path, &error))?;
    // A file without the block would be taken for an empty list, and fail later for a reason that names no file.
    let judged = pem::judge(&String::from_utf8_lossy(&bytes), wanted);
    judged.map_err(|why| refuse(path, &why))?;
    Ok(bytes)
}

fn read_password(password: &Password) -> Result<String, Failure> {
    let file = match password {
        Password::Given(password) => return Ok(password.clone()),
        Password::File(file) => file,
    };
    let text = std::fs::read_to_string(file).map_err(|error| refuse(file, &error))?;
    let line = first_line(&text).ok_or_else(|| refuse(file, &"the password file is empty"))?;
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let missing = Path::new("/nonexistent/ca.pem");
        let missing = read_pem(missing, Wanted::Certificate).unwrap_err();
        assert!(
            missing.reason.contains("/nonexistent/ca.pem"),
            "{missing:?}"
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        for (text, wanted, why) in [
            ("not a certificate", Wanted::Certificate, "PEM"),
            ("-----BEGIN PRIVATE KEY-----", Wanted::Certificate, "PEM"),
            (
                "-----BEGIN TRUSTED CERTIFICATE-----",
                Wanted::Certificate,
                "openssl x509",
            ),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----",
                Wanted::PrivateKey,
                "encrypted",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let reason = read_pem(&path, wanted).unwrap_err().reason;
            assert!(reason.contains(why), "{text}: {reason}");
        }
        let password = dir.path().join("password");
        let read = || read_password(&Password::File(password.clone()));
        assert!(read().unwrap_err().reason.contains("password"));
        std::fs::write(&password, "\n").unwrap();
        assert!(read().unwrap_err().reason.contains("empty"));
        std::fs::write(&password, "secret\nmore\n").unwrap();
        assert_eq!(read().unwrap(), "secret");
    }
}
