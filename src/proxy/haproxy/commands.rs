//! The commands that make changes of servers, and whether HAProxy's servers agree with the changes afterwards. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::change::{Action, ServerChange};
use super::server::{Id, Settings};
use super::show_servers::Servers;
use super::socket::{Command, Word};

/// Servers that sidekick has taken out of service and not deleted yet, with the keywords that each had, if they are known.
///
/// They are deleted later because HAProxy 2.6 has bugs in the deletion of servers that were in use a moment ago. A retired
/// server counts as absent.
pub type Retired = BTreeMap<Id, Option<Vec<Word>>>;

/// A retired server has the name of a new one, and its keywords differ or are not known, so it cannot be used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetiredDiffers(pub Id);

/// Whether a server is to be added whose name a retired server has.
#[must_use]
pub fn readds_retired(ops: &[ServerChange], retired: &Retired) -> bool {
    let meets =
        |op: &ServerChange| matches!(op.action, Action::Add(..)) && retired.contains_key(&op.id);
    ops.iter().any(meets)
}

/// The first server that HAProxy has to add, since no retired server has its name.
#[must_use]
pub fn first_added<'a>(ops: &'a [ServerChange], retired: &Retired) -> Option<&'a Id> {
    let is_added =
        |op: &&ServerChange| matches!(op.action, Action::Add(..)) && !retired.contains_key(&op.id);
    ops.iter().find(is_added).map(|op| &op.id)
}

/// The commands, a line for each change. Servers are put into service before others are taken out, so that some server
/// is in service at any time, even if all are replaced at once.
pub fn command_lines(
    ops: &[ServerChange],
    retired: &Retired,
) -> Result<Vec<Vec<Command>>, RetiredDiffers> {
    let serve = ops.iter().filter_map(|op| match op.action {
        Action::SetEnabled(yes) => Some((&op.id, yes)),
        Action::Add(..) | Action::Remove { .. } | Action::Move { .. } | Action::SetWeight(_) => {
            None
        }
    });
    let serve: BTreeMap<&Id, bool> = serve.collect();
    let mut ordered: Vec<&ServerChange> = ops.iter().collect();
    ordered.sort_by_key(|op| rank(&op.action, serve.get(&op.id).copied()));
    ordered
        .into_iter()
        .map(|op| commands_of(op, retired))
        .collect()
}

/// The order of commands, lower first. A server gets its address and weight before it is put into service, and is taken
/// out of service before it gets others (as a slot that is freed does): so HAProxy never sends a request to an old or
/// a reserved address.
fn rank(action: &Action, serve: Option<bool>) -> u8 {
    match (action, serve) {
        (Action::Add(..), _) => 0,
        (Action::Move { .. } | Action::SetWeight(_), Some(false)) => 6,
        (Action::Move { .. }, _) => 1,
        (Action::SetWeight(1..), _) | (Action::SetWeight(0), Some(true)) => 2,
        (Action::SetEnabled(true), _) => 3,
        (Action::SetWeight(0), None) => 4,
        (Action::SetEnabled(false) | Action::Remove { .. }, _) => 5,
    }
}

fn commands_of(
    ServerChange { id, action }: &ServerChange,
    retired: &Retired,
) -> Result<Vec<Command>, RetiredDiffers> {
    let set = || Command::new("set server").word(&id.word());
    let weigh = |weight: u16| set().then("weight").number(weight);
    Ok(match action {
        Action::Add(at, all_settings) => match retired.get(id) {
            None => add(id, *at, all_settings),
            Some(Some(was)) if *was == all_settings.keywords => {
                let mut line = vec![move_to(set(), *at), weigh(all_settings.weight)];
                line.extend((!all_settings.disabled).then(|| set().then("state ready")));
                line
            }
            Some(_) => return Err(RetiredDiffers(id.clone())),
        },
        // As after a reload, the server is healthy until its checks say otherwise.
        Action::Move { to } => vec![move_to(set(), *to), set().then("health up")],
        Action::SetWeight(weight) => vec![weigh(*weight)],
        Action::SetEnabled(true) => vec![set().then("state ready")],
        Action::SetEnabled(false) | Action::Remove { .. } => vec![set().then("state maint")],
    })
}

/// HAProxy adds a server out of service and without checks; further commands switch both on.
fn add(id: &Id, at: SocketAddr, all_settings: &Settings) -> Vec<Command> {
    let add = Command::new("add server").word(&id.word()).address(at);
    let add = all_settings.keywords.iter().fold(add, Command::word);
    let mut line = vec![add.then("weight").number(all_settings.weight)];
    let to = |verb| Command::new(verb).word(&id.word());
    line.extend(all_settings.checked.then(|| to("enable health")));
    line.extend((!all_settings.disabled).then(|| to("enable server")));
    line
}

fn move_to(set: Command, at: SocketAddr) -> Command {
    set.then("addr").ip(at.ip()).then("port").number(at.port())
}

/// A server of HAProxy that does not agree with a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The server.
    pub id: Id,
    /// What differs: `address`, `weight`, `state` or `presence`.
    pub what: &'static str,
}

/// Compares what was changed with what HAProxy has; says the first difference.
pub fn compare(ops: &[ServerChange], seen: &Servers) -> Result<(), Difference> {
    let differing = ops.iter().find_map(|ServerChange { id, action }| {
        let differs = |what| {
            Some(Difference {
                id: id.clone(),
                what,
            })
        };
        let Some(seen) = seen.get(id) else {
            return if matches!(action, Action::Remove { .. }) {
                None
            } else {
                differs("presence")
            };
        };
        let is = |what, same: bool| if same { None } else { differs(what) };
        match action {
            Action::Add(at, all_settings) => is("address", seen.at == Some(*at))
                .or_else(|| is("weight", seen.weight == all_settings.weight))
                .or_else(|| is("state", seen.disabled == all_settings.disabled)),
            Action::Remove { .. } => is("presence", seen.disabled),
            Action::Move { to } => is("address", seen.at == Some(*to)),
            Action::SetWeight(weight) => is("weight", seen.weight == *weight),
            Action::SetEnabled(yes) => is("state", seen.disabled != *yes),
        }
    });
    differing.map_or(Ok(()), Err)
}

/// Notes which servers are retired after these changes were made.
pub fn update_retired(retired: &mut Retired, ops: &[ServerChange]) {
    for ServerChange { id, action } in ops {
        match action {
            Action::Add(..) => drop(retired.remove(id)),
            Action::Remove { was } => drop(retired.insert(id.clone(), was.clone())),
            Action::Move { .. } | Action::SetWeight(_) | Action::SetEnabled(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::haproxy::diff::{Change, diff};

    fn ops(live: &str, new: &str) -> Vec<ServerChange> {
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

    fn command_texts(ops: &[ServerChange], retired: &Retired) -> Vec<String> {
        let line = |line: Vec<Command>| {
            line.iter()
                .map(Command::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        };
        command_lines(ops, retired)
            .unwrap()
            .into_iter()
            .map(line)
            .collect()
    }

    #[test]
    fn each_change_has_its_commands_in_a_safe_order() {
        let all = ops(
            " | a 1.0.0.1:1 | b 1.0.0.2:1 | c 1.0.0.3:1 | d 1.0.0.4:1 disabled | e 1.0.0.5:1",
            " | a 1.0.0.1:1 weight 0 | b [::2]:2 weight 7 | c 1.0.0.3:1 disabled | d 1.0.0.4:1 | n 1.0.0.6:1 check",
        );
        assert_eq!(
            command_texts(&all, &Retired::new()),
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
    fn a_slot_gets_its_address_out_of_service() {
        let (slot, idle) = (
            " | s 1.0.0.1:1 weight 0",
            " | s 127.0.0.1:1 weight 1 disabled",
        );
        assert_eq!(
            command_texts(&ops(slot, idle), &Retired::new()),
            [
                "set server app/s state maint",
                "set server app/s addr 127.0.0.1 port 1; set server app/s health up",
                "set server app/s weight 1",
            ]
        );
        assert_eq!(
            command_texts(&ops(idle, slot), &Retired::new()),
            [
                "set server app/s addr 1.0.0.1 port 1; set server app/s health up",
                "set server app/s weight 0",
                "set server app/s state ready",
            ]
        );
    }

    #[test]
    fn a_retired_server_is_not_added() {
        let new = ops("", " | n 1.0.0.6:1");
        let retired = Retired::from([(Id::new("app", "n").unwrap(), None)]);
        assert_eq!(
            first_added(&new, &Retired::new()),
            Id::new("app", "n").as_ref()
        );
        assert_eq!(first_added(&new, &retired), None);
        assert_eq!(
            first_added(&ops(" | n 1.0.0.6:1", ""), &Retired::new()),
            None
        );
    }

    #[test]
    fn a_server_that_starts_out_of_service_is_not_enabled() {
        assert_eq!(
            command_texts(&ops("", " | n [::6]:1 disabled"), &Retired::new()),
            ["add server app/n [::6]:1 pool-purge-delay 5s pool-max-conn -1 weight 1"]
        );
    }

    #[test]
    fn a_retired_server_comes_back() {
        let mut retired = Retired::new();
        update_retired(&mut retired, &ops(" | n 1.0.0.6:1 check", ""));
        let back = ops("", " | n 1.0.0.7:1 check weight 3");
        assert_eq!(
            command_texts(&back, &retired),
            [
                "set server app/n addr 1.0.0.7 port 1; set server app/n weight 3; set server app/n state ready"
            ]
        );
        let other = ops("", " | n 1.0.0.7:1");
        assert!(command_lines(&other, &retired).is_err(), "it had checks");
        update_retired(&mut retired, &back);
        assert!(retired.is_empty());
    }
}
