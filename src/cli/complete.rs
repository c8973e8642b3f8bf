//! Completions: a shell asks `sidekick` itself what may follow on a command line. Values of the store and of conf.d come from
//! the caller.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};

use super::{Cli, StoreArgs};

/// The variable by which a shell asks. It is not clap's own `COMPLETE`, which a container's environment may have for another
/// reason.
const VARIABLE: &str = "SIDEKICK_COMPLETE";

/// Print the completions for a shell.
///
/// The script asks sidekick for the words: commands and flags, and services, instances and targets of the store and the
/// conf.d that the line, the environment or /etc/sidekick/sidekick.env names.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  sidekick completions bash > /etc/bash_completion.d/sidekick
  sidekick completions fish | source

Exit status:
  0   done
  64  the command line is wrong
  74  the output cannot be written")]
pub struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// What a word of the command line names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noun {
    /// A service in the store.
    Service,
    /// The id of an instance of the service that is typed before it.
    Instance,
    /// A target of conf.d.
    Target,
}

/// What is typed so far, as far as it says where to look.
#[derive(Debug, Default)]
pub struct Typed {
    /// The service that the command line names.
    pub service: Option<String>,
    /// The flags of the store.
    pub store: Option<StoreArgs>,
    /// `--conf-dir`.
    pub conf_dir: Option<PathBuf>,
}

/// Answers a shell that asks for completions; returns whether one has asked. `list` returns all values that there are.
pub fn complete(list: impl Fn(Noun, &Typed) -> Vec<String> + Send + Sync + 'static) -> bool {
    let list: Arc<List> = Arc::new(list);
    let completer = CompleteEnv::with_factory(move || with_values(&list)).var(VARIABLE);
    // A variable that names no shell is no question: the command line counts as it is.
    let words = std::env::args_os();
    completer.try_complete(words, None).unwrap_or(false)
}

/// The completions for a shell, as a script for it.
#[must_use]
pub fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    if let Some(shell) = shells.completer(&shell.to_string()) {
        let written =
            shell.write_registration(VARIABLE, "sidekick", "sidekick", "sidekick", &mut script);
        debug_assert!(written.is_ok(), "a vector takes every byte");
    }
    if shell == clap_complete::Shell::Zsh {
        script.extend_from_slice(ZSH_AUTOLOAD);
    }
    script
}

/// In a directory of zsh's functions the script is the function itself, and runs for the first time to complete a line.
const ZSH_AUTOLOAD: &[u8] =
    b"[[ $funcstack[1] = _sidekick ]] && _clap_dynamic_completer_sidekick \"$@\"\n";

type List = dyn Fn(Noun, &Typed) -> Vec<String> + Send + Sync;

fn with_values(list: &Arc<List>) -> Command {
    let on = |command: Command, arg: &'static str, noun: Noun| {
        let list = Arc::clone(list);
        let values = move |current: &OsStr| candidates(&list, noun, current);
        command.mut_arg(arg, |arg| arg.add(ArgValueCompleter::new(values)))
    };
    let of_service = |command: Command| on(command, "service", Noun::Service);
    let of_instance = |command: Command| on(of_service(command), "id", Noun::Instance);
    let of_targets = |command: Command| on(command, "targets", Noun::Target);
    let of_release = |command: Command| of_service(of_targets(command));
    Cli::command()
        .mut_subcommand("drain", of_instance)
        .mut_subcommand("undrain", of_instance)
        .mut_subcommand("ls", of_service)
        .mut_subcommand("status", of_service)
        .mut_subcommand("check", of_targets)
        .mut_subcommand("render", of_targets)
        .mut_subcommand("history", |command| on(command, "target", Noun::Target))
        .mut_subcommand("guard", |command| {
            command.mut_subcommand("release", of_release)
        })
}

fn candidates(list: &Arc<List>, noun: Noun, current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let values = list(noun, &Typed::read(std::env::args_os()));
    let fitting = values
        .into_iter()
        .filter(|value| value.starts_with(&*current));
    fitting.map(CompletionCandidate::new).collect()
}

impl Typed {
    /// What the words behind the first `--` say, where a shell puts the command line that is being typed.
    fn read(words: impl Iterator<Item = OsString>) -> Self {
        let line = words.skip_while(|word| word != "--").skip(1);
        let matches = Cli::command()
            .ignore_errors(true)
            .try_get_matches_from(line);
        let Some(matches) = matches.ok() else {
            return Self::default();
        };
        let innermost = innermost(&matches);
        let text = |name| {
            innermost
                .try_get_one::<String>(name)
                .ok()
                .flatten()
                .cloned()
        };
        let path = |name| {
            innermost
                .try_get_one::<PathBuf>(name)
                .ok()
                .flatten()
                .cloned()
        };
        // `history` and `guard` know targets without the flag.
        let from_variable = || std::env::var_os("SIDEKICK_CONF_DIR").map(PathBuf::from);
        // A command without the flags of the store has none to read.
        let has_store = innermost.try_contains_id("cacert").is_ok();
        Self {
            service: text("service"),
            store: has_store
                .then(|| StoreArgs::from_arg_matches(innermost).ok())
                .flatten(),
            conf_dir: path("conf_dir").or_else(from_variable),
        }
    }
}

fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches
        .subcommand()
        .map_or(matches, |(_, sub)| innermost(sub))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_line_says_where_to_look() {
        let line = "sidekick -- sidekick drain --store etcd://a:1 web --prefix /p we";
        let typed = Typed::read(line.split(' ').map(OsString::from));
        assert_eq!(typed.service.as_deref(), Some("web"));
        let store = typed.store.unwrap();
        assert_eq!(store.store.as_deref(), Some("etcd://a:1"));
        assert_eq!(store.prefix.as_deref(), Some("/p"));

        let line = "sidekick -- sidekick check --conf-dir /etc/confd ha";
        let typed = Typed::read(line.split(' ').map(OsString::from));
        assert_eq!(typed.conf_dir, Some(PathBuf::from("/etc/confd")));

        for line in [
            "sidekick",
            "sidekick --",
            "sidekick -- sidekick nonsense --x",
        ] {
            let typed = Typed::read(line.split(' ').map(OsString::from));
            assert_eq!(typed.service, None, "{line}");
        }
    }

    #[test]
    fn every_argument_with_values_is_there() {
        let list: Arc<List> = Arc::new(|_: Noun, _: &Typed| Vec::new());
        with_values(&list).debug_assert();
    }
}
