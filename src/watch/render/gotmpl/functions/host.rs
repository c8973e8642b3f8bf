//! Functions that ask the environment, the host and the network. Pure: the answers are passed in.

use std::sync::Arc;

use super::{Function, Given, Run, text};
use crate::watch::render::generation::PLACE;
use crate::watch::render::gotmpl::Inputs;
use crate::watch::render::gotmpl::datetime::Date;
use crate::watch::render::gotmpl::value::{IntType, ListType, Record, RecordType, Value};
use crate::watch::render::host::Family;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        name: "getenv",
        params: "ss*",
        run: Run::Asking(getenv),
    },
    Function {
        name: "lookupIP",
        params: "s",
        run: Run::Host(|inputs, args| addresses(inputs, args, Family::Any)),
    },
    Function {
        name: "lookupIPV4",
        params: "s",
        run: Run::Host(|inputs, args| addresses(inputs, args, Family::V4)),
    },
    Function {
        name: "lookupIPV6",
        params: "s",
        run: Run::Host(|inputs, args| addresses(inputs, args, Family::V6)),
    },
    Function {
        name: "lookupIfaceIPV4",
        params: "s",
        run: Run::Host(|inputs, args| interface(inputs, args, Family::V4)),
    },
    Function {
        name: "lookupIfaceIPV6",
        params: "s",
        run: Run::Host(|inputs, args| interface(inputs, args, Family::V6)),
    },
    Function {
        name: "lookupSRV",
        params: "sss",
        run: Run::Host(lookup_srv),
    },
    Function {
        name: "fileExists",
        params: "s",
        run: Run::Host(|inputs, args| Ok((inputs.host.file_exists)(text(args, 0)).into())),
    },
    Function {
        name: "hostname",
        params: "",
        run: Run::Host(|inputs, _| Ok((inputs.host.hostname)().into())),
    },
    Function {
        name: "datetime",
        params: "",
        run: Run::Host(|inputs, _| Ok(Value::Time(Arc::new(Date::at((inputs.host.now)()))))),
    },
    Function {
        name: "target",
        params: "",
        run: Run::Asking(|inputs, _| Ok(inputs.target.as_str().into())),
    },
    Function {
        name: "generation",
        params: "",
        run: Run::Plain(|_| Ok(PLACE.into())),
    },
];

fn getenv(inputs: &Inputs, args: &[Value]) -> Given {
    let value = inputs.env.get(text(args, 0));
    match (value.filter(|value| !value.is_empty()), args.get(1)) {
        (Some(value), _) => Ok(value.as_str().into()),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Ok("".into()),
    }
}

fn addresses(inputs: &Inputs, args: &[Value], family: Family) -> Given {
    Ok(Value::texts(
        inputs.host.sorted_addresses(text(args, 0), family),
    ))
}

fn interface(inputs: &Inputs, args: &[Value], family: Family) -> Given {
    let (name, which) = (
        text(args, 0),
        if family == Family::V4 { "IPv4" } else { "IPv6" },
    );
    let found = inputs.host.interface_address(name, family);
    found.map(Value::from).ok_or_else(|| {
        format!("the network interface {name:?} is not up, or has no {which} address")
    })
}

fn lookup_srv(inputs: &Inputs, args: &[Value]) -> Given {
    let found = inputs
        .host
        .sorted_services(text(args, 0), text(args, 1), text(args, 2));
    let number = |number: u16| Value::Int(number.into(), IntType::Uint16);
    let record = |srv: crate::model::os::Srv| {
        let fields = vec![
            ("Target", srv.target.into()),
            ("Port", number(srv.port)),
            ("Priority", number(srv.priority)),
            ("Weight", number(srv.weight)),
        ];
        let of = RecordType::Service;
        Value::Record(Arc::new(Record { of, fields }))
    };
    Ok(Value::list(
        ListType::Services,
        found.into_iter().map(record).collect(),
    ))
}
