//! The engine for `*.tera`: sources in, text out. Pure.

mod mistakes;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use tera::{Context, Tera, Value};

use self::mistakes::{Found, Source};
use super::disputes::disputes;
use super::functions::{self, Inputs, Rows};
use super::view::Seen;
use super::{Fault, Mistakes, RenderError, View, filters};
use crate::model::instance::{HostName, Instance, ServiceName};

/// A compiled template, with those it includes or extends.
#[derive(Clone)]
pub(super) struct TeraTemplate {
    name: String,
    engine: Tera,
    /// The lists of protocols by which it, or a template that it includes, chooses between announcements.
    protocols: BTreeSet<Vec<String>>,
}

impl TeraTemplate {
    pub(super) fn compile_among(
        name: &str,
        source: &str,
        others: &[(&str, &str)],
    ) -> Result<Self, RenderError> {
        let mut engine = Tera::new();
        // Names that end in .html or .xml would turn escaping for HTML on.
        engine.autoescape_on(Vec::<&str>::new());
        functions::declare(&mut engine);
        filters::register(&mut engine);
        let others = others.iter().copied().filter(|(other, _)| *other != name);
        let others: Vec<(&str, &str)> = others.collect();
        // Fewer first: what it does not need may be wrong, or define the same component.
        let named = named_in(source, &others);
        let texts = named.iter().map(|(_, text)| *text).chain([source]);
        let protocols = texts.flat_map(listed_protocols).collect();
        let mut add = |set: Vec<(&str, &str)>| {
            let all = set.into_iter().chain([(name, source)]);
            engine.add_raw_templates(all)
        };
        add(Vec::new())
            .or_else(|_| add(named))
            // Components are used without the name of where they are; but what is wrong is told of fewer.
            .or_else(|error| add(others).map_err(|_| error))
            .map_err(|error| RenderError::compiling(name, &error))?;
        Ok(Self {
            name: name.to_owned(),
            engine,
            protocols,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong with it, or may be, whatever is announced. `services` are those of the target, if it lists any.
    pub(super) fn mistakes(
        &self,
        source: &str,
        others: &[(&str, &str)],
        services: Option<&[ServiceName]>,
    ) -> Mistakes {
        let variables = self.engine.get_template_variables(&self.name);
        let variables = variables.unwrap_or_default();
        let others = others.iter().map(|(name, text)| Source { name, text });
        let others: Vec<Source<'_>> = others.collect();
        let template = Source {
            name: &self.name,
            text: source,
        };
        let Found { certain, doubtful } = mistakes::find(template, &others, services, &variables);
        let error = |faults: Vec<Fault>| {
            let template = self.name.clone();
            (!faults.is_empty()).then_some(RenderError::Render { template, faults })
        };
        Mistakes {
            certain: error(certain),
            doubtful: error(doubtful),
        }
    }

    pub(super) fn disputes(&self, view: &View) -> Vec<String> {
        if self.protocols.is_empty() {
            return Vec::new();
        }
        let named = view.env.get("SIDEKICK_DEFAULT_SERVICE");
        let named = named.map_or("", String::as_str);
        let services = view.visible();
        let lists = self.protocols.iter();
        let found = lists.flat_map(|protocols| disputes(&services, named, protocols));
        found.collect()
    }

    pub(super) fn render(&self, view: &View) -> Result<String, RenderError> {
        self.try_render(view)
            .map_err(|error| RenderError::rendering(&self.name, &error))
    }

    fn try_render(&self, view: &View) -> tera::TeraResult<String> {
        let mut services = BTreeMap::new();
        let mut rows_by_service = BTreeMap::new();
        for (service, seen) in view.visible() {
            let rows = rows(&seen)?;
            let list: Vec<Value> = rows.iter().map(|(_, value)| value.clone()).collect();
            services.insert(service.to_owned(), Value::from(list));
            rows_by_service.insert(service.to_owned(), rows);
        }
        let mut context = Context::new();
        context.insert_value("services", Value::from(services));
        let inputs = Arc::new(Inputs {
            view: view.clone(),
            keys: view.raw_keys(),
            rows: rows_by_service,
        });
        // A function of Tera knows nothing but its arguments, so each render has an engine whose functions know its
        // view. The copy costs microseconds.
        let mut engine = self.engine.clone();
        functions::define(&mut engine, &inputs);
        engine.render(&self.name, &context)
    }
}

/// The lists that a template gives to the functions that choose between announcements, as far as it names them literally:
/// `protocols=["http"]`.
fn listed_protocols(source: &str) -> Vec<Vec<String>> {
    let lists = source.split("protocols=[").skip(1);
    let list = |rest: &str| {
        let (inside, _) = rest.split_once(']')?;
        let names = inside.split(',').map(|name| {
            let name = name.trim().trim_matches(['"', '\'']);
            name.to_owned()
        });
        Some(names.filter(|name| !name.is_empty()).collect())
    };
    lists.filter_map(list).collect()
}

/// Those of `others` whose names stand in `source`, or in one of them.
fn named_in<'a>(source: &'a str, others: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    let mut unread = vec![source];
    while let Some(text) = unread.pop() {
        for other in others {
            let (name, source) = *other;
            if !found.contains(other) && text.contains(&format!("\"{name}\"")) {
                found.push(*other);
                unread.push(source);
            }
        }
    }
    found
}

/// An instance as templates see it. What was not announced is absent, so that `i.weight is defined` and
/// `i.weight | default(value=100)` work, and printing it without either is an error and not an empty word.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    host: &'a str,
    ip: &'a str,
    port: u16,
    ports: BTreeMap<&'a str, u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
    state: &'static str,
    attrs: BTreeMap<&'a str, &'a str>,
    addr: String,
}

fn rows(instances: &Seen<'_>) -> tera::TeraResult<Rows> {
    let row = |instance: &&Arc<Instance>| Ok((instance.state, value(instance)?));
    instances.iter().map(row).collect()
}

fn value(instance: &Instance) -> tera::TeraResult<Value> {
    let ip = instance.ip.to_string();
    let host = instance.host.as_ref().map(HostName::as_str);
    let named = instance.ports.named().iter();
    let attrs = instance.attrs.iter();
    Value::try_from_serializable(&Row {
        id: instance.id.as_str(),
        host: host.unwrap_or(&ip),
        ip: &ip,
        port: instance.ports.default_port(),
        ports: named.map(|(name, port)| (name.as_str(), *port)).collect(),
        weight: instance.weight,
        state: instance.state.as_str(),
        attrs: attrs
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        addr: instance.addr().to_string(),
    })
}
