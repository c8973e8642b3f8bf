//! A variant: the proxy that is measured, and the method by which changes reach it. Pure.

/// The proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HAProxy in master-worker mode.
    Haproxy,
    /// nginx.
    Nginx,
}

impl Kind {
    /// Its program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }
}

/// The method by which changes reach the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// `sidekick watch` changes servers while the proxy runs.
    Runtime,
    /// `sidekick watch` reloads the proxy.
    Reload,
    /// confd reloads the proxy.
    Confd,
}

/// A proxy and a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variant {
    /// The proxy.
    pub(crate) kind: Kind,
    /// The method by which changes reach the proxy.
    pub(crate) method: Method,
}

impl Variant {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 5] = [
        Self::new(Kind::Haproxy, Method::Runtime),
        Self::new(Kind::Haproxy, Method::Reload),
        Self::new(Kind::Haproxy, Method::Confd),
        Self::new(Kind::Nginx, Method::Reload),
        Self::new(Kind::Nginx, Method::Confd),
    ];

    const fn new(kind: Kind, method: Method) -> Self {
        Self { kind, method }
    }

    /// Its name in the report, in names of files, and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match (self.kind, self.method) {
            (Kind::Haproxy, Method::Runtime) => "haproxy-runtime",
            (Kind::Haproxy, Method::Reload) => "haproxy-reload",
            (Kind::Haproxy, Method::Confd) => "haproxy-confd",
            (Kind::Nginx, Method::Runtime | Method::Reload) => "nginx-reload",
            (Kind::Nginx, Method::Confd) => "nginx-confd",
        }
    }
}
