//! The methods of Go's `time.Time` that a template may call of confd's `datetime`. Pure.

use super::datetime::Date;
use super::value::{IntType, Value};

impl Date {
    /// Calls one of the methods of Go's `time.Time`.
    pub(super) fn call(&self, method: &str, args: &[Value]) -> Result<Value, String> {
        let int = |number: u64| Value::int(i64::try_from(number).unwrap_or(i64::MAX));
        let since_1970 =
            |number: u128| Value::Int(i64::try_from(number).unwrap_or(i64::MAX), IntType::Int64);
        let wanted = usize::from(method == "Format");
        if args.len() != wanted {
            let got = args.len();
            return Err(format!(
                "wrong number of args for {method}: want {wanted} got {got}"
            ));
        }
        Ok(match (method, args) {
            ("Format", [Value::Text(layout)]) => self.format(layout).into(),
            ("Format", _) => return Err("Format takes a layout, which is a string".to_owned()),
            ("String", _) => self.to_string().into(),
            ("Unix", _) => since_1970(self.since_1970.as_secs().into()),
            ("UnixMilli", _) => since_1970(self.since_1970.as_millis()),
            ("UnixNano", _) => since_1970(self.since_1970.as_nanos()),
            ("Year", _) => int(self.year),
            ("Day", _) => int(self.day),
            ("Hour", _) => int(self.hour),
            ("Minute", _) => int(self.minute),
            ("Second", _) => int(self.second),
            ("Nanosecond", _) => int(self.nanos.into()),
            _ => return Err(format!("can't evaluate field {method} in type time.Time")),
        })
    }
}
