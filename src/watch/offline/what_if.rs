//! Adds instances to a fixture or removes some before it is rendered, to show what the targets would be. Pure.

use std::net::SocketAddr;

use thiserror::Error;

use crate::model::instance::{Instance, InstanceId, ServiceName};
use crate::model::key::{Entries, Key};
use crate::model::keyspace;
use crate::model::prefix::Prefix;
use crate::model::suggestion::did_you_mean;

/// Why a change cannot be made.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WhatIfError {
    /// The argument does not have its form.
    #[error("{flag} {text:?} is wrong: {why}")]
    Form {
        /// `--with` or `--without`.
        flag: &'static str,
        /// What was typed.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The fixture does not have the instance that is to be removed.
    #[error("--without {name}: the fixture has no such instance{hint}")]
    Absent {
        /// The instance.
        name: String,
        /// What was probably meant, or what there is.
        hint: String,
    },
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds this instance, or replaces the one with the same id.
    With(Box<Instance>),
    /// Removes this instance.
    Without(ServiceName, InstanceId),
}

impl Change {
    /// Parses `SERVICE/ID=IP:PORT[,FIELD=VALUE...]`, where a field is `weight`, `state`, `host` or an attribute.
    pub fn with(text: &str) -> Result<Self, WhatIfError> {
        let wrong = |why: String| WhatIfError::Form {
            flag: "--with",
            text: text.to_owned(),
            why,
        };
        let form = || wrong("it has the form SERVICE/ID=IP:PORT[,FIELD=VALUE...]".to_owned());
        let (place, rest) = text.split_once('=').ok_or_else(form)?;
        let (service, id) = place.split_once('/').ok_or_else(form)?;
        let mut parts = rest.split(',');
        let address = parts.next().unwrap_or_default();
        let address: SocketAddr = address.parse().map_err(|_| {
            wrong(format!(
                "{address:?} is no IP:PORT; an IPv6 address stands in brackets"
            ))
        })?;
        let mut fields = vec![
            ("ip".to_owned(), address.ip().to_string()),
            ("port".to_owned(), address.port().to_string()),
        ];
        for part in parts {
            let (field, value) = part
                .split_once('=')
                .ok_or_else(|| wrong(format!("{part:?} is not FIELD=VALUE")))?;
            if fields.iter().any(|(known, _)| known == field) {
                return Err(wrong(format!(
                    "{field} is given twice; IP:PORT gives ip and port"
                )));
            }
            fields.push((field.to_owned(), value.to_owned()));
        }
        let fields = fields.iter();
        let fields = fields.map(|(field, value)| (field.as_str(), value.as_bytes()));
        match keyspace::decode(service, id, fields) {
            Ok(Some(instance)) => Ok(Self::With(Box::new(instance))),
            Ok(None) => Err(form()),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// Parses `SERVICE/ID`.
    pub fn without(text: &str) -> Result<Self, WhatIfError> {
        let wrong = |why: String| WhatIfError::Form {
            flag: "--without",
            text: text.to_owned(),
            why,
        };
        let (service, id) = text
            .split_once('/')
            .ok_or_else(|| wrong("it has the form SERVICE/ID".to_owned()))?;
        let service = service.parse().map_err(|error| wrong(format!("{error}")))?;
        let id = id.parse().map_err(|error| wrong(format!("{error}")))?;
        Ok(Self::Without(service, id))
    }

    /// The service that changes.
    pub(super) fn service(&self) -> &ServiceName {
        match self {
            Self::With(instance) => &instance.service,
            Self::Without(service, _) => service,
        }
    }

    /// Makes the change.
    pub(super) fn apply(&self, entries: &mut Entries, prefix: &Prefix) -> Result<(), WhatIfError> {
        match self {
            Self::With(instance) => {
                remove(entries, prefix, &instance.service, &instance.id);
                let publication = keyspace::encode(prefix, instance);
                for (field, value) in publication.fields.clone() {
                    let key = Key::from(publication.key(&field));
                    entries.insert(key, value.into());
                }
                Ok(())
            }
            Self::Without(service, id) if remove(entries, prefix, service, id) => Ok(()),
            Self::Without(service, id) => Err(WhatIfError::Absent {
                name: format!("{service}/{id}"),
                hint: hint(entries, prefix, service, id),
            }),
        }
    }
}

/// Whether there was such an instance.
fn remove(entries: &mut Entries, prefix: &Prefix, service: &ServiceName, id: &InstanceId) -> bool {
    let dir = keyspace::dir(prefix, service.as_str(), id.as_str());
    let before = entries.len();
    entries.retain(|key, _| !dir.covers(key));
    entries.len() < before
}

fn hint(entries: &Entries, prefix: &Prefix, service: &ServiceName, id: &InstanceId) -> String {
    let places = entries
        .keys()
        .filter_map(|key| keyspace::locate(prefix, key));
    let mut names: Vec<String> = places
        .map(|place| format!("{}/{}", place.service, place.id))
        .collect();
    names.dedup();
    let wanted = format!("{service}/{id}");
    let question = did_you_mean(&wanted, names.iter().map(String::as_str));
    question.map_or_else(String::new, |question| format!("; {question}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::Value;

    fn changed(changes: &[Result<Change, WhatIfError>]) -> Result<Vec<String>, String> {
        let mut entries = Entries::new();
        for key in [
            "web/a/ip=10.0.0.1",
            "web/a/port=80",
            "web/ab/ip=10.0.0.2",
            "web/ab/port=80",
        ] {
            let (key, value) = key.split_once('=').unwrap();
            let key = format!("/services/{key}");
            entries.insert(Key::from(key.as_str()), value.as_bytes().into());
        }
        let prefix = Prefix::parse("/services").unwrap();
        for change in changes {
            let change = change.as_ref().map_err(ToString::to_string)?;
            let done = change.apply(&mut entries, &prefix);
            done.map_err(|error| error.to_string())?;
        }
        let line = |(key, value): (&Key, &Value)| {
            format!(
                "{}={}",
                &key["/services/".len()..],
                String::from_utf8_lossy(value)
            )
        };
        Ok(entries.iter().map(line).collect())
    }

    #[test]
    fn instances_are_added_replaced_and_removed() {
        assert_eq!(
            changed(&[
                Change::without("web/a"),
                Change::with("db/x=[2001:db8::1]:3306,weight=5,role=main")
            ])
            .unwrap(),
            [
                // A host is always written: it is the address where none was announced.
                "db/x/host=2001:db8::1",
                "db/x/ip=2001:db8::1",
                "db/x/port=3306",
                "db/x/role=main",
                "db/x/weight=5",
                "web/ab/ip=10.0.0.2",
                "web/ab/port=80",
            ]
        );
        let replaced = changed(&[Change::with("web/a=10.0.0.9:81,state=drain")]).unwrap();
        assert_eq!(
            replaced[1..4],
            ["web/a/ip=10.0.0.9", "web/a/port=81", "web/a/state=drain"]
        );
    }

    #[test]
    fn a_wrong_argument_is_explained() {
        for (change, want) in [
            (Change::with("web/x"), "it has the form SERVICE/ID=IP:PORT"),
            (
                Change::with("web=10.0.0.1:80"),
                "it has the form SERVICE/ID=IP:PORT",
            ),
            (Change::with("web/x=10.0.0.1"), "\"10.0.0.1\" is no IP:PORT"),
            (
                Change::with("web/x=10.0.0.1:80,weight"),
                "\"weight\" is not FIELD=VALUE",
            ),
            (Change::with("web/x=10.0.0.1:80,weight=x"), "weight"),
            (
                Change::with("web/x=10.0.0.9:80,ip=1.1.1.1"),
                "ip is given twice; IP:PORT gives ip and port",
            ),
            (
                Change::with("web/x=10.0.0.9:80,port=81"),
                "port is given twice",
            ),
            (Change::with("web/x=0.0.0.0:80"), "unspecified"),
            (Change::without("web"), "it has the form SERVICE/ID"),
            (Change::without("we b/a"), "is not a valid name"),
            (
                Change::without("web/b"),
                "the fixture has no such instance; did you mean web/a",
            ),
        ] {
            let said = changed(&[change]).unwrap_err();
            assert!(said.contains(want), "{want}: {said}");
        }
    }
}
