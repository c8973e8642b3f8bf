//! The manual pages, made of the command line's own help: what a page says, `--help` says, too.

use std::path::PathBuf;

use clap::{Arg, Args, Command, CommandFactory};

use super::Cli;

/// Write the manual pages into a directory.
///
/// There is one for each command; what a page says, the command's --help says, too.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick man /usr/local/share/man/man1
  sidekick man ./man

Exit status:
  0   done
  64  the command line is wrong
  69  the directory cannot be written")]
pub struct Man {
    /// The directory; it is made if it is not there.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// The longest line of a page's source, in characters.
const WIDTH: usize = 78;

/// What lies where, for the commands that have an argument: the argument, the path, and what it is.
const FILES: [(&str, &str, &str); 6] = [
    (
        "store",
        "/etc/sidekick/sidekick.env",
        "the store and the way into it, for all units and commands of this host",
    ),
    (
        "store",
        "/run/sidekick",
        "the directory store of this host, where no store is named",
    ),
    ("conf_dir", "/etc/sidekick/conf.d/*.toml", "targets"),
    ("conf_dir", "/etc/sidekick/templates", "their templates"),
    (
        "state_dir",
        "/var/lib/sidekick",
        "the state directory of sidekick watch: history, guards, the last answer of the store",
    ),
    (
        "config",
        "/etc/sidekick/services.toml",
        "a usual place of what --config reads",
    ),
];

/// The manual pages: the name of each, and its text.
pub fn manuals() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = Cli::command();
    // Without this the pages of the commands lack what they share.
    command.build();
    let mut names = Vec::new();
    collect_names("sidekick", &command, &mut names);
    let mut pages = Vec::new();
    collect("sidekick", &command, &names, &mut pages)?;
    Ok(pages)
}

fn commands_below(command: &Command) -> impl Iterator<Item = &Command> {
    let below = command.get_subcommands();
    below.filter(|sub| sub.get_name() != "help")
}

fn collect_names(name: &str, command: &Command, into: &mut Vec<String>) {
    into.push(name.to_owned());
    for sub in commands_below(command) {
        collect_names(&format!("{name}-{}", sub.get_name()), sub, into);
    }
}

/// The page of a command, and those of the commands below it.
fn collect(
    name: &str,
    command: &Command,
    names: &[String],
    into: &mut Vec<(String, Vec<u8>)>,
) -> std::io::Result<()> {
    into.push((
        format!("{name}.1"),
        page(name, command, names)?.into_bytes(),
    ));
    for sub in commands_below(command) {
        collect(&format!("{name}-{}", sub.get_name()), sub, names, into)?;
    }
    Ok(())
}

fn page(name: &str, command: &Command, names: &[String]) -> std::io::Result<String> {
    // clap keeps names for as long as the program runs.
    let kept: &'static str = name.to_owned().leak();
    let man = clap_mangen::Man::new(command.clone().name(kept));
    let mut generated = Vec::new();
    man.render_name_section(&mut generated)?;
    man.render_synopsis_section(&mut generated)?;
    man.render_description_section(&mut generated)?;
    man.render_options_section(&mut generated)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut generated)?;
    }
    let mut text = title(name) + &tidy(&String::from_utf8_lossy(&generated));
    let help = command.get_after_long_help().or(command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    text.extend(sections(&help).iter().map(help_section));
    text += &environment(command);
    text += &files(command);
    text += &see_also(name, names);
    Ok(text)
}

fn help_section((heading, body): &(&str, String)) -> String {
    let body = match *heading {
        "Examples" => [".nf\n", &escaped_lines(body), ".fi\n"].concat(),
        "Exit status" => statuses(body),
        _ => wrap(&escape(
            &body.split_whitespace().collect::<Vec<_>>().join(" "),
        )),
    };
    format!(".SH {}\n{body}", heading.to_uppercase())
}

/// A list of statuses: a line begins with one, or goes on with what the line above it says of one.
fn statuses(body: &str) -> String {
    let mut items: Vec<(&str, String)> = Vec::new();
    for line in body.lines() {
        match (line.split_once("  "), items.last_mut()) {
            (Some(("", more)), Some((_, meaning))) => {
                meaning.push(' ');
                meaning.push_str(more.trim());
            }
            (Some((status, meaning)), _) => items.push((status, meaning.trim().to_owned())),
            (None, _) => items.push((line, String::new())),
        }
    }
    let item = |(status, meaning): &(&str, String)| {
        format!(
            ".TP\n\\fB{}\\fR\n{}",
            escape(status),
            wrap(&escape(meaning))
        )
    };
    items.iter().map(item).collect()
}

fn title(name: &str) -> String {
    // A release names its commit's date; a build for developers has none.
    let last = super::VERSION.trim_end_matches(')').rsplit(' ').next();
    let date = last.filter(|date| date.starts_with("20"));
    let version = env!("CARGO_PKG_VERSION");
    // The apostrophe of the generated text; a page begins with a capital name.
    format!(
        ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n.TH {} 1 \"{}\" \"sidekick {version}\" \"sidekick\"\n",
        name.to_uppercase(),
        date.unwrap_or_default()
    )
}

/// The sections of a help text: a heading that ends in a colon, and the indented lines below it.
fn sections(help: &str) -> Vec<(&str, String)> {
    let mut sections: Vec<(&str, String)> = Vec::new();
    for line in help.lines() {
        let heading = line.strip_suffix(':').filter(|text| !text.starts_with(' '));
        match (heading, sections.last_mut()) {
            (Some(heading), _) => sections.push((heading, String::new())),
            (None, Some((_, body))) => {
                *body += line.strip_prefix("  ").unwrap_or(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    for (_, body) in &mut sections {
        body.truncate(body.trim_end().len());
        body.push('\n');
    }
    sections
}

fn environment(command: &Command) -> String {
    let variable = |arg: &Arg| {
        let flag = arg.get_long()?;
        let name = arg.get_env()?.to_str()?.to_owned();
        Some((name, flag.to_owned()))
    };
    let mut variables: Vec<(String, String)> =
        command.get_arguments().filter_map(variable).collect();
    variables.sort();
    if variables.is_empty() {
        return String::new();
    }
    let lines = variables.iter().map(|(name, flag)| {
        let flag = escape(flag);
        format!(".TP\n\\fB{name}\\fR\nThe value of \\-\\-{flag}, where the flag is not given.\n")
    });
    [".SH ENVIRONMENT\n".to_owned()]
        .into_iter()
        .chain(lines)
        .collect()
}

fn files(command: &Command) -> String {
    let has = |id: &str| command.get_arguments().any(|arg| arg.get_id() == id);
    let there = FILES.iter().filter(|(arg, _, _)| has(arg));
    let lines = there.map(|(_, path, what)| {
        let what = wrap(&escape(what));
        format!(".TP\n\\fI{}\\fR\n{what}", escape(path))
    });
    let text: String = lines.collect();
    if text.is_empty() {
        return text;
    }
    format!(".SH FILES\n{text}")
}

fn see_also(name: &str, names: &[String]) -> String {
    let others = names.iter().filter(|other| *other != name);
    let others = others.map(|other| format!("\\fB{}\\fR(1)", escape(other)));
    let others: Vec<String> = others.collect();
    format!(
        ".SH SEE ALSO\n{}.PP\nThe documents and examples in /usr/share/doc/etcd\\-sidekick, or in docs of\nthe sources.\n",
        wrap(&others.join(", "))
    )
}

/// Text as roff takes it for itself.
fn escape(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
}

/// Lines that stay as they are.
fn escaped_lines(text: &str) -> String {
    let guard = |line: &str| match line.as_bytes().first() {
        Some(b'.') => format!("\\&{}\n", escape(line)),
        Some(_) | None => format!("{}\n", escape(line)),
    };
    text.lines().map(guard).collect()
}

/// What the generator leaves to be done: its lines are as long as sentences, and its blank lines and breaks are no roff.
fn tidy(generated: &str) -> String {
    let breaks = generated.replace("\n.br\n\n.br\n", "\n.sp\n");
    let mut text = String::new();
    let mut is_tag = false;
    for line in breaks.lines().map(str::trim_end) {
        match line {
            "" => text += ".sp\n",
            // A request, or the tag of a paragraph, is one line.
            _ if is_tag || line.starts_with('.') => {
                text += line;
                text.push('\n');
            }
            _ => text += &wrap(line),
        }
        is_tag = line == ".TP";
    }
    text
}

/// Filled text in lines of at most [`WIDTH`] characters, as far as its words allow it.
fn wrap(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        // At the start of a line these would make it a request.
        let is_request = word.starts_with(['.', '\'']);
        match lines.last_mut() {
            Some(line)
                if is_request || line.chars().count() + 1 + word.chars().count() <= WIDTH =>
            {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_help_text_becomes_sections() {
        let help = "Examples:\n  sidekick ls\n      --wide\n\nExit status:\n  0 done; 1\n  not.\n";
        let sections = sections(help);
        assert_eq!(
            sections[0],
            ("Examples", "sidekick ls\n    --wide\n".to_owned())
        );
        assert_eq!(sections[1], ("Exit status", "0 done; 1\nnot.\n".to_owned()));
        assert_eq!(sections.len(), 2);
    }

    #[test]
    fn exit_statuses_become_a_list() {
        let list = statuses("0    done\n128+n  a signal\n       came\n");
        assert_eq!(
            list,
            ".TP\n\\fB0\\fR\ndone\n.TP\n\\fB128+n\\fR\na signal came\n"
        );
    }

    #[test]
    fn no_line_of_filled_text_begins_with_a_dot() {
        let text = format!("{} .hidden and more", "word ".repeat(15).trim_end());
        let wrapped = wrap(&text);
        assert!(
            wrapped.lines().all(|line| !line.starts_with('.')),
            "{wrapped}"
        );
        assert!(wrapped.contains(".hidden"));
    }
}
