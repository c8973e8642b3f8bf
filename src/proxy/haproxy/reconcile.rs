//! What has to change for HAProxy to have the servers of its file. Pure.
//!
//! Somebody else may reload or restart HAProxy in the moment between a change of its servers and the swap of the file:
//! then it runs on the old one. In a process that has been seen before, weight and state of a server that no file
//! changes are an operator's doing and stay; a process that is new has read a file, and has to be what the file says.

use super::change::{Act, Op, Why};
use super::commands::Ghosts;
use super::context::Context;
use super::diff::{Servers, has_servers, named};
use super::parse::{Section, Text};
use super::server::{self, Id, Server};
use super::show_servers;

/// Compares the servers of a text with what HAProxy has. `base` is what HAProxy reads before it.
pub fn converge(
    (base, live): (&str, &str),
    seen: &show_servers::Servers,
    ghosts: &Ghosts,
    is_new_process: bool,
) -> Result<Vec<Op>, Why> {
    let (base, text) = (Text::read(base), Text::read(live));
    let mut ops = Vec::new();
    if base.odd_beside.or(text.odd).is_some() {
        // Nobody knows which lines count.
        return Ok(ops);
    }
    let named = named([&base, &text, &text]);
    for (n, section) in text.sections.iter().enumerate() {
        let Some(backend) = section.name().filter(|_| has_servers(section)) else {
            continue;
        };
        // What is not understood here was not changed by us either.
        if let (Ok(servers), Ok(context)) =
            (Servers::of(section), Context::new(&base, &text, n, &named))
        {
            let look = Look {
                backend,
                section,
                servers,
                context,
            };
            look.at_those_of_the_file(seen, is_new_process, &mut ops)?;
            look.at_others(seen, ghosts, is_new_process, &mut ops);
        }
    }
    Ok(ops)
}

/// A look at one section.
struct Look<'a> {
    backend: &'a str,
    section: &'a Section<'a>,
    servers: Servers<'a>,
    context: Context<'a>,
}

impl Look<'_> {
    fn at_those_of_the_file(
        &self,
        seen: &show_servers::Servers,
        is_new_process: bool,
        ops: &mut Vec<Op>,
    ) -> Result<(), Why> {
        for (name, placed) in &self.servers.order {
            let Some((id, server)) = Id::new(self.backend, name).zip(Server::read(&placed.line))
            else {
                continue;
            };
            let Some(seen) = seen.get(&id) else {
                ops.push(self.context.add(placed)?);
                continue;
            };
            let mut op = |act| {
                ops.push(Op {
                    id: id.clone(),
                    act,
                });
            };
            if seen.at != Some(server.at) {
                op(Act::Move { to: server.at });
            }
            if is_new_process {
                let defaults = self.context.defaults_of(placed)?;
                let standing = server::standing(&defaults, &server);
                let (weight, disabled) = standing.ok_or(Why::Server(placed.line.number))?;
                if seen.weight != weight {
                    op(Act::Weigh(weight));
                }
                if seen.disabled != disabled {
                    op(Act::Serve(!disabled));
                }
            }
        }
        Ok(())
    }

    /// Those that the file does not have are an operator's, unless we removed them, or they were in the file that a new
    /// process has read.
    fn at_others(
        &self,
        seen: &show_servers::Servers,
        ghosts: &Ghosts,
        is_new_process: bool,
        ops: &mut Vec<Op>,
    ) {
        // A template makes servers that no line names.
        let all = is_new_process && self.section.of("server-template").next().is_none();
        let ours = |id: &Id| id.backend.as_str() == self.backend;
        let extra = seen.iter().filter(|(id, seen)| {
            ours(id) && !seen.disabled && !self.servers.by_name.contains_key(id.name.as_str())
        });
        for (id, _) in extra.filter(|(id, _)| all || ghosts.contains_key(id)) {
            let was = ghosts.get(id).cloned().flatten();
            ops.push(Op {
                id: id.clone(),
                act: Act::Remove { was },
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::haproxy::commands;
    use crate::proxy::haproxy::show_servers::Seen;

    const TEXT: &str = "global\nbackend app\n server a 1.0.0.1:1 weight 5\n server b 1.0.0.2:1 disabled\n \
        server c host:1\nbackend other\n server-template t 2 1.0.0.1:1\n";

    fn seen(rows: &[(&str, &str, &str, u16, bool)]) -> show_servers::Servers {
        let row = |(backend, name, at, weight, disabled): &(&str, &str, &str, u16, bool)| {
            let seen = Seen {
                at: at.parse().ok(),
                weight: *weight,
                disabled: *disabled,
                since: 0,
            };
            (Id::new(backend, name).unwrap(), seen)
        };
        rows.iter().map(row).collect()
    }

    fn told(rows: &[(&str, &str, &str, u16, bool)], ghosts: &Ghosts, is_new: bool) -> Vec<String> {
        let ops = converge(("", TEXT), &seen(rows), ghosts, is_new).unwrap();
        let lines = commands::lines(&ops, &Ghosts::new()).unwrap();
        lines.iter().map(|line| line[0].to_string()).collect()
    }

    #[test]
    fn what_the_file_has_is_there() {
        let a = ("app", "a", "1.0.0.1:1", 5, false);
        let b = ("app", "b", "1.0.0.2:1", 1, true);
        let c = ("app", "c", "7.7.7.7:7", 1, false);
        let none = Ghosts::new();
        let nothing: [String; 0] = [];
        for is_new in [false, true] {
            assert_eq!(told(&[a, b, c], &none, is_new), nothing);
            let moved = ("app", "a", "1.0.0.9:1", 5, false);
            assert_eq!(
                told(&[moved, b, c], &none, is_new),
                ["set server app/a addr 1.0.0.1 port 1"]
            );
            assert_eq!(
                told(&[a, c], &none, is_new),
                ["add server app/b 1.0.0.2:1 pool-purge-delay 5s pool-max-conn -1 weight 1"]
            );
        }
        let by_hand = [
            ("app", "a", "1.0.0.1:1", 7, true),
            ("app", "b", "1.0.0.2:1", 1, false),
            c,
        ];
        assert_eq!(told(&by_hand, &none, false), nothing);
        assert_eq!(
            told(&by_hand, &none, true),
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
        assert_eq!(told(&extra, &none, false), nothing);
        assert_eq!(told(&extra, &none, true), ["set server app/x state maint"]);
        let ghosts = Ghosts::from([(Id::new("app", "x").unwrap(), None)]);
        assert_eq!(
            told(&extra, &ghosts, false),
            ["set server app/x state maint"],
            "someone woke it"
        );
    }
}
