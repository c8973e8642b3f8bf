//! Which PEM blocks a file of certificates or of a key has to have, so that the TLS library can read it. Pure.

use std::fmt;

/// What a file is given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// One certificate or several: an authority, or what a client shows.
    Certificate,
    /// The private key of a certificate.
    PrivateKey,
}

/// Why a file cannot be used. Its text says what to do, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// No line begins a block of the kind that is wanted.
    NoBlock(Wanted),
    /// OpenSSL's own form of a certificate, with notes on what it is trusted for.
    Trusted,
    /// The key is encrypted with a password.
    Encrypted,
}

/// The labels that the TLS library knows. It passes over a block with another label without a word.
const CERTIFICATE: &str = "CERTIFICATE";
const KEYS: [&str; 3] = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];

/// Looks for the block that is wanted.
///
/// # Errors
///
/// Says why the TLS library could not use the file. Whether the content of a block is sound is not looked at.
pub fn judge(text: &str, wanted: Wanted) -> Result<(), Unusable> {
    match wanted {
        Wanted::Certificate => judge_certificate(text),
        Wanted::PrivateKey => judge_key(text),
    }
}

fn judge_certificate(text: &str) -> Result<(), Unusable> {
    if labels(text).any(|(label, _)| label == CERTIFICATE) {
        Ok(())
    } else if labels(text).any(|(label, _)| label == "TRUSTED CERTIFICATE") {
        Err(Unusable::Trusted)
    } else {
        Err(Unusable::NoBlock(Wanted::Certificate))
    }
}

fn judge_key(text: &str) -> Result<(), Unusable> {
    // The first one is used.
    let readable = labels(text).find(|(label, _)| KEYS.contains(label));
    match readable {
        // The older way to encrypt a key keeps the label, and says so in the line behind it.
        Some((_, next)) if next.starts_with("Proc-Type:") && next.contains("ENCRYPTED") => {
            Err(Unusable::Encrypted)
        }
        Some(_) => Ok(()),
        None if labels(text).any(|(label, _)| label == "ENCRYPTED PRIVATE KEY") => {
            Err(Unusable::Encrypted)
        }
        None => Err(Unusable::NoBlock(Wanted::PrivateKey)),
    }
}

/// The labels of the blocks, each with the line that follows it. A block begins at the start of a line.
fn labels(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let following = text.lines().skip(1).chain([""]);
    text.lines().zip(following).filter_map(|(line, next)| {
        let label = line.strip_prefix("-----BEGIN ")?;
        Some((label.trim_end().strip_suffix("-----")?, next))
    })
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoBlock(Wanted::Certificate) => {
                "there is no PEM block of a certificate (-----BEGIN CERTIFICATE-----) in it"
            }
            Self::NoBlock(Wanted::PrivateKey) => {
                "there is no PEM block of a private key (-----BEGIN PRIVATE KEY-----) in it"
            }
            Self::Trusted => {
                "the certificate in it is a TRUSTED CERTIFICATE, a form that only OpenSSL reads: \
                 `openssl x509 -in FILE -out NEW_FILE` writes it as a plain certificate"
            }
            Self::Encrypted => {
                "the private key in it is encrypted, which is not supported: `openssl pkey -in FILE -out NEW_FILE` \
                 writes it without a password; give that file mode 0600"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_block_that_is_asked_for() {
        use Wanted::{Certificate, PrivateKey};
        let none = Unusable::NoBlock;
        for (start, wanted, want) in [
            ("CERTIFICATE", Certificate, Ok(())),
            ("TRUSTED CERTIFICATE", Certificate, Err(Unusable::Trusted)),
            ("CERTIFICATE REQUEST", Certificate, Err(none(Certificate))),
            ("PRIVATE KEY", Certificate, Err(none(Certificate))),
            ("PRIVATE KEY", PrivateKey, Ok(())),
            ("EC PRIVATE KEY", PrivateKey, Ok(())),
            ("RSA PRIVATE KEY", PrivateKey, Ok(())),
            ("DSA PRIVATE KEY", PrivateKey, Err(none(PrivateKey))),
            ("PUBLIC KEY", PrivateKey, Err(none(PrivateKey))),
            (
                "ENCRYPTED PRIVATE KEY",
                PrivateKey,
                Err(Unusable::Encrypted),
            ),
        ] {
            let text = format!("text\n-----BEGIN {start}-----\nAA==\n-----END {start}-----\n");
            assert_eq!(judge(&text, wanted), want, "{start} as {wanted:?}");
            let windows = text.replace('\n', "\r\n");
            assert_eq!(judge(&windows, wanted), want, "{start} as {wanted:?}");
            // Another block before it, as in files that hold a certificate and its key.
            let behind = format!("-----BEGIN X-----\nAA==\n-----END X-----\n{text}");
            assert_eq!(judge(&behind, wanted), want, "{start} as {wanted:?}");
        }
        assert_eq!(judge("nothing", Certificate), Err(none(Certificate)));
    }

    #[test]
    fn a_key_may_be_encrypted_under_its_plain_label() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAA==\n";
        assert_eq!(judge(text, Wanted::PrivateKey), Err(Unusable::Encrypted));
    }
}
