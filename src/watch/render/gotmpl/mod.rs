//! The engine for `*.tmpl`: Go's text/template with confd's functions, as confd has them. Pure.

mod clock;
mod functions;
mod more;
mod source;
mod store;
#[cfg(test)]
mod tests;
mod values;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use gtmpl_ng::{Context, ExecError, Limits, ParseError, Value};

use super::error::Fault;
use super::keys::Keys;
use super::{RenderError, View, World};

/// More than any configuration file has; less than would harm the host.
const LARGEST: usize = 256 << 20;

/// A compiled template.
#[derive(Clone)]
pub(super) struct GoTemplate {
    engine: Arc<gtmpl_ng::Template>,
    tells_the_time: bool,
}

/// What the functions of one render know.
struct Inputs {
    target: String,
    keys: Keys,
    env: Arc<BTreeMap<String, String>>,
    world: World,
}

thread_local! {
    /// The engine's functions are plain pointers that capture nothing, so what they read has to be found from
    /// anywhere. A render runs on one thread from beginning to end, so it is put here for as long as that takes.
    static INPUTS: RefCell<Option<Arc<Inputs>>> = const { RefCell::new(None) };
}

/// Takes the inputs of a render away at its end, also when that end is a panic.
struct Borrowed;

impl Borrowed {
    fn new(inputs: Inputs) -> Self {
        INPUTS.set(Some(Arc::new(inputs)));
        Self
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        INPUTS.take();
    }
}

/// What the render that goes on in this thread works on.
fn inputs() -> Option<Arc<Inputs>> {
    INPUTS.with_borrow(Clone::clone)
}

impl GoTemplate {
    pub(super) fn compile(name: &str, source: &str) -> Result<Self, RenderError> {
        let mut engine = gtmpl_ng::Template::with_name(name);
        // What a template reads is the operator's own and may be large; what it writes has an end all the same.
        engine.limits = Limits::unlimited().with_output_bytes(LARGEST);
        engine.add_funcs(functions::FUNCTIONS);
        engine.add_funcs(more::FUNCTIONS);
        engine.add_funcs(clock::FUNCTIONS);
        let source = source::rewrite(source);
        engine
            .parse(source.text)
            .map_err(|error| RenderError::Compile {
                template: name.to_owned(),
                faults: vec![uncompiled(&error)],
            })?;
        Ok(Self {
            engine: Arc::new(engine),
            tells_the_time: source.tells_the_time,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.engine.name
    }

    pub(super) fn tells_the_time(&self) -> bool {
        self.tells_the_time
    }

    pub(super) fn render(&self, view: &View) -> Result<String, RenderError> {
        let _borrowed = Borrowed::new(Inputs {
            target: view.target.clone(),
            keys: view.raw_keys(),
            env: Arc::clone(&view.env),
            world: view.world,
        });
        // confd renders without data; a field of nothing prints `<no value>`.
        let nothing = Context::from(Value::NoValue);
        let rendered = self.engine.render(&nothing);
        rendered.map_err(|error| RenderError::Render {
            template: self.name().to_owned(),
            faults: vec![unrendered(&error)],
        })
    }
}

fn uncompiled(error: &ParseError) -> Fault {
    match error {
        ParseError::WithContext(place, message) => {
            Fault::told(Some((place.name.clone(), place.line)), message)
        }
        other => Fault::told(None, &other.to_string()),
    }
}

fn unrendered(error: &ExecError) -> Fault {
    match error.as_structured() {
        Some(said) => {
            let place = (said.context.name.clone(), said.context.line);
            Fault::told(Some(place), &said.message)
        }
        None => Fault::told(None, &error.to_string()),
    }
}
