//! Functions on the host: its environment, names, files. Pure: what they ask is given to them.

use std::collections::BTreeMap;

use tera::{Kwargs, TeraResult, Value};

use super::{Inputs, word};
use crate::model::os::Srv;
use crate::watch::render::host::Family;

pub(super) fn getenv(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let value = inputs.view.env.get(word(args, "name")?);
    match value.filter(|value| !value.is_empty()) {
        Some(value) => Ok(value.as_str().into()),
        None => Ok(args.get::<Value>("default")?.unwrap_or_else(|| "".into())),
    }
}

pub(super) fn addresses(inputs: &Inputs, args: &Kwargs, family: Family) -> TeraResult<Value> {
    let host = &inputs.view.host;
    Ok(host.sorted_addresses(word(args, "host")?, family).into())
}

pub(super) fn lookup_srv(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    let (service, protocol) = (word(args, "service")?, word(args, "protocol")?);
    let host = &inputs.view.host;
    let found = host.sorted_services(service, protocol, word(args, "name")?);
    let record = |srv: Srv| {
        Value::from(BTreeMap::from([
            ("target", Value::from(srv.target)),
            ("port", srv.port.into()),
            ("priority", srv.priority.into()),
            ("weight", srv.weight.into()),
        ]))
    };
    Ok(found.into_iter().map(record).collect::<Vec<_>>().into())
}

pub(super) fn file_exists(inputs: &Inputs, args: &Kwargs) -> TeraResult<Value> {
    Ok((inputs.view.host.file_exists)(word(args, "path")?).into())
}
