//! The changes that give HAProxy the servers of its file. Pure.
//!
//! Somebody else may reload or restart HAProxy between a change of its servers and the swap of the file; HAProxy then runs
//! with the old file's servers. In a process that sidekick has met before, an operator may have changed weight and state of
//! a server by hand, and they stay so. A new process has just read a file, so its servers have to agree with the file in
//! everything.

use super::change::{Action, ReloadReason, ServerChange};
use super::commands::Retired;
use super::context::Context;
use super::diff::{Servers, has_servers, referenced_servers};
use super::parse::{Section, Text};
use super::server::{self, Id, Server};
use super::show_servers;

/// Compares the servers of the live text with those that HAProxy has. `base` is the text of the files that HAProxy reads
/// before it.
pub fn reconcile(
    (base, live): (&str, &str),
    seen: &show_servers::Servers,
    retired: &Retired,
    is_new_process: bool,
) -> Result<Vec<ServerChange>, ReloadReason> {
    let (base, text) = (Text::read(base), Text::read(live));
    let mut ops = Vec::new();
    if base.ambiguous_for_others.or(text.ambiguous).is_some() {
        // It is not known which lines of the file apply.
        return Ok(ops);
    }
    let referenced = referenced_servers([&base, &text, &text]);
    for (n, section) in text.sections.iter().enumerate() {
        let Some(backend) = section.name().filter(|_| has_servers(section)) else {
            continue;
        };
        // Sidekick never changed a section that it cannot read, so nothing there can differ by its doing.
        if let (Ok(servers), Ok(context)) = (
            Servers::of(section),
            Context::new(&base, &text, n, &referenced),
        ) {
            let comparison = Comparison {
                backend,
                section,
                servers,
                context,
            };
            comparison.add_changes_of_servers_in_the_file(seen, is_new_process, &mut ops)?;
            comparison.remove_other_servers(seen, retired, is_new_process, &mut ops);
        }
    }
    Ok(ops)
}

/// One section of the file, to be compared with HAProxy's servers.
struct Comparison<'a> {
    backend: &'a str,
    section: &'a Section<'a>,
    servers: Servers<'a>,
    context: Context<'a>,
}

impl Comparison<'_> {
    fn add_changes_of_servers_in_the_file(
        &self,
        seen: &show_servers::Servers,
        is_new_process: bool,
        ops: &mut Vec<ServerChange>,
    ) -> Result<(), ReloadReason> {
        for (name, server_line) in &self.servers.order {
            let Some((id, server)) =
                Id::new(self.backend, name).zip(Server::parse(&server_line.line))
            else {
                continue;
            };
            let Some(seen) = seen.get(&id) else {
                ops.push(self.context.add(server_line)?);
                continue;
            };
            let mut op = |action| {
                ops.push(ServerChange {
                    id: id.clone(),
                    action,
                });
            };
            if seen.at != Some(server.at) {
                op(Action::Move { to: server.at });
            }
            if is_new_process {
                let defaults = self.context.defaults_of(server_line)?;
                let weight_and_state = server::weight_and_state(&defaults, &server);
                let (weight, disabled) = weight_and_state
                    .ok_or(ReloadReason::UnreadableServer(server_line.line.number))?;
                if seen.weight != weight {
                    op(Action::SetWeight(weight));
                }
                if seen.disabled != disabled {
                    op(Action::SetEnabled(!disabled));
                }
            }
        }
        Ok(())
    }

    /// Removes servers that HAProxy has and the file does not: those that sidekick had removed before, and in a new process
    /// all of them, since they come from an old file. An operator has added the others by hand, and they stay.
    fn remove_other_servers(
        &self,
        seen: &show_servers::Servers,
        retired: &Retired,
        is_new_process: bool,
        ops: &mut Vec<ServerChange>,
    ) {
        // `server-template` makes servers that no line names.
        let all = is_new_process && self.section.of("server-template").next().is_none();
        let ours = |id: &Id| id.backend.as_str() == self.backend;
        let extra = seen.iter().filter(|(id, seen)| {
            ours(id) && !seen.disabled && !self.servers.by_name.contains_key(id.name.as_str())
        });
        for (id, _) in extra.filter(|(id, _)| all || retired.contains_key(id)) {
            let was = retired.get(id).cloned().flatten();
            ops.push(ServerChange {
                id: id.clone(),
                action: Action::Remove { was },
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::haproxy::commands;
    use crate::proxy::haproxy::show_servers::RunningServer;

    const TEXT: &str = "global\nbackend app\n server a 1.0.0.1:1 weight 5\n server b 1.0.0.2:1 disabled\n \
        server c host:1\nbackend other\n server-template t 2 1.0.0.1:1\n";

    fn seen(rows: &[(&str, &str, &str, u16, bool)]) -> show_servers::Servers {
        let row = |(backend, name, at, weight, disabled): &(&str, &str, &str, u16, bool)| {
            let seen = RunningServer {
                at: at.parse().ok(),
                weight: *weight,
                disabled: *disabled,
                since: 0,
            };
            (Id::new(backend, name).unwrap(), seen)
        };
        rows.iter().map(row).collect()
    }

    fn command_texts(
        rows: &[(&str, &str, &str, u16, bool)],
        retired: &Retired,
        is_new: bool,
    ) -> Vec<String> {
        let ops = reconcile(("", TEXT), &seen(rows), retired, is_new).unwrap();
        let lines = commands::command_lines(&ops, &Retired::new()).unwrap();
        lines.iter().map(|line| line[0].to_string()).collect()
    }

    #[test]
    fn haproxy_gets_the_servers_of_its_file() {
        let a = ("app", "a", "1.0.0.1:1", 5, false);
        let b = ("app", "b", "1.0.0.2:1", 1, true);
        let c = ("app", "c", "7.7.7.7:7", 1, false);
        let none = Retired::new();
        let nothing: [String; 0] = [];
        for is_new in [false, true] {
            assert_eq!(command_texts(&[a, b, c], &none, is_new), nothing);
            let moved = ("app", "a", "1.0.0.9:1", 5, false);
            assert_eq!(
                command_texts(&[moved, b, c], &none, is_new),
                ["set server app/a addr 1.0.0.1 port 1"]
            );
            assert_eq!(
                command_texts(&[a, c], &none, is_new),
                ["add server app/b 1.0.0.2:1 pool-purge-delay 5s pool-max-conn -1 weight 1"]
            );
        }
        let by_hand = [
            ("app", "a", "1.0.0.1:1", 7, true),
            ("app", "b", "1.0.0.2:1", 1, false),
            c,
        ];
        assert_eq!(command_texts(&by_hand, &none, false), nothing);
        assert_eq!(
            command_texts(&by_hand, &none, true),
            [
                "set server app/a weight 5",
                "set server app/a state ready",
                "set server app/b state maint"
            ]
        );
        let extra = [
            a,
            b,
            c,
            ("app", "x", "1.0.0.9:1", 1, false),
            ("other", "t1", "1.0.0.1:1", 1, false),
        ];
        assert_eq!(command_texts(&extra, &none, false), nothing);
        assert_eq!(
            command_texts(&extra, &none, true),
            ["set server app/x state maint"]
        );
        let retired = Retired::from([(Id::new("app", "x").unwrap(), None)]);
        assert_eq!(
            command_texts(&extra, &retired, false),
            ["set server app/x state maint"],
            "somebody put it back into service"
        );
    }
}
