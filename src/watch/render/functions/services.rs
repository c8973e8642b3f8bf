//! Functions on what is announced: instances, routes, slots. Pure.

use std::collections::BTreeMap;

use tera::{Kwargs, TeraResult, Value};

use super::{Inputs, failed};
use crate::model::instance::State;
use crate::watch::render::error::{not_followed_error, with_hint};
use crate::watch::render::{routes as routing, slots as places};

pub(super) fn instances(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let service: &str = args.must_get("service")?;
    let draining = args.get::<bool>("include_draining")?.unwrap_or(false);
    let Some(rows) = inputs.rows.get(service) else {
        if inputs.view.follows(service) {
            return Ok(Vec::<Value>::new().into());
        }
        return Err(not_followed_error(service));
    };
    let wanted = |state: State| match state {
        State::Up => true,
        State::Drain => draining,
        State::Maint => false,
    };
    Ok(rows.list(|instance| wanted(instance.state)))
}

pub(super) fn routes(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let protocols: Vec<String> = args.must_get("protocols")?;
    let visible = inputs.view.visible();
    let services = visible.iter().map(|(name, seen)| (*name, seen.as_slice()));
    Value::try_from_serializable(&routing::routes(services, &borrowed(&protocols)))
}

/// What a service speaks, of the protocols given; nothing if it speaks none of them.
pub(super) fn protocol(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let (service, protocols): (&str, Vec<String>) =
        (args.must_get("service")?, args.must_get("protocols")?);
    let seen = inputs.view.seen(service);
    let chosen = routing::protocol(&seen, &borrowed(&protocols));
    Ok(chosen.unwrap_or_default().into())
}

/// The instances of a service, whatever their state, that speak what [`protocol`] says.
pub(super) fn speaking(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let (service, protocols): (&str, Vec<String>) =
        (args.must_get("service")?, args.must_get("protocols")?);
    let seen = inputs.view.seen(service);
    let Some(protocol) = routing::protocol(&seen, &borrowed(&protocols)) else {
        return Ok(Vec::<Value>::new().into());
    };
    let rows = inputs.rows.get(service);
    let speaking = rows.map(|rows| rows.list(|instance| routing::speaks(instance, protocol)));
    Ok(speaking.unwrap_or_else(|| Vec::<Value>::new().into()))
}

/// The value of an attribute that all of the instances announce alike; nothing if they do not.
pub(super) fn agreed(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let instances: Vec<Value> = args.must_get("instances")?;
    let attribute: &str = args.must_get("attribute")?;
    let value = |row: &Value| {
        if let Some(instance) = inputs.numbered(row) {
            let mut attributes = instance.attrs.iter();
            let found = attributes.find(|(name, _)| name.as_str() == attribute);
            return found.map(|(_, value)| value.as_str().to_owned());
        }
        let attributes = row.get_from_path("attrs");
        let value = attributes?
            .as_map()?
            .get(&tera::value::Key::Str(attribute))?
            .as_str()?;
        Some(value.to_owned())
    };
    let mut values = instances.iter().map(value);
    let first = values.next().flatten();
    let is_agreed = values.all(|value| value == first);
    Ok(first.filter(|_| is_agreed).unwrap_or_default().into())
}

pub(super) fn slots(_: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let instances: Vec<Value> = args.must_get("instances")?;
    let count: u16 = args.must_get("count")?;
    let id = |row: &Value| {
        row.get_from_path("id")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let ids: Option<Vec<String>> = instances.iter().map(id).collect();
    let ids = ids.ok_or_else(|| failed("slots is for instances: each has an id"))?;
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let slots = places::slots(&ids, count.into()).map_err(|places::Full| {
        let what = format!("there are {} instances for {count} slots", ids.len());
        with_hint(what, "give slots a larger `count`")
    })?;
    let slot = |(n, place): (usize, Option<usize>)| {
        Value::from(BTreeMap::from([
            ("name", Value::from(format!("slot{}", n + 1))),
            (
                "instance",
                place.map_or(Value::none(), |place| instances[place].clone()),
            ),
        ]))
    };
    let slots = slots.into_iter().enumerate().map(slot);
    Ok(slots.collect::<Vec<_>>().into())
}

pub(super) fn default_service(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let protocols: Vec<String> = args.must_get("protocols")?;
    let named = inputs.view.env.get("SIDEKICK_DEFAULT_SERVICE");
    let visible = inputs.view.visible();
    let services = visible.iter().map(|(name, seen)| (*name, seen.as_slice()));
    let named = named.map_or("", String::as_str);
    let chosen = routing::default_service(services, named, &borrowed(&protocols));
    Ok(chosen.unwrap_or_default().into())
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
