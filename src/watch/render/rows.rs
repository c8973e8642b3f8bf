//! Instances as Tera's values: one row for each, with the fields that a template reads. Pure.
//!
//! What was not announced is absent from a row, so that `i.weight is defined` and `i.weight | default(value=100)` work, and
//! printing it without either is an error and not an empty word.
//!
//! To make rows takes longer than to render them, so those of the last render serve again for instances that have not changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};
use tera::{Context, TeraResult, Value};

use crate::model::instance::{HostName, Instance};
use crate::watch::render::view::Seen;

/// The fields of a row, in their order.
pub(super) const FIELDS: [&str; 9] = [
    "id", "host", "ip", "port", "ports", "weight", "state", "attrs", "addr",
];

/// The rows of the instances of one service.
#[derive(Clone)]
pub(super) struct Rows {
    instances: Arc<Vec<Arc<Instance>>>,
    list: Value,
}

/// The fields that a template reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields([bool; FIELDS.len()]);

impl Fields {
    /// Those for which `is_read` is true.
    pub(super) fn new(is_read: impl Fn(&str) -> bool) -> Self {
        Self(FIELDS.map(is_read))
    }

    fn iter(&self) -> impl Iterator<Item = &'static str> {
        let pairs = FIELDS.into_iter().zip(self.0);
        pairs.filter_map(|(field, is_read)| is_read.then_some(field))
    }
}

impl Rows {
    /// All rows, as a list.
    pub(super) fn all(&self) -> Value {
        self.list.clone()
    }

    /// The rows of the instances for which `is_wanted` is true, as a list.
    pub(super) fn list(&self, is_wanted: impl Fn(&Instance) -> bool) -> Value {
        if self.instances.iter().all(|instance| is_wanted(instance)) {
            return self.all();
        }
        let pairs = self.instances.iter().zip(self.rows());
        let wanted = pairs.filter(|(instance, _)| is_wanted(instance));
        Value::from(wanted.map(|(_, row)| row.clone()).collect::<Vec<_>>())
    }

    fn rows(&self) -> &[Value] {
        self.list.as_array().unwrap_or_default()
    }

    /// The rows of `seen`. Those of instances that are also in `last` are taken from there; both are sorted by id.
    pub(super) fn make(seen: &Seen<'_>, last: Option<&Self>, fields: Fields) -> TeraResult<Self> {
        let (old, rows) = last.map_or((&[][..], &[][..]), |last| {
            (last.instances.as_slice(), last.rows())
        });
        let mut at = 0;
        let mut list = Vec::with_capacity(seen.len());
        for instance in seen {
            while old.get(at).is_some_and(|old| old.id < instance.id) {
                at += 1;
            }
            let is_same = old.get(at).is_some_and(|old| Arc::ptr_eq(old, instance));
            list.push(match rows.get(at).filter(|_| is_same) {
                Some(row) => row.clone(),
                None => row(instance, fields)?,
            });
        }
        let instances = seen.iter().map(|instance| Arc::clone(instance));
        Ok(Self {
            instances: Arc::new(instances.collect()),
            list: Value::from(list),
        })
    }

    /// Numbers in the place of rows, for a template that reads no field of an instance; see [`number`].
    pub(super) fn numbered(instances: Arc<Vec<Arc<Instance>>>, service: usize) -> Self {
        let numbers = (0..instances.len()).map(|place| Value::from(number(service, place)));
        Self {
            list: Value::from(numbers.collect::<Vec<_>>()),
            instances,
        }
    }
}

/// What a template sees of the rows of all services.
pub(super) fn context(rows: &BTreeMap<String, Rows>) -> Context {
    let services = rows.iter();
    let services = services.map(|(service, rows)| (service.clone(), rows.all()));
    let services: BTreeMap<String, Value> = services.collect();
    let mut context = Context::new();
    context.insert_value("services", Value::from(services));
    context
}

/// The row of an instance.
pub(super) fn row(instance: &Instance, fields: Fields) -> TeraResult<Value> {
    Value::try_from_serializable(&Row { instance, fields })
}

/// No number of a template is as large.
const MARK: u64 = 1 << 63;

/// The number that stands for the instance at a place of a service.
fn number(service: usize, place: usize) -> u64 {
    MARK | (service as u64) << 32 | place as u64
}

/// The service and the place of an instance for which a number stands.
pub(super) fn parse_number(value: &Value) -> Option<(usize, usize)> {
    let number = value.as_u64()?.checked_sub(MARK)?;
    let half = |half: u64| usize::try_from(half).ok();
    Some((half(number >> 32)?, half(number & u64::from(u32::MAX))?))
}

/// An instance as templates see it.
struct Row<'a> {
    instance: &'a Instance,
    fields: Fields,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let one = self.instance;
        let mut row = serializer.serialize_struct("Row", self.fields.iter().count())?;
        for field in self.fields.iter() {
            match field {
                "id" => row.serialize_field(field, one.id.as_str())?,
                "host" => match one.host.as_ref().map(HostName::as_str) {
                    Some(host) => row.serialize_field(field, host)?,
                    None => row.serialize_field(field, &one.ip)?,
                },
                "ip" => row.serialize_field(field, &one.ip)?,
                "port" => row.serialize_field(field, &one.ports.default_port())?,
                "ports" => {
                    let ports = one.ports.named().iter();
                    let ports = ports.map(|(name, port)| (name.as_str(), port));
                    row.serialize_field(field, &ports.collect::<BTreeMap<_, _>>())?;
                }
                "weight" => {
                    if let Some(weight) = &one.weight {
                        row.serialize_field(field, weight)?;
                    }
                }
                "state" => row.serialize_field(field, one.state.as_str())?,
                "attrs" => {
                    let attrs = one.attrs.iter();
                    let attrs = attrs.map(|(name, value)| (name.as_str(), value.as_str()));
                    row.serialize_field(field, &attrs.collect::<BTreeMap<_, _>>())?;
                }
                _ => row.serialize_field("addr", &one.addr())?,
            }
        }
        row.end()
    }
}
