//! The manual pages: those of the commands are made of the command line's own help, those of the files of documents
//! (`build/manual.rs`). So nothing is written twice.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Args, Command, CommandFactory};

use super::Cli;
use super::roff::{bold, escape, inline, verbatim, wrap};

/// Write the manual pages into a directory.
///
/// They go to man1 and man5 below it, so that `man -M DIR sidekick` finds them.
///
/// Section 1 has a page for each command; what it says, the command's --help says, too. Section 5 has the files that sidekick
/// reads: sidekick-conf.d, sidekick-services.toml and sidekick-fixture.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick man /usr/local/share/man
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

/// The pages of file formats: the name of each, and its text up to the references to other pages.
const FORMATS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The end of the references of each page.
const DOCUMENTS: &str = ".PP\nThe documents and examples in /usr/share/doc/etcd\\-sidekick, or in docs of\nthe sources.\n";

/// What the apostrophes of generated text are, which begins each of its sections with this.
const APOSTROPHE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

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

/// The manual pages: where each lies below the directory of all, and its text.
pub fn manuals() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut root = Cli::command();
    // Without this the pages of the commands lack what they share.
    root.build();
    let mut commands = Vec::new();
    collect("sidekick", &root, &mut commands);
    let names = commands.iter().map(|(name, _)| (name.as_str(), 1));
    let names: Vec<(&str, u8)> = names
        .chain(FORMATS.iter().map(|(name, _)| (*name, 5)))
        .collect();
    let mut pages = Vec::new();
    for (name, command) in &commands {
        let text = page(name, command, &names)?;
        pages.push((format!("man1/{name}.1"), text.into_bytes()));
    }
    for (name, text) in FORMATS {
        let text = [title(name, 5).as_str(), text, DOCUMENTS].concat();
        pages.push((format!("man5/{name}.5"), text.into_bytes()));
    }
    Ok(pages)
}

/// A command and those below it, each with the name of its page.
fn collect<'a>(name: &str, command: &'a Command, into: &mut Vec<(String, &'a Command)>) {
    into.push((name.to_owned(), command));
    let below = command.get_subcommands();
    for sub in below.filter(|sub| sub.get_name() != "help") {
        collect(&format!("{name}-{}", sub.get_name()), sub, into);
    }
}

fn page(name: &str, command: &Command, names: &[(&str, u8)]) -> std::io::Result<String> {
    // clap keeps names for as long as the program runs.
    let kept: &'static str = name.to_owned().leak();
    let man = clap_mangen::Man::new(command.clone().name(kept));
    let (mut head, mut generated) = (Vec::new(), Vec::new());
    man.render_name_section(&mut head)?;
    man.render_description_section(&mut generated)?;
    man.render_options_section(&mut generated)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut generated)?;
    }
    let mut text = title(name, 1) + &tidy(&String::from_utf8_lossy(&head));
    text += &synopsis(command);
    text += &tidy(&String::from_utf8_lossy(&generated));
    let help = command.get_after_long_help().or(command.get_after_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    text.extend(sections(&help).iter().map(help_section));
    text += &environment(command);
    text += &files(command);
    text += &see_also(name, names);
    Ok(text)
}

/// What can be typed. The generator leaves the values of options out.
fn synopsis(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let (positional, options): (Vec<&Arg>, Vec<&Arg>) = args.partition(|arg| arg.is_positional());
    let mut words = vec![bold(name)];
    words.extend(options.into_iter().chain(positional).map(usage));
    if command.has_subcommands() {
        words.push("\\fICOMMAND\\fR".to_owned());
    }
    format!(".SH SYNOPSIS\n{}", wrap(&words.join(" ")))
}

/// An argument as the synopsis shows it, without a space at which it could be broken.
fn usage(arg: &Arg) -> String {
    let short = arg.get_short().map(|letter| bold(&format!("-{letter}")));
    let long = arg.get_long().map(|long| bold(&format!("--{long}")));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    let flags = (!flags.is_empty()).then(|| flags.join("|"));
    // What stands in front of a command of the user's own.
    let dashes = arg.is_last_set().then(|| bold("--"));
    let value = arg.get_action().takes_values().then(|| {
        let names = arg.get_value_names().unwrap_or_default();
        format!("\\fI{}\\fR", escape(&names.join(" ")))
    });
    let parts: Vec<String> = flags.into_iter().chain(dashes).chain(value).collect();
    let whole = parts.join(" ").replace(' ', "\\~");
    let is_repeated = matches!(arg.get_action(), ArgAction::Append | ArgAction::Count);
    match (is_repeated, arg.is_positional(), arg.is_required_set()) {
        (false, _, true) => whole,
        (false, _, false) => format!("[{whole}]"),
        (true, _, true) => format!("{whole}..."),
        (true, true, false) => format!("[{whole}...]"),
        (true, false, false) => format!("[{whole}]..."),
    }
}

fn help_section((heading, body): &(&str, String)) -> String {
    let body = match *heading {
        "Examples" => verbatim(body),
        "Exit status" => statuses(body),
        _ => wrap(&inline(
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
        format!(".TP\n{}\n{}", bold(status), wrap(&inline(meaning)))
    };
    items.iter().map(item).collect()
}

fn title(name: &str, section: u8) -> String {
    // A release names its commit's date; a build for developers has none.
    let last = super::VERSION.trim_end_matches(')').rsplit(' ').next();
    let date = last.filter(|date| date.starts_with("20"));
    let version = env!("CARGO_PKG_VERSION");
    // The apostrophe of the generated text; a page begins with a capital name. Words are neither hyphenated nor spaced out:
    // most of them are typed as they stand here.
    format!(
        "{APOSTROPHE}.TH {} {section} \"{}\" \"sidekick {version}\" \"sidekick\"\n.nh\n.ad l\n",
        escape(&name.to_uppercase()),
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
        let flag = bold(&format!("--{flag}"));
        format!(
            ".TP\n{}\nThe value of {flag}, where the flag is not given.\n",
            bold(name)
        )
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
        let what = wrap(&inline(what));
        format!(".TP\n\\fI{}\\fR\n{what}", escape(path))
    });
    let text: String = lines.collect();
    if text.is_empty() {
        return text;
    }
    format!(".SH FILES\n{text}")
}

fn see_also(name: &str, names: &[(&str, u8)]) -> String {
    let others = names.iter().filter(|(other, _)| *other != name);
    let others = others.map(|(other, section)| format!("{}({section})", bold(other)));
    let others: Vec<String> = others.collect();
    format!(".SH SEE ALSO\n{}{DOCUMENTS}", wrap(&others.join(", ")))
}

/// What the generator leaves to be done: its lines are as long as sentences, its blank lines and breaks are no roff, and it
/// keeps the signs around names (`<FILE>`) and around what is typed (backticks).
fn tidy(generated: &str) -> String {
    let text = generated
        .replace(APOSTROPHE, "")
        .replace("\n.br\n\n.br\n", "\n.sp\n")
        .replace("\\fI<", "\\fI")
        .replace(">\\fR", "\\fR")
        .replace(">...\\fR", "\\fR...");
    let mut tidied = String::new();
    let mut is_tag = false;
    for line in text.lines().map(str::trim_end) {
        match line {
            "" => tidied += ".sp\n",
            // A request, or the tag of a paragraph, is one line.
            _ if is_tag || line.starts_with('.') => {
                tidied += line;
                tidied.push('\n');
            }
            _ => tidied += &wrap(&embolden(line)),
        }
        is_tag = line == ".TP";
    }
    tidied
}

/// Roff in which what stands in backticks becomes bold.
fn embolden(roff: &str) -> String {
    let parts = roff.split('`').enumerate();
    let styled = parts.map(|(at, part)| match at % 2 {
        0 => part.to_owned(),
        _ => format!("\\fB{part}\\fR"),
    });
    styled.collect()
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
}
