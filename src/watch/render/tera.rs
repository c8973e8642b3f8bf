//! The engine for `*.tera`: sources in, text out. Pure.

mod fields;
mod independent;
mod inline;
mod mistakes;
mod rounds;
mod split_template;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use tera::Tera;

use self::fields::fields;
use self::mistakes::{Found, Source};
use self::split_template::SplitTemplate;
use super::disputes::disputes;
use super::functions::{self, Inputs};
use super::last_rows::LastRows;
use super::rows::{self, Fields};
use super::{Fault, Mistakes, RenderError, View, filters};
use crate::model::instance::ServiceName;

/// A compiled template, with those it includes or extends.
#[derive(Clone)]
pub(super) struct TeraTemplate {
    name: String,
    engine: Tera,
    /// The lists of protocols by which it, or a template that it includes, chooses between announcements.
    protocols: BTreeSet<Vec<String>>,
    /// The fields of instances that it reads.
    fields: Fields,
    last_rows: Arc<LastRows>,
    /// Renders it faster, and in less memory, if all that it does with instances is known.
    split: Option<SplitTemplate>,
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
        let empty = engine.clone();
        let others = others.iter().copied().filter(|(other, _)| *other != name);
        let others: Vec<(&str, &str)> = others.collect();
        // Templates that this one does not need may be wrong, or define the same component, so fewer are tried first.
        let named = named_in(source, &others);
        let texts = named.iter().map(|(_, text)| *text).chain([source]);
        let protocols = texts.flat_map(listed_protocols).collect();
        let mut add = |set: Vec<(&str, &str)>| {
            let all = set.into_iter().chain([(name, source)]);
            engine.add_raw_templates(all)
        };
        add(Vec::new())
            .or_else(|_| add(named))
            // A template uses components without naming their file, so all are tried; the error is that of the fewer.
            .or_else(|error| add(others.clone()).map_err(|_| error))
            .map_err(|error| RenderError::compiling(name, &error))?;
        let inline = inline::inline(source, &others);
        let source = inline.as_deref().unwrap_or(source);
        let fields = fields(source);
        let parts = independent::split(source);
        Ok(Self {
            name: name.to_owned(),
            engine,
            protocols,
            fields,
            last_rows: Arc::default(),
            split: parts.and_then(|parts| SplitTemplate::compile(empty, &parts, fields)),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The faults that it has, or may have, whatever is announced. `services` are those that the target lists, if any.
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
        if let Some(split) = &self.split
            && let Ok(text) = split.render(view)
        {
            return Ok(text);
        }
        self.try_render(view)
            .map_err(|error| RenderError::rendering(&self.name, &error))
    }

    fn try_render(&self, view: &View) -> tera::TeraResult<String> {
        let rows = self.last_rows.update(&view.visible(), self.fields)?;
        let context = rows::context(&rows);
        let inputs = Arc::new(Inputs {
            view: view.clone(),
            keys: OnceLock::new(),
            rows,
            numbered: Vec::new(),
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
