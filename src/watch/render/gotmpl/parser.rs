//! From tokens to steps. The blocks that are open stand on a stack of their own, so their depth has no limit. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use super::ast::{Program, Span, Step, Steps};
use super::functions::Library;
use super::independent;
use super::lexer::{Kind, Misread, Token, tokens};

/// The parser fills in the targets of jumps once it knows them.
const LATER: usize = usize::MAX;

/// Parses one file; `name` is what `{{template}}` may call it by.
pub(super) fn parse(
    file: &str,
    name: &str,
    source: &str,
    library: Library,
) -> Result<Program, Misread> {
    let mut parser = Parser {
        source,
        library,
        tokens: tokens(source)?,
        at: 0,
        building: vec![Building::new(name.to_owned(), 0)],
        program: Program {
            file: file.into(),
            source: source.into(),
            templates: Vec::new(),
            by_name: HashMap::new(),
            main: 0,
            depends_on_time: false,
            includes: false,
        },
        parens: 0,
    };
    parser.file()?;
    independent::mark(&mut parser.program);
    Ok(parser.program)
}

pub(super) struct Parser<'s> {
    pub(super) source: &'s str,
    pub(super) library: Library,
    tokens: Vec<Token>,
    at: usize,
    /// The file, and the blocks and definitions that are open in it.
    building: Vec<Building>,
    pub(super) program: Program,
    /// How many parentheses are open.
    pub(super) parens: usize,
}

/// A template that is being read.
struct Building {
    name: String,
    steps: Steps,
    /// The names of the variables that can be seen; their places are their numbers.
    variables: Vec<String>,
    open: Vec<Open>,
    /// Where it begins.
    start: usize,
    /// For a block: the step that runs it in the template around it.
    run: Option<Step>,
}

impl Building {
    fn new(name: String, start: usize) -> Self {
        let steps = Steps {
            list: Vec::new(),
            variables: 1,
        };
        Self {
            name,
            steps,
            variables: vec!["$".to_owned()],
            open: Vec::new(),
            start,
            run: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Control {
    If,
    With,
    Range,
}

impl Control {
    fn name(self) -> &'static str {
        match self {
            Self::If => "if",
            Self::With => "with",
            Self::Range => "range",
        }
    }
}

/// An `if`, `with` or `range` whose `end` has not come.
struct Open {
    control: Control,
    /// The step that goes on elsewhere if there is nothing to do; none once its `else` has come.
    decides: Option<usize>,
    /// `Next` of a loop.
    next: Option<usize>,
    /// The steps that go on behind the end.
    to_end: Vec<usize>,
    /// How many variables there were before it.
    variables: usize,
    start: usize,
    /// Whether its `end` ends the block around it too, as that of `else if` does.
    chained: bool,
}

impl Parser<'_> {
    fn file(&mut self) -> Result<(), Misread> {
        loop {
            let token = self.next();
            match token.kind {
                Kind::Text => {
                    let text = self.text(token).into();
                    self.push(Step::Text(text));
                }
                Kind::Open => self.action(token.span.start)?,
                Kind::End => return self.finish(),
                _ => return Err(self.unexpected(token, "input")),
            }
        }
    }

    fn finish(&mut self) -> Result<(), Misread> {
        let Some(building) = self.building.pop() else {
            return Ok(());
        };
        if let Some(open) = building.open.last() {
            let what = format!(
                "unexpected EOF: {{{{{}}}}} has no {{{{end}}}}",
                open.control.name()
            );
            return Err((open.start, what));
        }
        if !self.building.is_empty() {
            let what = format!(
                "unexpected EOF: the template {:?} has no {{{{end}}}}",
                building.name
            );
            return Err((building.start, what));
        }
        // A definition with the file's own name stands in for a file that has nothing else.
        self.program.main = self.add(building, true)?;
        Ok(())
    }

    /// Takes a template over once it is complete.
    fn add(&mut self, building: Building, main: bool) -> Result<usize, Misread> {
        let is_empty = |steps: &Steps| {
            let mut steps = steps.list.iter();
            steps.all(|step| matches!(step, Step::Text(text) if text.trim().is_empty()))
        };
        let place = self.program.templates.len();
        match self.program.by_name.get(&building.name).copied() {
            Some(old) if !is_empty(&self.program.templates[old]) => {
                if is_empty(&building.steps) {
                    if main {
                        return Ok(old);
                    }
                } else {
                    let what = format!("multiple definition of template {:?}", building.name);
                    return Err((building.start, what));
                }
            }
            Some(_) | None => {
                self.program.by_name.insert(building.name, place);
            }
        }
        self.program.templates.push(building.steps);
        Ok(place)
    }

    // Tokens.

    pub(super) fn text(&self, token: Token) -> &str {
        &self.source[token.span.start..token.span.end]
    }

    pub(super) fn peek(&self) -> Token {
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    /// A place in the source to which the parser can go back.
    pub(super) fn mark(&self) -> usize {
        self.at
    }

    pub(super) fn back_to(&mut self, mark: usize) {
        self.at = mark;
    }

    pub(super) fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    pub(super) fn next_word(&mut self) -> Token {
        self.skip_space();
        self.next()
    }

    /// Where the token before begins to be white space.
    pub(super) fn end_of_last(&self) -> usize {
        let before = self.tokens[..self.at].iter().rev();
        let mut words = before.skip_while(|token| token.kind == Kind::Space);
        words.next().map_or(0, |token| token.span.end)
    }

    pub(super) fn unexpected(&self, token: Token, context: &str) -> Misread {
        let found = match token.kind {
            Kind::End => "EOF".to_owned(),
            _ => format!("<{}>", self.text(token)),
        };
        (token.span.start, format!("unexpected {found} in {context}"))
    }

    fn close(&mut self, context: &str) -> Result<(), Misread> {
        let token = self.next_word();
        match token.kind {
            Kind::Close => Ok(()),
            _ => Err(self.unexpected(token, context)),
        }
    }

    // The program that is being built.

    fn building(&mut self) -> &mut Building {
        if self.building.is_empty() {
            self.building.push(Building::new(String::new(), 0));
        }
        let last = self.building.len() - 1;
        &mut self.building[last]
    }

    fn here(&mut self) -> usize {
        self.building().steps.list.len()
    }

    fn push(&mut self, step: Step) -> usize {
        let list = &mut self.building().steps.list;
        list.push(step);
        list.len() - 1
    }

    /// Lets a step go on here.
    fn lead_here(&mut self, step: usize) {
        let here = self.here();
        if let Some(
            Step::Unless(_, to)
            | Step::With(_, to)
            | Step::Range { to, .. }
            | Step::Next(to)
            | Step::Break(to)
            | Step::Jump(to),
        ) = self.building().steps.list.get_mut(step)
        {
            *to = here;
        }
    }

    pub(super) fn variable(&mut self, name: &str) -> Option<usize> {
        self.building()
            .variables
            .iter()
            .rposition(|own| own == name)
    }

    pub(super) fn declare(&mut self, name: &str) -> usize {
        let building = self.building();
        building.variables.push(name.to_owned());
        let count = building.variables.len();
        building.steps.variables = building.steps.variables.max(count);
        count - 1
    }

    // Actions.

    fn action(&mut self, start: usize) -> Result<(), Misread> {
        let mark = self.mark();
        let token = self.next_word();
        if token.kind == Kind::Name {
            match self.text(token) {
                "if" => return self.control(Control::If, start, false),
                "with" => return self.control(Control::With, start, false),
                "range" => return self.control(Control::Range, start, false),
                "else" => return self.otherwise(token),
                "end" => return self.end(token),
                "break" => return self.leave(token, false),
                "continue" => return self.leave(token, true),
                "template" => return self.template(token.span),
                "block" => return self.block(token.span),
                "define" => return self.define(token),
                _ => {}
            }
        }
        self.back_to(mark);
        let pipe = self.read_pipeline("command", Kind::Close)?;
        self.push(Step::Print(pipe));
        Ok(())
    }

    fn control(&mut self, control: Control, start: usize, chained: bool) -> Result<(), Misread> {
        let variables = self.building().variables.len();
        let pipe = self.read_pipeline(control.name(), Kind::Close)?;
        let decides = self.push(match control {
            Control::If => Step::Unless(pipe, LATER),
            Control::With => Step::With(pipe, LATER),
            Control::Range => Step::Range {
                pipe,
                to: LATER,
                outer: variables,
                independent: None,
            },
        });
        let next = (control == Control::Range).then(|| self.push(Step::Next(LATER)));
        self.building().open.push(Open {
            control,
            decides: Some(decides),
            next,
            to_end: Vec::new(),
            variables,
            start,
            chained,
        });
        Ok(())
    }

    /// Writes what ends the body of a block that is taken.
    fn end_body(&mut self, open: &mut Open) {
        match (open.control, open.next) {
            (Control::Range, Some(next)) => {
                self.push(Step::Continue(next));
                open.to_end.push(next);
            }
            (Control::With, _) => {
                self.push(Step::EndWith);
            }
            _ => {}
        }
    }

    fn otherwise(&mut self, token: Token) -> Result<(), Misread> {
        let open = self.building().open.pop();
        let Some((mut open, decides)) = open.and_then(|open| open.decides.map(|step| (open, step)))
        else {
            return Err((token.span.start, "unexpected {{else}}".to_owned()));
        };
        self.end_body(&mut open);
        open.decides = None;
        if open.control == Control::Range {
            // The loop leaves by its `Next`, and what follows is no longer in it.
            open.next = None;
        } else {
            let jump = self.push(Step::Jump(LATER));
            open.to_end.push(jump);
        }
        self.lead_here(decides);
        let control = open.control;
        self.building().open.push(open);
        self.skip_space();
        let next = self.peek();
        let chained = match (control, self.text(next)) {
            (Control::If, "if") => Control::If,
            (Control::With, "with") => Control::With,
            _ => return self.close("else"),
        };
        self.next();
        self.control(chained, token.span.start, true)
    }

    fn end(&mut self, token: Token) -> Result<(), Misread> {
        self.close("end")?;
        loop {
            let Some(mut open) = self.building().open.pop() else {
                return self.end_template(token);
            };
            if let Some(decides) = open.decides {
                self.end_body(&mut open);
                self.lead_here(decides);
            }
            for step in std::mem::take(&mut open.to_end) {
                self.lead_here(step);
            }
            self.building().variables.truncate(open.variables);
            if !open.chained {
                return Ok(());
            }
        }
    }

    fn end_template(&mut self, token: Token) -> Result<(), Misread> {
        if self.building.len() == 1 {
            return Err((token.span.start, "unexpected {{end}}".to_owned()));
        }
        if let Some(mut building) = self.building.pop() {
            let run = building.run.take();
            self.add(building, false)?;
            if let Some(run) = run {
                self.push(run);
            }
        }
        Ok(())
    }

    fn leave(&mut self, token: Token, goes_on: bool) -> Result<(), Misread> {
        let name = self.text(token).to_owned();
        self.close(&name)?;
        let opens = &self.building().open;
        // The branch after a loop's `else` is not part of the loop.
        let inner = opens
            .iter()
            .rposition(|open| open.next.is_some() && open.decides.is_some());
        let Some(inner) = inner else {
            return Err((
                token.span.start,
                format!("{{{{{name}}}}} outside {{{{range}}}}"),
            ));
        };
        let next = opens[inner].next.unwrap_or_default();
        if goes_on {
            self.push(Step::Continue(next));
        } else {
            let step = self.push(Step::Break(LATER));
            self.building().open[inner].to_end.push(step);
        }
        Ok(())
    }

    fn template_name(&mut self, context: &str) -> Result<String, Misread> {
        let token = self.next_word();
        match token.kind {
            Kind::Quoted => {
                super::literal::string(self.text(token)).map_err(|what| (token.span.start, what))
            }
            Kind::Raw => Ok(self.text(token).trim_matches('`').to_owned()),
            _ => Err(self.unexpected(token, context)),
        }
    }

    fn template(&mut self, word: Span) -> Result<(), Misread> {
        let name = self.template_name("template clause")?;
        self.skip_space();
        let data = if self.peek().kind == Kind::Close {
            self.next();
            None
        } else {
            Some(self.read_pipeline("template clause", Kind::Close)?)
        };
        let span = self.inner_span(word.start);
        self.push(Step::Template { name, data, span });
        Ok(())
    }

    /// From `start` to what stands before the delimiter that was just read.
    fn inner_span(&self, start: usize) -> Span {
        let close = self.tokens[self.at - 1].span.start;
        let end = start + self.source[start..close].trim_end().len();
        Span { start, end }
    }

    fn block(&mut self, word: Span) -> Result<(), Misread> {
        let name = self.template_name("block clause")?;
        let data = self.read_pipeline("block clause", Kind::Close)?;
        let span = self.inner_span(word.start);
        let mut building = Building::new(name.clone(), word.start);
        let data = Some(data);
        building.run = Some(Step::Template { name, data, span });
        self.building.push(building);
        Ok(())
    }

    fn define(&mut self, token: Token) -> Result<(), Misread> {
        if self.building.len() > 1 || !self.building().open.is_empty() {
            let what = "unexpected {{define}}: it stands in no other block";
            return Err((token.span.start, what.to_owned()));
        }
        let name = self.template_name("define clause")?;
        self.close("define clause")?;
        self.building.push(Building::new(name, token.span.start));
        Ok(())
    }

    // A loop's own variables.

    /// Reads `$x, $y :=` or `$x =`, if the pipeline begins so: the names, and whether they are new.
    pub(super) fn assigned(
        &mut self,
        context: &str,
    ) -> Result<Option<(Vec<String>, bool)>, Misread> {
        let mark = self.mark();
        let mut names = Vec::new();
        loop {
            self.skip_space();
            let token = self.peek();
            if token.kind != Kind::Variable {
                self.back_to(mark);
                return Ok(None);
            }
            names.push(self.text(token).to_owned());
            self.next();
            let sign = self.next_word();
            match sign.kind {
                Kind::Declare => return Ok(Some((names, true))),
                Kind::Assign => return Ok(Some((names, false))),
                Kind::Comma if context == "range" && names.len() == 1 => {}
                Kind::Comma => {
                    let what = format!("too many declarations in {context}");
                    return Err((token.span.start, what));
                }
                _ => {
                    self.back_to(mark);
                    return Ok(None);
                }
            }
        }
    }

    pub(super) fn pipe_span(&self, start: usize) -> Span {
        let end = self.end_of_last();
        Span {
            start,
            end: end.max(start),
        }
    }
}

/// Shared with whoever runs the program.
pub(super) type Shared = Arc<Program>;
