//! Has systemd reload a unit, over D-Bus, so that neither a shell nor `systemctl` has to be there. Adapter.

use std::num::NonZeroUsize;
use std::time::Duration;

use thiserror::Error;
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedObjectPath, OwnedVariant};

use crate::model::os::Signal;

/// Where the bus is, for those who have it elsewhere.
const ADDRESS: &str = "DBUS_SYSTEM_BUS_ADDRESS";
const BUS: &str = "/run/dbus/system_bus_socket";

const MANAGER: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const INTERFACE: &str = "org.freedesktop.systemd1.Manager";

/// Jobs of other units end meanwhile; one signal each.
const QUEUE: NonZeroUsize = NonZeroUsize::new(4096).expect("is not zero");

/// Why a unit was not reloaded.
#[derive(Debug, Error)]
pub enum UnitError {
    /// We cannot connect to the manager.
    #[error(
        "systemd cannot be reached at {address} (a container needs {BUS} of its host, or {ADDRESS})"
    )]
    Unreachable {
        /// Where we tried.
        address: String,
        /// Why not.
        source: Box<zbus::Error>,
    },
    /// The manager has no such unit.
    #[error("systemd knows no unit {unit} ({said})")]
    Unknown {
        /// The unit.
        unit: String,
        /// The manager's words.
        said: String,
    },
    /// The unit has no `ExecReload=`.
    #[error("{0} cannot be reloaded: its unit has no ExecReload=")]
    NoReload(String),
    /// The manager does not allow it to us.
    #[error(
        "systemd does not let us reload {unit}: {said} (as another user than root, it takes a polkit rule for \
         org.freedesktop.systemd1.manage-units)"
    )]
    Refused {
        /// The unit.
        unit: String,
        /// The manager's words.
        said: String,
    },
    /// The reload has begun and has failed.
    #[error("the reload of {unit} ended with {result:?}; see journalctl -u {unit}")]
    Failed {
        /// The unit.
        unit: String,
        /// The manager's word for it.
        result: String,
    },
    /// The reload has begun and has not ended.
    #[error("the reload of {unit} has not ended within {} s; see journalctl -u {unit}", limit.as_secs_f64())]
    TimedOut {
        /// The unit.
        unit: String,
        /// How long it had.
        limit: Duration,
    },
    /// Anything else.
    #[error("systemd does not reload {unit}")]
    Call {
        /// The unit.
        unit: String,
        /// Its answer.
        source: Box<zbus::Error>,
    },
}

impl UnitError {
    /// Whether it is an answer with this name.
    fn says(&self, name: &str) -> bool {
        match self {
            Self::Call { source, .. } => words(source).0.as_deref() == Some(name),
            Self::Unreachable { .. } | Self::Unknown { .. } | Self::NoReload(_) => false,
            Self::Refused { .. } | Self::Failed { .. } | Self::TimedOut { .. } => false,
        }
    }
}

/// What became of a reload that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The unit says that it is reloaded.
    Reloaded,
    /// It does not run, so it will find the new file when it starts.
    NotRunning,
}

/// Reloads a unit and waits for the end of it. It is never restarted.
pub async fn reload(unit: &str, limit: Duration) -> Result<Done, UnitError> {
    let timed_out = |_| UnitError::TimedOut {
        unit: unit.to_owned(),
        limit,
    };
    let all = async { Manager::connect().await?.reload(unit).await };
    timeout(limit, all).await.map_err(timed_out)?
}

/// Sends a signal to the main process of a unit.
pub async fn signal(
    unit: &str,
    Signal(number): Signal,
    limit: Duration,
) -> Result<Done, UnitError> {
    let timed_out = |_| UnitError::TimedOut {
        unit: unit.to_owned(),
        limit,
    };
    let all = async {
        let body = (unit, "main", number);
        let manager = Manager::connect().await?;
        let sent = manager.call(PATH, (INTERFACE, "KillUnit"), &body).await;
        sent.map_err(|error| explain(unit, error))
    };
    match timeout(limit, all).await.map_err(timed_out)? {
        Ok(_) => Ok(Done::Reloaded),
        Err(error) if error.says("org.freedesktop.systemd1.NoSuchProcess") => Ok(Done::NotRunning),
        Err(error) => Err(error),
    }
}

/// The main process of a unit, if it has one.
pub async fn main_pid(unit: &str, limit: Duration) -> Option<i32> {
    let ask = async { Manager::connect().await.ok()?.main_pid(unit).await.ok() };
    let pid = timeout(limit, ask).await.ok().flatten()?;
    i32::try_from(pid).ok().filter(|pid| *pid > 0)
}

/// A connection to systemd.
struct Manager(Connection);

impl Manager {
    async fn connect() -> Result<Self, UnitError> {
        let given = std::env::var(ADDRESS).ok();
        let address = given.unwrap_or_else(|| format!("unix:path={BUS}"));
        match Builder::address(address.as_str()).build().await {
            Ok(connection) => Ok(Self(connection)),
            Err(source) => Err(UnitError::Unreachable {
                address,
                source: Box::new(source),
            }),
        }
    }

    async fn call<B>(&self, path: &str, to: (&str, &str), body: &B) -> zbus::Result<Message>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let (interface, method) = to;
        self.0
            .call_method(Some(MANAGER), path, Some(interface), method, body)
            .await
    }

    async fn reload(&self, unit: &str) -> Result<Done, UnitError> {
        let other = |source| UnitError::Call {
            unit: unit.to_owned(),
            source: Box::new(source),
        };
        // systemd sends the result of a job as a signal when it ends, to those who have subscribed by then.
        let mut jobs = self.jobs().await.map_err(other)?;
        let asked = self
            .call(PATH, (INTERFACE, "ReloadUnit"), &(unit, "replace"))
            .await;
        let answer = asked.map_err(|error| explain(unit, error))?;
        let job: OwnedObjectPath = answer.body().deserialize().map_err(other)?;
        let result = jobs.result(&job).await.map_err(other)?;
        match result.as_str() {
            "done" => Ok(Done::Reloaded),
            // In its own words: the job is not one for a unit in this state.
            "skipped" | "invalid" if !self.is_active(unit).await.map_err(other)? => {
                Ok(Done::NotRunning)
            }
            _ => Err(UnitError::Failed {
                unit: unit.to_owned(),
                result,
            }),
        }
    }

    async fn jobs(&self) -> zbus::Result<Jobs> {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .interface(INTERFACE)
            .member("JobRemoved")
            .build();
        let stream = MessageStream::for_match_rule(rule?, &self.0, Some(QUEUE)).await?;
        self.call(PATH, (INTERFACE, "Subscribe"), &()).await?;
        Ok(Jobs(stream))
    }

    async fn main_pid(&self, unit: &str) -> zbus::Result<u32> {
        let value = self.property(unit, "Service", "MainPID").await?;
        u32::try_from(value)
    }

    async fn is_active(&self, unit: &str) -> zbus::Result<bool> {
        let value = self.property(unit, "Unit", "ActiveState").await?;
        let state = String::try_from(value)?;
        Ok(state != "inactive" && state != "failed")
    }

    async fn property(&self, unit: &str, kind: &str, name: &str) -> zbus::Result<OwnedVariant> {
        let answer = self.call(PATH, (INTERFACE, "LoadUnit"), &unit).await?;
        let path: OwnedObjectPath = answer.body().deserialize()?;
        let get = ("org.freedesktop.DBus.Properties", "Get");
        let body = (format!("{MANAGER}.{kind}"), name);
        self.call(&path, get, &body).await?.body().deserialize()
    }
}

/// The ends of jobs.
struct Jobs(MessageStream);

impl Jobs {
    async fn result(&mut self, job: &OwnedObjectPath) -> zbus::Result<String> {
        use std::future::poll_fn;
        use std::pin::Pin;
        use zbus::export::futures_core::Stream;
        loop {
            let next = poll_fn(|context| Pin::new(&mut self.0).poll_next(context)).await;
            let closed = || std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
            let message = next.ok_or_else(closed)??;
            let (_, path, _, result): (u32, OwnedObjectPath, String, String) =
                message.body().deserialize()?;
            if path == *job {
                return Ok(result);
            }
        }
    }
}

/// What the manager means by an error.
fn explain(unit: &str, error: zbus::Error) -> UnitError {
    let unit = unit.to_owned();
    let (name, said) = words(&error);
    match name.as_deref() {
        Some("org.freedesktop.systemd1.NoSuchUnit" | "org.freedesktop.systemd1.LoadFailed") => {
            UnitError::Unknown { unit, said }
        }
        Some("org.freedesktop.systemd1.JobTypeNotApplicable") => UnitError::NoReload(unit),
        Some(
            "org.freedesktop.DBus.Error.AccessDenied"
            | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
            | "org.freedesktop.DBus.Error.AuthFailed",
        ) => UnitError::Refused { unit, said },
        Some(_) | None => UnitError::Call {
            unit,
            source: Box::new(error),
        },
    }
}

/// The name of an error on the bus, and what it says.
fn words(error: &zbus::Error) -> (Option<String>, String) {
    use zbus::DBusError;
    match error {
        zbus::Error::MethodError(name, said, _) => {
            (Some(name.to_string()), said.clone().unwrap_or_default())
        }
        zbus::Error::FDO(error) => {
            let said = error.description().unwrap_or_default().to_owned();
            (Some(error.name().to_string()), said)
        }
        other => (None, other.to_string()),
    }
}
