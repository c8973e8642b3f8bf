//! From changes to commands, and whether the servers are what the changes say. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::change::{Act, Op};
use super::server::{Full, Id};
use super::show_servers::Servers;
use super::socket::{Command, Word};

/// Servers that were removed and are still there, out of service, until nothing uses them: what each was, if known.
///
/// HAProxy 2.6 has errors in the deletion of servers that were in use a moment ago. A ghost is as good as absent.
pub type Ghosts = BTreeMap<Id, Option<Vec<Word>>>;

/// A ghost cannot become this server: it was another one, or nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Haunted(pub Id);

/// Whether a server is to be added that may be there as a ghost.
#[must_use]
pub fn meets_ghosts(ops: &[Op], ghosts: &Ghosts) -> bool {
    let meets = |op: &Op| matches!(op.act, Act::Add(..)) && ghosts.contains_key(&op.id);
    ops.iter().any(meets)
}

/// A server that is to be added and is not there as a ghost either.
#[must_use]
pub fn added<'a>(ops: &'a [Op], ghosts: &Ghosts) -> Option<&'a Id> {
    let is_added = |op: &&Op| matches!(op.act, Act::Add(..)) && !ghosts.contains_key(&op.id);
    ops.iter().find(is_added).map(|op| &op.id)
}

/// The commands, a line for each change. What takes requests comes before what takes none: all servers may be replaced
/// at once, and at no time there is none.
pub fn lines(ops: &[Op], ghosts: &Ghosts) -> Result<Vec<Vec<Command>>, Haunted> {
    let serve = ops.iter().filter_map(|op| match op.act {
        Act::Serve(yes) => Some((&op.id, yes)),
        Act::Add(..) | Act::Remove { .. } | Act::Move { .. } | Act::Weigh(_) => None,
    });
    let serve: BTreeMap<&Id, bool> = serve.collect();
    let mut ordered: Vec<&Op> = ops.iter().collect();
    ordered.sort_by_key(|op| turn(&op.act, serve.get(&op.id).copied()));
    ordered.into_iter().map(|op| line(op, ghosts)).collect()
}

/// Lower first. A server is all that it will be before it serves, and leaves service before it becomes anything else (a
/// slot that nobody needs any more): so nobody is sent to where it was, nor to where nobody is.
fn turn(act: &Act, serve: Option<bool>) -> u8 {
    match (act, serve) {
        (Act::Add(..), _) => 0,
        (Act::Move { .. } | Act::Weigh(_), Some(false)) => 6,
        (Act::Move { .. }, _) => 1,
        (Act::Weigh(1..), _) | (Act::Weigh(0), Some(true)) => 2,
        (Act::Serve(true), _) => 3,
        (Act::Weigh(0), None) => 4,
        (Act::Serve(false) | Act::Remove { .. }, _) => 5,
    }
}

fn line(Op { id, act }: &Op, ghosts: &Ghosts) -> Result<Vec<Command>, Haunted> {
    let set = || Command::new("set server").word(&id.word());
    let weigh = |weight: u16| set().then("weight").number(weight);
    Ok(match act {
        Act::Add(at, full) => match ghosts.get(id) {
            None => add(id, *at, full),
            Some(Some(was)) if *was == full.keywords => {
                let mut line = vec![move_to(set(), *at), weigh(full.weight)];
                line.extend((!full.disabled).then(|| set().then("state ready")));
                line
            }
            Some(_) => return Err(Haunted(id.clone())),
        },
        // As after a reload, it is healthy until its checks say otherwise.
        Act::Move { to } => vec![move_to(set(), *to), set().then("health up")],
        Act::Weigh(weight) => vec![weigh(*weight)],
        Act::Serve(true) => vec![set().then("state ready")],
        Act::Serve(false) | Act::Remove { .. } => vec![set().then("state maint")],
    })
}

/// A server is added out of service and without checks.
fn add(id: &Id, at: SocketAddr, full: &Full) -> Vec<Command> {
    let add = Command::new("add server").word(&id.word()).address(at);
    let add = full.keywords.iter().fold(add, Command::word);
    let mut line = vec![add.then("weight").number(full.weight)];
    let to = |verb| Command::new(verb).word(&id.word());
    line.extend(full.checked.then(|| to("enable health")));
    line.extend((!full.disabled).then(|| to("enable server")));
    line
}

fn move_to(set: Command, at: SocketAddr) -> Command {
    set.then("addr").ip(at.ip()).then("port").number(at.port())
}

/// Something that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs {
    /// Which server.
    pub id: Id,
    /// What of it: `address`, …
    pub what: &'static str,
}

/// Compares the servers that were changed, in what was changed, with what HAProxy has.
pub fn compare(ops: &[Op], seen: &Servers) -> Result<(), Differs> {
    let differing = ops.iter().find_map(|Op { id, act }| {
        let differs = |what| {
            Some(Differs {
                id: id.clone(),
                what,
            })
        };
        let Some(seen) = seen.get(id) else {
            return if matches!(act, Act::Remove { .. }) {
                None
            } else {
                differs("presence")
            };
        };
        let is = |what, same: bool| if same { None } else { differs(what) };
        match act {
            Act::Add(at, full) => is("address", seen.at == Some(*at))
                .or_else(|| is("weight", seen.weight == full.weight))
                .or_else(|| is("state", seen.disabled == full.disabled)),
            Act::Remove { .. } => is("presence", seen.disabled),
            Act::Move { to } => is("address", seen.at == Some(*to)),
            Act::Weigh(weight) => is("weight", seen.weight == *weight),
            Act::Serve(yes) => is("state", seen.disabled != *yes),
        }
    });
    differing.map_or(Ok(()), Err)
}

/// What becomes of the ghosts by changes that were made.
pub fn haunt(ghosts: &mut Ghosts, ops: &[Op]) {
    for Op { id, act } in ops {
        match act {
            Act::Add(..) => drop(ghosts.remove(id)),
            Act::Remove { was } => drop(ghosts.insert(id.clone(), was.clone())),
            Act::Move { .. } | Act::Weigh(_) | Act::Serve(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::haproxy::diff::{Change, diff};

    fn ops(live: &str, new: &str) -> Vec<Op> {
        let text = |lines: &str| {
            let lines = lines.replace(" | ", "\n server ");
            format!("global\nbackend app\n server z 9.9.9.9:9{lines}\n")
        };
        match diff("", &text(live), &text(new)) {
            Change::Runtime(ops) => ops,
            Change::None => Vec::new(),
            Change::Reload(why) => panic!("{why}"),
        }
    }

    fn told(ops: &[Op], ghosts: &Ghosts) -> Vec<String> {
        let line = |line: Vec<Command>| {
            line.iter()
                .map(Command::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        };
        lines(ops, ghosts).unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn commands() {
        let all = ops(
            " | a 1.0.0.1:1 | b 1.0.0.2:1 | c 1.0.0.3:1 | d 1.0.0.4:1 disabled | e 1.0.0.5:1",
            " | a 1.0.0.1:1 weight 0 | b [::2]:2 weight 7 | c 1.0.0.3:1 disabled | d 1.0.0.4:1 | n 1.0.0.6:1 check",
        );
        assert_eq!(
            told(&all, &Ghosts::new()),
            [
                "add server app/n 1.0.0.6:1 check pool-purge-delay 5s pool-max-conn -1 weight 1; enable health app/n; \
                 enable server app/n",
                "set server app/b addr ::2 port 2; set server app/b health up",
                "set server app/b weight 7",
                "set server app/d state ready",
                "set server app/a weight 0",
                "set server app/c state maint",
                "set server app/e state maint",
            ]
        );
    }

    #[test]
    fn a_server_serves_only_as_what_it_is() {
        let (slot, idle) = (
            " | s 1.0.0.1:1 weight 0",
            " | s 127.0.0.1:1 weight 1 disabled",
        );
        assert_eq!(
            told(&ops(slot, idle), &Ghosts::new()),
            [
                "set server app/s state maint",
                "set server app/s addr 127.0.0.1 port 1; set server app/s health up",
                "set server app/s weight 1",
            ]
        );
        assert_eq!(
            told(&ops(idle, slot), &Ghosts::new()),
            [
                "set server app/s addr 1.0.0.1 port 1; set server app/s health up",
                "set server app/s weight 0",
                "set server app/s state ready",
            ]
        );
    }

    #[test]
    fn only_who_is_not_there_is_added() {
        let new = ops("", " | n 1.0.0.6:1");
        let ghosts = Ghosts::from([(Id::new("app", "n").unwrap(), None)]);
        assert_eq!(added(&new, &Ghosts::new()), Id::new("app", "n").as_ref());
        assert_eq!(added(&new, &ghosts), None);
        assert_eq!(added(&ops(" | n 1.0.0.6:1", ""), &Ghosts::new()), None);
    }

    #[test]
    fn a_server_that_starts_out_of_service_is_not_enabled() {
        assert_eq!(
            told(&ops("", " | n [::6]:1 disabled"), &Ghosts::new()),
            ["add server app/n [::6]:1 pool-purge-delay 5s pool-max-conn -1 weight 1"]
        );
    }

    #[test]
    fn a_ghost_comes_back() {
        let mut ghosts = Ghosts::new();
        haunt(&mut ghosts, &ops(" | n 1.0.0.6:1 check", ""));
        let back = ops("", " | n 1.0.0.7:1 check weight 3");
        assert_eq!(
            told(&back, &ghosts),
            [
                "set server app/n addr 1.0.0.7 port 1; set server app/n weight 3; set server app/n state ready"
            ]
        );
        let other = ops("", " | n 1.0.0.7:1");
        assert!(lines(&other, &ghosts).is_err(), "it had checks");
        haunt(&mut ghosts, &back);
        assert!(ghosts.is_empty());
    }
}
