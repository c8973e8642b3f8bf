//! A table of a TOML file, read field by field, so that all problems in it are reported at once.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::input::Setting;
use super::toml_file::TomlFile;
use crate::model::report::enumerate;
use crate::model::suggestion::{did_you_mean, nearest};

/// One table of a document.
pub(super) struct TomlTable<'d, 't> {
    document: &'d TomlFile<'t>,
    /// Its name in messages, such as `template.reload`.
    name: String,
    span: Range<usize>,
    table: DeTable<'t>,
    missing: Vec<Missing>,
}

/// A required key that the table does not have.
struct Missing {
    /// The keys of which one is required.
    keys: &'static [&'static str],
    what: String,
    hint: Option<String>,
}

/// A value and its place in the file.
#[derive(Debug, Clone)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<'d, 't> TomlTable<'d, 't> {
    /// The top level of a file.
    pub(super) fn root(document: &'d TomlFile<'t>) -> Self {
        let root = document.parse();
        Self {
            document,
            name: String::new(),
            span: root.span(),
            table: root.into_inner(),
            missing: Vec::new(),
        }
    }

    /// The place of the table in the file.
    pub(super) fn span(&self) -> &Range<usize> {
        &self.span
    }

    fn take(&mut self, key: &str) -> Option<Spanned<DeValue<'t>>> {
        self.table.remove(key)
    }

    fn report_type(&self, key: &str, found: &Spanned<DeValue<'_>>, wanted: &str) {
        let what = format!(
            "{} is {wanted}, not {}",
            self.path(key),
            with_article(found.get_ref())
        );
        let quoted = as_typed(found.get_ref()).filter(|_| found.get_ref().is_integer());
        let hint = quoted.filter(|_| wanted == "a string");
        let hint = hint.map(|number| format!("write it in quotes: \"{number}\""));
        self.document
            .report_with_hint(&found.span(), what, hint.as_deref());
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    /// Takes and parses a time.
    pub(super) fn time<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.with_unit(
            key,
            &[("s", " for seconds"), ("ms", " for milliseconds")],
            parse,
        )
    }

    /// Takes and parses a share.
    pub(super) fn share<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.with_unit(key, &[("%", "")], parse)
    }

    /// Takes and parses a string. For a bare number, the problem's hint names the `units` that fit, each with its meaning.
    fn with_unit<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        units: &[(&str, &str)],
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let Some((number, span)) = self.take_integer(key) else {
            return self.parsed(key, parse);
        };
        let fits = |unit: &str| parse(&format!("{number}{unit}"));
        let fitting = units.iter().filter(|(unit, _)| fits(unit).is_ok());
        let written = fitting.map(|(unit, what_for)| format!("\"{number}{unit}\"{what_for}"));
        let written: Vec<String> = written.collect();
        let refused = units.first().and_then(|(unit, _)| fits(unit).err());
        match refused {
            // The number is wrong with any unit.
            Some(error) if written.is_empty() => {
                let what = format!("{}: {error}", self.path(key));
                self.document.report(&span, what);
            }
            Some(_) | None => {
                let what = format!("{}: {number} has no unit", self.path(key));
                let hint = format!("write {}", written.join(" or "));
                self.document.report_with_hint(&span, what, Some(&hint));
            }
        }
        None
    }

    /// Takes a whole number as text; `None` if the key holds something else.
    fn take_integer(&mut self, key: &str) -> Option<(String, Range<usize>)> {
        let found = self.table.get(key)?;
        found.get_ref().as_integer()?;
        let number = (as_typed(found.get_ref())?, found.span());
        self.drop_key(key);
        Some(number)
    }

    /// Takes a string.
    pub(super) fn string(&mut self, key: &str) -> Option<Located<String>> {
        let found = self.take(key)?;
        let text = found.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.report_type(key, &found, "a string");
        }
        Some(Located {
            value: text?,
            span: found.span(),
        })
    }

    /// Takes and parses a string.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        if let Some((number, span)) = self.take_integer(key) {
            // Quotes are suggested only if the number is right within quotes.
            match parse(&number) {
                Ok(_) => self.report_missing_quotes(key, &number, &span),
                Err(error) => self
                    .document
                    .report(&span, format!("{}: {error}", self.path(key))),
            }
            return None;
        }
        let text = self.string(key)?;
        self.parse_or_report(key, &text, parse)
    }

    fn report_missing_quotes(&self, key: &str, number: &str, span: &Range<usize>) {
        let what = format!("{} is a string, not an integer", self.path(key));
        let hint = format!("write it in quotes: \"{number}\"");
        self.document.report_with_hint(span, what, Some(&hint));
    }

    fn parse_or_report<T, E: std::fmt::Display>(
        &self,
        key: &str,
        text: &Located<String>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let report = |error| {
            self.document
                .report(&text.span, format!("{}: {error}", self.path(key)));
        };
        parse(&text.value).map_err(report).ok()
    }

    /// Takes a whole number that is not negative.
    pub(super) fn number(&mut self, key: &str) -> Option<u32> {
        let found = self.take(key)?;
        let number = found
            .get_ref()
            .as_integer()
            .and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
        if number.is_none() {
            self.report_type(key, &found, "a number from 0 to 4294967295");
        }
        number
    }

    /// Takes `true` or `false`.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        let found = self.take(key)?;
        let flag = found.get_ref().as_bool();
        if flag.is_none() {
            self.report_type(key, &found, "true or false");
        }
        flag
    }

    /// Takes a list of strings and parses each.
    pub(super) fn list<T, E: std::fmt::Display>(
        &mut self,
        key: &str,
        mut parse: impl FnMut(&str) -> Result<T, E>,
    ) -> Option<Located<Vec<T>>> {
        let found = self.take(key)?;
        let span = found.span();
        let Some(items) = found.get_ref().as_array() else {
            self.report_type(key, &found, "a list of strings");
            return None;
        };
        let mut value = Vec::new();
        for item in items {
            match item.get_ref().as_str() {
                Some(text) => {
                    let text = Located {
                        value: text.to_owned(),
                        span: item.span(),
                    };
                    value.extend(self.parse_or_report(key, &text, &mut parse));
                }
                None => self.report_type(key, item, "a list of strings"),
            }
        }
        Some(Located { value, span })
    }

    /// Takes a table below this one.
    pub(super) fn table(&mut self, key: &str) -> Option<TomlTable<'d, 't>> {
        let found = self.take(key)?;
        let (span, name) = (found.span(), self.path(key));
        match found.into_inner() {
            DeValue::Table(table) => Some(TomlTable {
                document: self.document,
                name,
                span,
                table,
                missing: Vec::new(),
            }),
            other => {
                self.report_type(key, &Spanned::new(span, other), "a table");
                None
            }
        }
    }

    /// Takes a table, `[template]`, or the tables of a list, `[[template]]`.
    pub(super) fn one_or_more(&mut self, key: &str) -> Vec<TomlTable<'d, 't>> {
        let is_list = |found: &Spanned<DeValue<'_>>| found.get_ref().is_array();
        if self.table.get(key).is_some_and(is_list) {
            return self.tables(key);
        }
        self.table(key).into_iter().collect()
    }

    /// Takes the tables of a list, `[[service]]`.
    pub(super) fn tables(&mut self, key: &str) -> Vec<TomlTable<'d, 't>> {
        let Some(found) = self.take(key) else {
            return Vec::new();
        };
        let (span, name) = (found.span(), self.path(key));
        let items = match found.into_inner() {
            DeValue::Array(items) => items,
            other => {
                let what = format!(
                    "{name} is written [[{name}]], not as {}",
                    with_article(&other)
                );
                self.document.report(&span, what);
                return Vec::new();
            }
        };
        let mut tables = Vec::new();
        for item in items {
            let (document, name, span) = (self.document, name.clone(), item.span());
            match item.into_inner() {
                DeValue::Table(table) => tables.push(TomlTable {
                    document,
                    name,
                    span,
                    table,
                    missing: Vec::new(),
                }),
                other => self.report_type(key, &Spanned::new(span, other), "a table"),
            }
        }
        tables
    }

    /// Takes a string or a whole number, as text.
    pub(super) fn text(&mut self, key: &str) -> Option<Setting> {
        let found = self.take(key)?;
        let text = as_typed(found.get_ref());
        if text.is_none() {
            self.report_type(key, &found, "a string or a number");
        }
        Some(self.setting(key, &found, text?))
    }

    /// Takes a string or a list of strings.
    pub(super) fn texts(&mut self, key: &str) -> Vec<Setting> {
        let Some(found) = self.take(key) else {
            return Vec::new();
        };
        let items = match found.get_ref().as_array() {
            Some(items) => items.iter().collect(),
            None => vec![&found],
        };
        let mut settings = Vec::new();
        for item in items {
            match item.get_ref().as_str() {
                Some(text) => settings.push(self.setting(key, item, text.to_owned())),
                None => self.report_type(key, item, "a string or a list of strings"),
            }
        }
        settings
    }

    /// Takes the names and values of a table below this one.
    pub(super) fn pairs(&mut self, key: &str) -> Vec<(Setting, Setting)> {
        let Some(table) = self.table(key) else {
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (name, value) in &table.table {
            let (name, at) = (name.get_ref().as_ref(), name.span());
            let Some(text) = as_typed(value.get_ref()) else {
                let what = match value.get_ref() {
                    DeValue::Table(_) => "a string or a number; a path stands in quotes, \"a/b\"",
                    _ => "a string or a number",
                };
                table.report_type(name, value, what);
                continue;
            };
            let value = table.setting(name, value, text);
            let name = Setting {
                text: name.to_owned(),
                span: Some(at),
                ..value.clone()
            };
            pairs.push((name, value));
        }
        pairs
    }

    /// Takes a switch: the setting if it is `true`, `None` if it is `false` or absent.
    pub(super) fn is_set(&mut self, key: &str) -> Option<Setting> {
        let found = self.take(key)?;
        let is_set = found.get_ref().as_bool();
        if is_set.is_none() {
            self.report_type(key, &found, "true or false");
        }
        is_set?.then(|| self.setting(key, &found, String::new()))
    }

    fn setting(&self, key: &str, found: &Spanned<DeValue<'_>>, text: String) -> Setting {
        Setting {
            text,
            label: self.path(key),
            span: Some(found.span()),
        }
    }

    /// Whether the table has this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The string of a key, which stays in the table.
    pub(super) fn peek(&self, key: &str) -> Option<&str> {
        self.table.get(key)?.get_ref().as_str()
    }

    /// Whether a key holds a number below zero.
    pub(super) fn is_negative(&self, key: &str) -> bool {
        let number = self
            .table
            .get(key)
            .and_then(|found| found.get_ref().as_integer());
        number.is_some_and(|number| number.as_str().starts_with('-'))
    }

    /// The place of a key's value in the file.
    pub(super) fn span_of(&self, key: &str) -> Option<Range<usize>> {
        self.table.get(key).map(Spanned::span)
    }

    /// Removes a key without reading it.
    pub(super) fn drop_key(&mut self, key: &str) {
        self.table.remove(key);
    }

    /// Changes the string of a key, or each string of its list.
    pub(super) fn map_strings(&mut self, key: &str, change: impl Fn(&str) -> String) {
        let Some(found) = self.table.get_mut(key) else {
            return;
        };
        let change = |value: &mut DeValue<'t>| {
            if let DeValue::String(text) = value {
                *text = Cow::Owned(change(text));
            }
        };
        match found.get_mut() {
            DeValue::Array(items) => {
                for item in items.iter_mut() {
                    change(item.get_mut());
                }
            }
            value => change(value),
        }
    }

    /// Inserts a value at a path of keys, as if it stood at `span`. A value that is there already stays.
    pub(super) fn put(&mut self, path: &[&str], value: DeValue<'t>, span: Range<usize>) {
        let mut value = Spanned::new(span.clone(), value);
        let mut table = &mut self.table;
        let mut path = path.iter().peekable();
        while let Some(key) = path.next() {
            let is_last = path.peek().is_none();
            let key: Spanned<DeString<'t>> =
                Spanned::new(span.clone(), Cow::Owned((*key).to_owned()));
            if is_last {
                table.entry(key).or_insert_with(|| {
                    std::mem::replace(
                        &mut value,
                        Spanned::new(span.clone(), DeValue::Boolean(false)),
                    )
                });
                return;
            }
            let next = table
                .entry(key)
                .or_insert_with(|| Spanned::new(span.clone(), DeValue::Table(DeTable::new())));
            match next.get_mut() {
                DeValue::Table(below) => table = below,
                // The value should be a table; whoever takes it reports that.
                _ => return,
            }
        }
    }

    /// Makes all names lower-case, here and below, because confd (in Go) ignores their case. If two names become the same,
    /// the one that was lower-case stays.
    pub(super) fn ignore_case(&mut self) {
        ignore_case(&mut self.table);
    }

    /// The strings of a key in a table below this one, or in the tables of a list. The case of the names is ignored.
    pub(super) fn strings_below(&self, table: &str, key: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for value in values_named(&self.table, table) {
            let list = value
                .as_array()
                .map(|items| items.iter().map(Spanned::get_ref));
            let tables = list.into_iter().flatten().chain([value]);
            for table in tables.filter_map(DeValue::as_table) {
                found.extend(values_named(table, key).filter_map(DeValue::as_str));
            }
        }
        found
    }

    /// Notes that the table has none of `keys`, and needs one of them. [`TomlTable::finish`] reports it, unless one of them is
    /// there and misspelt: then it reports the misspelt key only, since that is the one mistake to correct.
    pub(super) fn note_missing(
        &mut self,
        keys: &'static [&'static str],
        what: impl Into<String>,
        hint: Option<&str>,
    ) {
        self.missing.push(Missing {
            keys,
            what: what.into(),
            hint: hint.map(str::to_owned),
        });
    }

    /// Ends the reading and reports the keys that are left: they are unknown, which is a problem, or a warning if the file is
    /// read leniently. `known` are the valid keys, with tables in brackets.
    pub(super) fn finish(mut self, known: &[&str]) {
        let names = || known.iter().map(|name| bare_key(name));
        let mut missing = std::mem::take(&mut self.missing);
        for key in self.table.keys() {
            let name = key.get_ref();
            let similar = did_you_mean(name, names());
            let before = missing.len();
            if let Some(meant) = nearest(name, names()) {
                missing.retain(|missing| !missing.keys.contains(&meant));
            }
            let is_needed = missing.len() < before;
            if self.document.is_lenient() && !is_needed {
                let what = format!("{} is not known here and is ignored", self.path(name));
                self.document.warn(&key.span(), what, similar.as_deref());
                continue;
            }
            let what = format!("{} is not known here", self.path(name));
            let hint = similar.unwrap_or_else(|| format!("known are {}", enumerate(known)));
            self.document
                .report_with_hint(&key.span(), what, Some(&hint));
        }
        for Missing { what, hint, .. } in missing {
            self.document
                .report_with_hint(&self.span, what, hint.as_deref());
        }
    }
}

/// The values under a name; the case is ignored.
fn values_named<'v, 't>(
    table: &'v DeTable<'t>,
    name: &str,
) -> impl Iterator<Item = &'v DeValue<'t>> {
    let is_it = move |key: &str| key.eq_ignore_ascii_case(name);
    let pairs = table.iter().filter(move |(key, _)| is_it(key.get_ref()));
    pairs.map(|(_, value)| value.get_ref())
}

fn ignore_case(table: &mut DeTable<'_>) {
    let (lower, other): (Vec<_>, Vec<_>) = std::mem::take(table)
        .into_iter()
        .partition(|(key, _)| !key.get_ref().contains(|c: char| c.is_ascii_uppercase()));
    for (key, value) in lower.into_iter().chain(other) {
        let name = key.get_ref().to_ascii_lowercase();
        let key = Spanned::new(key.span(), Cow::Owned(name));
        table.entry(key).or_insert(value);
    }
    for (_, value) in table.iter_mut() {
        match value.get_mut() {
            DeValue::Table(table) => ignore_case(table),
            DeValue::Array(items) => {
                for item in items.iter_mut() {
                    if let DeValue::Table(table) = item.get_mut() {
                        ignore_case(table);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The bare key of a name in brackets: `pace` of `[template.pace]`, `service` of `[[service]]`.
fn bare_key(name: &str) -> &str {
    let name = name.trim_matches(['[', ']']);
    name.rsplit('.').next().unwrap_or(name)
}

/// A string or a whole number as a person would type it.
fn as_typed(value: &DeValue<'_>) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let number = value.as_integer()?;
    let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
    Some(number.to_string())
}

fn with_article(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(_) | DeValue::Array(_) => format!("an {}", value.type_str()),
        DeValue::String(_) | DeValue::Float(_) | DeValue::Boolean(_) => {
            format!("a {}", value.type_str())
        }
        DeValue::Datetime(_) | DeValue::Table(_) => format!("a {}", value.type_str()),
    }
}
