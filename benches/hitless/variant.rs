//! A variant: which proxy is measured, and how changes reach it. Pure.

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

/// How changes reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// `sidekick watch`, which changes servers while the proxy runs.
    Runtime,
    /// `sidekick watch`, which reloads it.
    Reload,
    /// confd, which reloads it.
    Confd,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variant {
    /// The proxy.
    pub(crate) kind: Kind,
    /// How changes reach it.
    pub(crate) keeper: Keeper,
}

impl Variant {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Self; 5] = [
        Self::new(Kind::Haproxy, Keeper::Runtime),
        Self::new(Kind::Haproxy, Keeper::Reload),
        Self::new(Kind::Haproxy, Keeper::Confd),
        Self::new(Kind::Nginx, Keeper::Reload),
        Self::new(Kind::Nginx, Keeper::Confd),
    ];

    const fn new(kind: Kind, keeper: Keeper) -> Self {
        Self { kind, keeper }
    }

    /// What it is called in the report, in names of files, and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match (self.kind, self.keeper) {
            (Kind::Haproxy, Keeper::Runtime) => "haproxy-runtime",
            (Kind::Haproxy, Keeper::Reload) => "haproxy-reload",
            (Kind::Haproxy, Keeper::Confd) => "haproxy-confd",
            (Kind::Nginx, Keeper::Runtime | Keeper::Reload) => "nginx-reload",
            (Kind::Nginx, Keeper::Confd) => "nginx-confd",
        }
    }
}
