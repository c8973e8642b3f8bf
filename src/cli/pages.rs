//! What the command line says of itself: the manual pages.

use clap::CommandFactory;

use super::Cli;

/// The manual pages: the name of each, and its text.
pub fn manuals() -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = Cli::command();
    // Without this the pages of the commands lack what they share.
    command.build();
    let mut pages = Vec::new();
    collect("sidekick", &command, &mut pages)?;
    Ok(pages)
}

/// The page of a command, and those of the commands below it.
fn collect(
    name: &str,
    command: &clap::Command,
    into: &mut Vec<(String, Vec<u8>)>,
) -> std::io::Result<()> {
    into.push(page(name, command.clone())?);
    let below = command.get_subcommands();
    for sub in below.filter(|sub| sub.get_name() != "help") {
        collect(&format!("{name}-{}", sub.get_name()), sub, into)?;
    }
    Ok(())
}

fn page(name: &str, command: clap::Command) -> std::io::Result<(String, Vec<u8>)> {
    // clap keeps names for as long as the program runs.
    let kept: &'static str = name.to_owned().leak();
    let mut text = Vec::new();
    clap_mangen::Man::new(command.name(kept)).render(&mut text)?;
    Ok((format!("{name}.1"), text))
}
