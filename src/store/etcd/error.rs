//! What went wrong with etcd, sorted by what helps, and worded so that an operator knows what to do. Adapter.

use std::error::Error as _;
use std::time::Duration;

use etcd_client::Error;

use crate::model::store_url::{EtcdOptions, Password};
use crate::store::StoreError;

/// What helps against a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another member may do better, or the same one on a new connection.
    Member,
    /// A moment's patience: the cluster is electing a leader.
    Leaderless,
    /// A new login.
    Login,
    /// A new lease.
    LeaseUnknown,
    /// A new listing: the revision is compacted, or lies in the future of a store that was rebuilt.
    History,
    /// A smaller question: the answer is larger than what is taken.
    TooLarge,
    /// A role with more rights.
    Denied,
    /// That another owner gives way.
    Conflict,
    /// Nothing but another request.
    Refused,
}

/// A failure of one request at one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) reason: String,
    /// What an operator may do about it.
    pub(super) hint: Option<String>,
}

/// The numbers of the gRPC codes that this file distinguishes.
mod code {
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNIMPLEMENTED: i32 = 12;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

impl Failure {
    /// A failure that was found out here.
    pub(super) fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
            hint: None,
        }
    }

    /// Whether the cluster has refused the login; no answer is no refusal.
    pub(super) fn is_wrong_password(&self) -> bool {
        self.reason.contains(WRONG_PASSWORD)
    }

    /// Nothing came back in time.
    pub(super) fn silence(limit: Duration) -> Self {
        Self::new(
            Kind::Member,
            format!("no answer within {:.1} s", limit.as_secs_f64()),
        )
    }

    /// The members cannot be found in the DNS.
    pub(super) fn of_lookup(why: String) -> Self {
        let hint = "--store-srv (SIDEKICK_STORE_SRV) names the domain, and resolv.conf the servers that are asked";
        Self {
            hint: Some(hint.to_owned()),
            ..Self::new(Kind::Member, why)
        }
    }

    /// What etcd or the connection to it said.
    pub(super) fn from_client(error: &Error, options: &EtcdOptions) -> Self {
        let (kind, text) = match error {
            Error::GRpcStatus(status) => {
                let mut text = status.message().to_owned();
                add_causes(&mut text, status.source());
                (kind_of(status.code() as i32, &text, options), text)
            }
            Error::TransportError(transport) => {
                let mut text = transport.to_string();
                add_causes(&mut text, transport.source());
                (Kind::Member, text)
            }
            Error::LeaseKeepAliveError(text) if text.contains("not found") => {
                (Kind::LeaseUnknown, text.clone())
            }
            Error::InvalidArgs(text) => (Kind::Refused, text.clone()),
            Error::InvalidUri(error) => (Kind::Refused, error.to_string()),
            // Whatever else this enum of another crate may hold in time is worth another try.
            other => (Kind::Member, other.to_string()),
        };
        Self::with_hint(kind, &text, options)
    }

    /// Why the server ended a watch; a text is all that it gives.
    pub(super) fn of_cancelled_watch(reason: &str, options: &EtcdOptions) -> Self {
        let kind = match text_kind(reason, options) {
            Some(kind) => kind,
            None => Kind::Member,
        };
        let reason = if reason.is_empty() {
            "the server ended the watch without saying why"
        } else {
            reason
        };
        Self::with_hint(kind, reason, options)
    }

    fn with_hint(kind: Kind, text: &str, options: &EtcdOptions) -> Self {
        let text = text.strip_prefix("etcdserver: ").unwrap_or(text);
        let text = text.strip_prefix("transport error: ").unwrap_or(text);
        Self {
            kind,
            reason: text.to_owned(),
            hint: hint(kind, text, options),
        }
    }

    /// The same, naming the place in the store that the verb was about.
    pub(super) fn about(mut self, place: &str) -> Self {
        let place = format!("{}/", place.trim_end_matches('/'));
        self.hint = self.hint.map(|hint| hint.replace(PLACE, &place));
        self
    }

    /// The error of a verb, when `store` is where it failed.
    pub(super) fn into_error(self, store: String) -> StoreError {
        let (reason, hint) = (self.reason, self.hint);
        match self.kind {
            Kind::Conflict => StoreError::Conflict(reason),
            Kind::Member | Kind::Leaderless | Kind::Login => StoreError::Unavailable {
                store,
                reason,
                hint,
            },
            Kind::LeaseUnknown | Kind::History | Kind::TooLarge | Kind::Denied | Kind::Refused => {
                StoreError::Refused {
                    store,
                    reason,
                    hint,
                }
            }
        }
    }
}

/// What etcd says to a login with a wrong user or password.
const WRONG_PASSWORD: &str = "authentication failed";

/// What the connection says around an error, and which says nothing.
const NOTHING: &str = "transport error";

/// Appends the causes of an error that say something new.
fn add_causes(text: &mut String, mut cause: Option<&(dyn std::error::Error + 'static)>) {
    while let Some(error) = cause {
        let told = error.to_string();
        if !told.is_empty() && told != NOTHING && !text.contains(&told) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&told);
        }
        cause = error.source();
    }
}

fn kind_of(code: i32, text: &str, options: &EtcdOptions) -> Kind {
    if let Some(kind) = text_kind(text, options) {
        return kind;
    }
    match code {
        code::PERMISSION_DENIED => Kind::Denied,
        code::UNAUTHENTICATED => Kind::Login,
        code::OUT_OF_RANGE if text.contains("revision") => Kind::History,
        code::INVALID_ARGUMENT
        | code::NOT_FOUND
        | code::RESOURCE_EXHAUSTED
        | code::FAILED_PRECONDITION
        | code::OUT_OF_RANGE
        | code::UNIMPLEMENTED => Kind::Refused,
        // Unavailable, a broken connection, a time that ran out: all that another member may do better.
        _ => Kind::Member,
    }
}

/// The kind of a failure whose text says more than its code; in a watch there is only text.
fn text_kind(text: &str, options: &EtcdOptions) -> Option<Kind> {
    let says = |part: &str| text.contains(part);
    if says("no leader") || says("leader changed") {
        Some(Kind::Leaderless)
    } else if says("invalid auth token") || says("revision of auth store is old") {
        Some(Kind::Login)
    } else if says("user name is empty") {
        // Authentication was switched on under a client that had logged in to nothing.
        Some(if options.auth.is_some() {
            Kind::Login
        } else {
            Kind::Denied
        })
    } else if says("decoded message length too large") {
        Some(Kind::TooLarge)
    } else if says("permission denied") {
        Some(Kind::Denied)
    } else if says("requested lease not found") {
        Some(Kind::LeaseUnknown)
    } else if says("too many requests")
        || says("not leader")
        || says("learner")
        || says("mapped from HTTP status")
    {
        Some(Kind::Member)
    } else {
        None
    }
}

/// What stands in advice for the place in the store that a verb was about, until [`Failure::about`] names it.
const PLACE: &str = "{place}";

/// What an operator may do about it.
fn hint(kind: Kind, text: &str, options: &EtcdOptions) -> Option<String> {
    if kind == Kind::Denied {
        return Some(hint_of_rights(text, options));
    }
    if text.contains(WRONG_PASSWORD) {
        return Some(hint_of_login(options));
    }
    let identity = options.tls.as_ref().and_then(|tls| tls.identity.as_ref());
    if let Some((cert, key)) = identity {
        let (cert, key) = (cert.display(), key.display());
        if is_mismatch(text) {
            return Some(format!(
                "the key {key} does not belong to the certificate {cert}, or one of them is damaged: give the two files \
                 that were made together"
            ));
        }
        if text.contains("received fatal alert") {
            return Some(format!(
                "the server does not accept the client certificate {cert}: it is not signed by the authority that the \
                 server trusts (its --trusted-ca-file), is out of date, or is not made for clients"
            ));
        }
        if text.contains("BadEncoding") {
            return Some(format!(
                "a certificate is damaged: look at {cert} and its key {key}, at the file of --cacert, and at the server's"
            ));
        }
        // Many servers just hang up.
        if looks_cut_off(text) {
            return Some(format!(
                "the server may not accept the client certificate {cert}: it has to be signed by the authority that the \
                 server trusts (its --trusted-ca-file), in date, and made for clients; or the server speaks no TLS"
            ));
        }
    }
    hint_of_certificate(text, options).or_else(|| hint_of_text(text, options).map(str::to_owned))
}

/// What the operator gave for TLS and does not do.
fn hint_of_certificate(text: &str, options: &EtcdOptions) -> Option<String> {
    let tls = options.tls.as_ref()?;
    if text.contains("UnsupportedCertVersion") {
        let file = tls
            .identity
            .as_ref()
            .map(|(cert, _)| cert)
            .or(tls.cacert.as_ref());
        let own = file.map_or_else(String::new, |file| {
            format!("; look at {} first", file.display())
        });
        return Some(format!(
            "a certificate is of X.509 version 1, which TLS does not take any more: issue it with extensions \
             (openssl x509 -req -extfile){own}"
        ));
    }
    let is_unknown = text.contains("UnknownIssuer") || text.contains("BadSignature");
    let cacert = tls.cacert.as_ref().filter(|_| is_unknown)?;
    Some(format!(
        "no certificate in {} has signed the server's certificate: give that of its authority with --cacert",
        cacert.display()
    ))
}

/// The cluster knows who asks, or that nobody says who it is, and does not let it.
fn hint_of_rights(text: &str, options: &EtcdOptions) -> String {
    let is_nobody = text.contains("user name is empty");
    let identity = options.tls.as_ref().and_then(|tls| tls.identity.as_ref());
    let grant = format!("etcdctl role grant-permission ROLE readwrite {PLACE} --prefix");
    match (&options.auth, identity) {
        (Some((user, _)), _) => {
            format!(
                "let a role of the user {user} read {PLACE}, and to announce also write it: {grant}"
            )
        }
        (None, Some((cert, _))) if !is_nobody => format!(
            "the user is the common name (CN) of the certificate {}: etcd has no such user, or no role of it may use \
             {PLACE}: etcdctl user add CN, or {grant}",
            cert.display()
        ),
        (None, _) => "the cluster asks for a user: give --user and --password-file".to_owned(),
    }
}

fn hint_of_login(options: &EtcdOptions) -> String {
    match &options.auth {
        Some((user, Password::File(file))) => format!(
            "check the user {user} and its password in {}, which is read again for each try",
            file.display()
        ),
        Some((user, Password::Given(_))) => format!(
            "check the user {user} and its password; it came from the environment, which is read only at the start, or from confd.toml: a \
             password that changes belongs into a file for --password-file"
        ),
        None => "check the user and the password".to_owned(),
    }
}

/// What the TLS library says of a certificate and a key that are no pair, or no certificate and key.
fn is_mismatch(text: &str) -> bool {
    [
        "KeyMismatch",
        "keys may not be consistent",
        "InconsistentKeys",
        "private key",
        "PrivateKey",
    ]
    .iter()
    .any(|part| text.contains(part))
}

fn hint_of_text(text: &str, options: &EtcdOptions) -> Option<&'static str> {
    let says = |part: &str| text.contains(part);
    // Some servers say so, others just hang up.
    let is_unwelcome = says("received fatal alert") || options.tls.is_some() && looks_cut_off(text);
    let hints: &[(bool, &str)] = &[
        (
            says("database space exceeded"),
            "the store is full: compact and defragment it, then etcdctl alarm disarm",
        ),
        (
            says("request is too large")
                || says("message larger than max")
                || says("too many operations"),
            "give the instance fewer or shorter attributes",
        ),
        (
            says("UnknownIssuer") || says("BadSignature"),
            "the authority that signed the server's certificate is not known here: give its certificate with --cacert",
        ),
        (
            says("NotValidForName") || says("not valid for name"),
            "the server's certificate needs this host as a subject alternative name; a common name is not enough",
        ),
        (
            says("BadEncoding"),
            "a certificate is damaged: look at the files of --cacert and --cert, and at the server's",
        ),
        (
            says("Expired"),
            "a certificate is out of date, or a clock is wrong",
        ),
        (
            options.tls.is_some() && says("tls handshake eof")
                || says("InvalidContentType")
                || says("corrupt message"),
            "the server may not speak TLS: use it without --cacert, --cert and --key",
        ),
        (
            is_unwelcome,
            "the server may ask for a client certificate (give --cert and --key), or it may not speak TLS (leave --cacert out)",
        ),
        (
            options.tls.is_none() && looks_cut_off(text),
            "the server may speak TLS: give --cacert",
        ),
        (
            says("mapped from HTTP status"),
            "something answers there that is not etcd, or a proxy that does not reach it",
        ),
        (says("invalid uri"), "an endpoint is HOST:PORT"),
        (
            says("onnection refused"),
            "is etcd running there, and is the address right?",
        ),
    ];
    hints
        .iter()
        .find_map(|(applies, hint)| applies.then_some(*hint))
}

/// How a connection looks that the other side ended at once.
fn looks_cut_off(text: &str) -> bool {
    [
        "connection closed",
        "roken pipe",
        "reset by peer",
        "operation was canceled",
        "frame with invalid size",
    ]
    .iter()
    .any(|part| text.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_say_what_helps() {
        let options = EtcdOptions::default();
        for (code, text, kind) in [
            (14, "etcdserver: no leader", Kind::Leaderless),
            (14, "tcp connect error", Kind::Member),
            (1, "Timeout expired", Kind::Member),
            (2, "h2 protocol error", Kind::Member),
            (16, "etcdserver: invalid auth token", Kind::Login),
            (
                5,
                "etcdserver: requested lease not found",
                Kind::LeaseUnknown,
            ),
            (
                11,
                "etcdserver: mvcc: required revision has been compacted",
                Kind::History,
            ),
            (11, "decoded message length too large", Kind::TooLarge),
            (7, "etcdserver: permission denied", Kind::Denied),
            (
                3,
                "etcdserver: too many operations in txn request",
                Kind::Refused,
            ),
            (8, "etcdserver: too many requests", Kind::Member),
            (
                8,
                "etcdserver: mvcc: database space exceeded",
                Kind::Refused,
            ),
        ] {
            assert_eq!(kind_of(code, text, &options), kind, "{text}");
        }
    }

    #[test]
    fn a_cancelled_watch_is_told_with_a_hint() {
        let failure =
            Failure::of_cancelled_watch("etcdserver: permission denied", &EtcdOptions::default());
        let failure = failure.about("/services");
        assert_eq!(failure.kind, Kind::Denied);
        assert!(
            failure.hint.as_ref().unwrap().contains("--user"),
            "{failure:?}"
        );
        let silent = Failure::of_cancelled_watch("", &EtcdOptions::default());
        assert_eq!(silent.kind, Kind::Member);
    }
}
