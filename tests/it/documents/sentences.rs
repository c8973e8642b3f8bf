//! The commands and options that sentences and tables name: the real parser understands the ones and knows the others.

use std::collections::BTreeSet;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use sidekick::cli::Cli;

use super::{Document, documents, shell};

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
