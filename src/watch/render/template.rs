//! A template of either language; the ending of its name says which. Pure.

use std::fmt;
use std::path::Path;

use super::gotmpl::GoTemplate;
use super::tera::TeraTemplate;
use super::{Mistakes, RenderError, View};
use crate::model::instance::ServiceName;

/// A compiled template, with those it includes or extends.
#[derive(Clone)]
pub struct Template(Engine);

#[derive(Clone)]
enum Engine {
    Tera(Box<TeraTemplate>),
    Go(GoTemplate),
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.name()).finish()
    }
}

impl Template {
    /// Compiles a template that stands alone.
    pub fn compile(name: &str, source: &str) -> Result<Self, RenderError> {
        Self::compile_among(name, source, &[])
    }

    /// Compiles a template that may include or extend `others`, given as name and source. Where it does neither, it
    /// does not matter whether they are valid.
    pub fn compile_among(
        name: &str,
        source: &str,
        others: &[(&str, &str)],
    ) -> Result<Self, RenderError> {
        if Path::new(name).extension() == Some("tmpl".as_ref()) {
            return Self::compile_go(name, source, others);
        }
        let template = TeraTemplate::compile_among(name, source, others)?;
        Ok(Self(Engine::Tera(Box::new(template))))
    }

    /// Compiles a template in Go's language, whatever its name, that may include `others`.
    pub fn compile_go(
        name: &str,
        source: &str,
        others: &[(&str, &str)],
    ) -> Result<Self, RenderError> {
        let template = GoTemplate::compile_among(name, source, others)?;
        Ok(Self(Engine::Go(template)))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            Engine::Tera(template) => template.name(),
            Engine::Go(template) => template.name(),
        }
    }

    /// Whether its text depends on the time of rendering: then no two renders are the same.
    #[must_use]
    pub fn depends_on_time(&self) -> bool {
        match &self.0 {
            Engine::Tera(_) => false,
            Engine::Go(template) => template.depends_on_time(),
        }
    }

    /// The contradictions between the announcements that it reads, a sentence for each.
    #[must_use]
    pub fn disputes(&self, view: &View) -> Vec<String> {
        match &self.0 {
            Engine::Tera(template) => template.disputes(view),
            // confd's functions know nothing of what attributes mean.
            Engine::Go(_) => Vec::new(),
        }
    }

    /// The faults that it has whatever it renders, as far as its language allows to find them. `source` and `others` are what
    /// it was compiled from, and `services` those that its target lists, if it lists any.
    #[must_use]
    pub fn mistakes(
        &self,
        source: &str,
        others: &[(&str, &str)],
        services: Option<&[ServiceName]>,
    ) -> Mistakes {
        match &self.0 {
            Engine::Tera(template) => template.mistakes(source, others, services),
            Engine::Go(template) => Mistakes {
                certain: template.mistakes(),
                doubtful: None,
            },
        }
    }

    /// Whether its text may depend on the other templates of the directory.
    #[must_use]
    pub fn reads_others(&self) -> bool {
        match &self.0 {
            Engine::Tera(_) => true,
            Engine::Go(template) => template.includes(),
        }
    }

    /// Renders it from what `view` shows.
    pub fn render(&self, view: &View) -> Result<String, RenderError> {
        match &self.0 {
            Engine::Tera(template) => template.render(view),
            Engine::Go(template) => template.render(view),
        }
    }
}
