//! The commands, options, variables and settings that sentences and tables name: each is known to the parser or the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use sidekick::cli::Cli;

use super::markdown::read;
use super::{Document, documents, has_word, root, shell};

/// Options of other programs that the pages name without the program.
const OTHERS: [&str; 7] = [
    "keep",
    "network",
    "no-healthcheck",
    "build-arg",
    "client-cert-auth",
    "quota-backend-bytes",
    "privileged",
];

/// What stands in backticks outside of blocks, each with its place. What has been may have had other commands.
fn codes(document: &Document) -> Vec<(String, String)> {
    let mut codes = Vec::new();
    for (place, line) in document.numbered() {
        let parts = line.split('`').skip(1).step_by(2);
        codes.extend(parts.map(|code| (place.clone(), code.replace("\\|", "|"))));
    }
    codes
}

fn present() -> impl Iterator<Item = Document> {
    let is_past = |path: &Path| path == Path::new("CHANGELOG.md") || path.starts_with("docs/adr");
    let all = documents().into_values();
    all.filter(move |document| !is_past(&document.path))
}

/// What is wrong with words that name a command, or begin one: all that they say has to be right, and more may be needed.
fn mistake(words: &[String]) -> Option<String> {
    let error = Cli::try_parse_from(words).err()?;
    let is_placeholder = |word: &String| word.chars().all(|c| c.is_ascii_uppercase());
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::DisplayVersion
        | ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand => None,
        // Its value is the reader's.
        ErrorKind::InvalidValue if words.last().is_some_and(|word| word.starts_with("--")) => None,
        ErrorKind::InvalidSubcommand if words.get(1).is_some_and(is_placeholder) => None,
        _ => Some(error.to_string()),
    }
}

#[test]
fn every_command_in_a_sentence_is_understood() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for document in present() {
        for (place, code) in codes(&document) {
            // "..." stands for what the reader puts there.
            let is_whole = !code.contains("...") && !code.contains('…');
            let commands = shell::commands(&code);
            let ours = commands.iter().filter(|words| words[0] == "sidekick");
            for words in ours.filter(|_| is_whole) {
                count += 1;
                if let Some(why) = mistake(words) {
                    wrong.push(format!("{place}: `{code}`: {why}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 100, "few commands are found: {count}");
}

/// The long options of all commands.
fn options() -> BTreeSet<String> {
    let mut names = BTreeSet::from(["help".to_owned(), "version".to_owned()]);
    let mut next = vec![Cli::command()];
    while let Some(command) = next.pop() {
        let arguments = command.get_arguments();
        names.extend(arguments.filter_map(|one| one.get_long().map(str::to_owned)));
        next.extend(command.get_subcommands().cloned());
    }
    names
}

#[test]
fn every_option_in_a_sentence_exists() {
    let known = options();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for document in present() {
        for (place, code) in codes(&document) {
            let Some(option) = code.strip_prefix("--") else {
                continue;
            };
            let name = option.split([' ', '=', '[']).next().unwrap_or_default();
            count += 1;
            if !name.is_empty() && !known.contains(name) && !OTHERS.contains(&name) {
                wrong.push(format!("{place}: `{code}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 100, "few options are found: {count}");
}

/// All texts below these directories, joined.
fn texts(dirs: &[&str]) -> String {
    let mut text = String::new();
    let mut next: Vec<PathBuf> = dirs.iter().map(|dir| root().join(dir)).collect();
    while let Some(path) = next.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(path).unwrap();
            next.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            text += &fs::read_to_string(path).unwrap_or_default();
        }
    }
    text
}

#[test]
fn every_variable_that_is_named_is_read() {
    let code = texts(&["src", "templates", "contrib", "conf.d", "docker"]);
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let (mut wrong, mut count) = (Vec::new(), 0);
    for document in present() {
        let text = read(document.path.to_str().unwrap());
        for (at, line) in text.lines().enumerate() {
            let words = line.split(|c| !is_part(c));
            let ours = words.filter(|word| {
                // `SIDEKICK_` alone stands for all of them.
                let is_ours = word.starts_with("SIDEKICK_") || word.starts_with("ETCDCTL_");
                is_ours && !word.ends_with('_')
            });
            for name in ours {
                count += 1;
                let is_read = has_word(&code, name);
                wrong.extend(
                    (!is_read).then(|| format!("{}:{}: {name}", document.path.display(), at + 1)),
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 50, "few variables are found: {count}");
}

#[test]
fn every_setting_in_a_sentence_exists() {
    let code = texts(&["src/config"]);
    let (mut wrong, mut count) = (Vec::new(), 0);
    for document in present() {
        for (place, code_in_text) in codes(&document) {
            // `child = true`, and `[template.reload] child = true`.
            let setting = code_in_text
                .rsplit_once("] ")
                .map_or(&*code_in_text, |(_, rest)| rest);
            let Some((name, _)) = setting.split_once(" = ") else {
                continue;
            };
            let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if !is_name {
                continue;
            }
            count += 1;
            let is_known = code.contains(&format!("\"{name}\""));
            wrong.extend((!is_known).then(|| format!("{place}: `{code_in_text}`")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 15, "few settings are found: {count}");
}
