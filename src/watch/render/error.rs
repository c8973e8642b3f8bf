//! Why a template gave no text: which template, which line, what is wrong there, and what to do. Pure.

use std::fmt;

use thiserror::Error;

/// Our own functions put this between what is wrong and the hint what to do about it.
pub(super) const HINT: &str = "\nhint: ";

/// A template that cannot be used, or cannot be rendered from what there is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RenderError {
    /// The template, or one that it includes or extends, is not valid. Everything found is named.
    #[error("template {template} is not valid: {}", listed(.faults))]
    Compile {
        /// The target's template.
        template: String,
        /// What is wrong; at least one.
        faults: Vec<Fault>,
    },
    /// The template is valid and asks for something that is not there, or not what it has to be.
    #[error("template {template} cannot be rendered: {}", listed(.faults))]
    Render {
        /// The target's template.
        template: String,
        /// What is wrong: one.
        faults: Vec<Fault>,
    },
}

impl RenderError {
    /// What is wrong, place by place.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        match self {
            Self::Compile { faults, .. } | Self::Render { faults, .. } => faults,
        }
    }

    /// What to do about it, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.faults().iter().find_map(|fault| fault.hint.as_deref())
    }

    pub(super) fn compiling(template: &str, error: &tera::Error) -> Self {
        Self::Compile {
            template: template.to_owned(),
            faults: faults(error),
        }
    }

    pub(super) fn rendering(template: &str, error: &tera::Error) -> Self {
        Self::Render {
            template: template.to_owned(),
            faults: faults(error),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The template (an included one has its own name) and the line, if they are known.
    pub place: Option<(String, usize)>,
    /// What is wrong.
    pub what: String,
    /// The kind of fault.
    pub cause: Cause,
    /// What to do about it, if that is known.
    pub hint: Option<String>,
    /// The line of the template with a mark under the place, over several lines.
    pub excerpt: Option<Box<str>>,
}

/// The kinds of faults that callers tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// A name has no value.
    Undefined,
    /// A service is asked for that the target does not follow.
    NotFollowed(Box<str>),
    /// Anything else.
    Other,
}

impl Fault {
    /// A fault that says what to do about it.
    pub(super) fn with_hint(place: Option<(String, usize)>, what: String, hint: String) -> Self {
        Self {
            place,
            what,
            cause: Cause::Other,
            hint: Some(hint),
            excerpt: None,
        }
    }

    /// A fault from a message of one of our functions, which may hold a hint.
    pub(super) fn new(place: Option<(String, usize)>, message: &str) -> Self {
        let (what, hint) = format_hint(message);
        Self {
            place,
            what: what.to_owned(),
            cause: Cause::Other,
            hint,
            excerpt: None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((template, line)) = &self.place {
            write!(f, "{template} line {line}: ")?;
        }
        f.write_str(&self.what)
    }
}

fn listed(faults: &[Fault]) -> String {
    let faults: Vec<String> = faults.iter().map(Fault::to_string).collect();
    faults.join("; ")
}

/// An error for a function to return, with a hint.
pub(super) fn with_hint(what: impl fmt::Display, hint: impl fmt::Display) -> tera::Error {
    tera::Error::message(format!("{what}{HINT}{hint}"))
}

/// What separates the service from the rest where a function says that the target does not follow it.
const NOT_FOLLOWED: &str = "\nnot followed: ";

/// What to say of a service that is asked for and that the target does not follow, and what to do about it.
pub(super) fn not_followed(service: &str) -> (String, String) {
    let service = service.escape_debug();
    (
        format!("service \"{service}\" is not among those of this target"),
        "name it in the target's `services`, or a key above it in its `keys`".to_owned(),
    )
}

/// The same as an error for a function to return. Of an error that a function returns, Tera keeps nothing but the text, so
/// that has to say what kind of error it is.
pub(super) fn not_followed_error(service: &str) -> tera::Error {
    let (what, hint) = not_followed(service);
    with_hint(what, format_args!("{hint}{NOT_FOLLOWED}{service}"))
}

/// Tera reports what it finds as text only, one block each: `error: what`, ` --> template:line:column`, the excerpt.
fn faults(error: &tera::Error) -> Vec<Fault> {
    let report = error.to_string();
    report.split("\n\nerror: ").map(fault).collect()
}

fn fault(block: &str) -> Fault {
    let block = block.strip_prefix("error: ").unwrap_or(block);
    let arrow = block.find("--> ");
    let head = arrow.map_or(block, |at| block[..at].trim_end());
    let (what, hint) = format_hint(head);
    let (hint, cause) = match hint
        .as_deref()
        .and_then(|hint| hint.split_once(NOT_FOLLOWED))
    {
        Some((hint, service)) => (Some(hint.to_owned()), Cause::NotFollowed(service.into())),
        None if is_undefined(what) => (hint, Cause::Undefined),
        None => (hint, Cause::Other),
    };
    let excerpt = arrow.map(|at| block[at..].into());
    let mut what = uncapitalized(what);
    // Of a part that is missing, a field or an index, Tera says only that something is undefined, and where it points
    // is often next to it.
    if what.contains("undefined")
        && let Some(line) = excerpt.as_deref().and_then(source_line)
    {
        what = format!("{what}, in `{line}`");
    }
    Fault {
        place: arrow.and_then(|at| parse_position(&block[at + 4..])),
        what,
        cause,
        hint,
        excerpt,
    }
}

/// Whether Tera says that a name has no value. It has no kind of error for this, so its sentences are told apart here, and
/// a test makes it say each.
fn is_undefined(what: &str) -> bool {
    let starts = |start| what.starts_with(start);
    let ends = |end| what.ends_with(end);
    let is_name = starts("Field `") || starts("Variable `");
    is_name && (what.contains("` is not defined") || ends("its value is undefined"))
        || starts("Cannot index into an undefined value")
        || starts("Cannot slice an undefined value")
        || starts("Tried to render a variable that is undefined")
        || ["Index expression", "Slice start", "Slice end", "Slice step"]
            .into_iter()
            .any(|part| starts(part) && ends(" is undefined"))
        || starts("Value of type undefined")
        || ends("but got `undefined`")
        || ends("on type `undefined`")
}

/// The template's line that the excerpt shows.
fn source_line(excerpt: &str) -> Option<String> {
    let (_, line) = excerpt.lines().nth(2)?.split_once("| ")?;
    Some(line.trim().chars().take(100).collect())
}

fn parse_position(text: &str) -> Option<(String, usize)> {
    let mut parts = text.lines().next()?.rsplitn(3, ':');
    let (_column, line) = (parts.next()?, parts.next()?.parse().ok()?);
    Some((parts.next()?.to_owned(), line))
}

fn format_hint(message: &str) -> (&str, Option<String>) {
    if let Some((what, hint)) = message.split_once(HINT) {
        return (what, Some(hint.to_owned()));
    }
    match message.split_once(". Available ") {
        Some((what, names)) => (what, Some(format!("available {names}"))),
        None => (message, None),
    }
}

fn uncapitalized(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

/// What is wrong with a template, in whatever branch it stands.
#[derive(Debug, Default)]
pub struct Mistakes {
    /// A render stops there once it comes there.
    pub certain: Option<RenderError>,
    /// A render goes on there, with something that never has a value.
    pub doubtful: Option<RenderError>,
}
