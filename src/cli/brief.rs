//! What `-h` prints: one line for each option, and in the end what `--help` adds.

use clap::Command;

const MORE: &str = "--help adds what each option means in full, examples and exit statuses.";

/// A command whose short help has no more than the first paragraph of each option, and its default.
pub(super) fn brief(command: Command) -> Command {
    command
        .mut_args(|arg| {
            let has_values = arg.get_action().takes_values();
            arg.hide_env(true).hide_possible_values(has_values)
        })
        .mut_subcommands(brief)
        .after_help(MORE)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::*;

    /// The narrowest usual terminal.
    const WIDTH: usize = 80;

    #[test]
    fn the_short_help_has_one_line_for_each_option_and_says_what_the_long_one_adds() {
        let mut root = brief(Cli::command().term_width(WIDTH));
        root.build();
        let mut commands = vec![root];
        let (mut seen, mut long) = (0, Vec::new());
        while let Some(mut command) = commands.pop() {
            let of = command.get_bin_name().unwrap_or_default().to_owned();
            let help = command.clone().term_width(WIDTH).render_help().to_string();
            assert_eq!(help.trim_end().lines().last(), Some(MORE), "{of}");
            let (_, options) = help.split_once("\n\nUsage: ").expect("a usage");
            let indented = options.lines().skip(1).filter(|line| line.starts_with(' '));
            for line in indented {
                // Where a text goes on, or stands below its option, its line begins far to the right.
                let indent = line.len() - line.trim_start().len();
                if indent > 6 {
                    long.push(format!("{of}: {line}"));
                }
                seen += 1;
            }
            let below = command.get_subcommands_mut().map(|sub| sub.clone());
            commands.extend(below.filter(|sub| sub.get_name() != "help"));
        }
        assert!(long.is_empty(), "these go on from another line: {long:#?}");
        assert!(seen > 200, "{seen} lines");
    }

    #[test]
    fn the_short_help_hides_what_the_long_one_adds() {
        let help = brief(Cli::command()).render_help().to_string();
        assert!(!help.contains("possible values"), "{help}");
        let whole = Cli::command().render_long_help().to_string();
        assert!(
            whole.contains("Possible values") && !whole.contains(MORE),
            "{whole}"
        );
    }
}
