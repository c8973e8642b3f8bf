//! A template whose loops over instances print the same for an instance until it changes: renders those rounds of them that
//! have not run yet, and takes the others over from the last render. Renders may run at the same time, hence the lock; it
//! changes no text, only how long a render takes. Adapter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tera::{Context, Kwargs, State as Scope, Tera, TeraResult, Value};

use super::independent::{FUNCTION, LIST, Parts};
use super::rounds::Rounds;
use crate::model::instance::Instance;
use crate::watch::render::View;
use crate::watch::render::functions::{self, Inputs};
use crate::watch::render::rows::{self, Fields, Rows, parse_number, row};

/// The name of the outer part.
const OUTER: &str = "outer";

/// The parts of a template, compiled.
#[derive(Clone)]
pub(super) struct SplitTemplate {
    engine: Tera,
    loops: usize,
    fields: Fields,
    /// The rounds of the last render.
    last: Arc<Mutex<Rounds>>,
}

impl SplitTemplate {
    /// `engine` knows the functions and filters, and no templates. Nothing if a part does not compile.
    pub(super) fn compile(mut engine: Tera, parts: &Parts, fields: Fields) -> Option<Self> {
        engine.register_function(FUNCTION, |_: Kwargs, _: &Scope| false);
        let loops = parts.loops.iter().enumerate();
        let loops = loops.map(|(number, part)| (part_name(number), part.clone()));
        let outer = (OUTER.to_owned(), parts.outer.clone());
        engine.add_raw_templates(loops.chain([outer])).ok()?;
        Some(Self {
            engine,
            loops: parts.loops.len(),
            fields,
            last: Arc::default(),
        })
    }

    /// The text of the whole template. Where it fails, the text or the error is that of the template that is not split.
    pub(super) fn render(&self, view: &View) -> TeraResult<String> {
        let mut rounds = std::mem::take(&mut *self.lock());
        let lists = rounds.take_in(view, self.loops);
        let names: Vec<String> = lists.keys().cloned().collect();
        let numbered: Vec<_> = lists.values().cloned().collect();
        let rows = lists.into_iter().enumerate();
        let rows = rows.map(|(service, (name, list))| (name, Rows::numbered(list, service)));
        let rows: BTreeMap<String, Rows> = rows.collect();
        let context = rows::context(&rows);
        let inputs = Arc::new(Inputs {
            view: view.clone(),
            keys: OnceLock::new(),
            rows,
            numbered,
        });
        let mut engine = self.engine.clone();
        functions::define(&mut engine, &inputs);
        let rounds = Arc::new(Mutex::new(rounds));
        let run = Run {
            engine: engine.clone(),
            fields: self.fields,
            names,
            rounds: Arc::clone(&rounds),
        };
        engine.register_function(FUNCTION, move |args: Kwargs, _: &Scope| run.call(&args));
        let text = engine.render(OUTER, &context);
        let mut rounds = rounds.lock().unwrap_or_else(PoisonError::into_inner);
        *self.lock() = std::mem::take(&mut *rounds);
        text
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rounds> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn part_name(number: usize) -> String {
    format!("loop {number}")
}

/// What the function of the outer part knows.
struct Run {
    /// Renders the parts of the loops.
    engine: Tera,
    fields: Fields,
    /// The services by their numbers.
    names: Vec<String>,
    rounds: Arc<Mutex<Rounds>>,
}

impl Run {
    fn call(&self, args: &Kwargs) -> TeraResult<Value> {
        let number: usize = args.must_get("n")?;
        let arg = |wanted| {
            let arg = args.iter().find(|(name, _)| name.as_str() == Some(wanted));
            arg.map(|(_, value)| value).ok_or_else(foreign)
        };
        let given = arg("given")?;
        if !given.as_map().ok_or_else(foreign)?.values().all(is_plain) {
            return Err(foreign());
        }
        let list = arg("list")?.as_array().ok_or_else(foreign)?;
        let mut numbers = list.iter().map(parse_number);
        let Some(first) = numbers.next() else {
            return Ok("".into());
        };
        let (service, place) = first.ok_or_else(foreign)?;
        let mut places = vec![place];
        for number in numbers {
            let (other, place) = number.ok_or_else(foreign)?;
            if other != service {
                return Err(foreign());
            }
            places.push(place);
        }
        let name = self.names.get(service).ok_or_else(foreign)?;
        let mut rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        let text = rounds.text(name, number, given, &places, |batch| {
            self.render(number, given, batch)
        })?;
        text.map(Value::from).ok_or_else(foreign)
    }

    /// Runs the rounds of a loop for some instances, with values from outside.
    fn render(
        &self,
        number: usize,
        given: &Value,
        instances: &[&Arc<Instance>],
    ) -> TeraResult<String> {
        let rows = instances.iter().map(|instance| row(instance, self.fields));
        let rows: Vec<Value> = rows.collect::<TeraResult<_>>()?;
        let mut context = Context::new();
        for (name, value) in given.as_map().into_iter().flatten() {
            let name = name.as_str().ok_or_else(foreign)?;
            context.insert_value(name.to_owned(), value.clone());
        }
        context.insert_value(LIST, Value::from(rows));
        self.engine.render(&part_name(number), &context)
    }
}

/// Whether it is a string, a whole number or a truth value: two of them that are equal are printed alike.
fn is_plain(value: &Value) -> bool {
    (value.is_string() && !value.is_safe())
        || value.is_bool()
        || (value.is_number() && !value.is_f64())
}

/// The loop is over something else than the instances of one service, or its rounds read more than that, so the template has
/// to be rendered as a whole.
fn foreign() -> tera::Error {
    tera::Error::message("the rounds of this loop cannot be kept")
}
