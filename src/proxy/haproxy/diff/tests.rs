//! Tables of differences.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::proxy::haproxy::change::Action;
use crate::proxy::haproxy::socket::Word;

const HEAD: &str = "global\n maxconn 9\ndefaults\n mode http\n default-server inter 1s\n";

/// The change between these lines of a backend, in words.
fn change(live: &str, new: &str) -> String {
    let text = |lines: &str| {
        let lines: Vec<_> = lines.split(" | ").collect();
        format!("{HEAD}backend app\n {}\n", lines.join("\n "))
    };
    describe(&diff("", &text(live), &text(new)))
}

fn describe(change: &Change) -> String {
    match change {
        Change::None => "nothing".to_owned(),
        Change::Reload(why) => format!("reload: {why}"),
        Change::Runtime(ops) => ops
            .iter()
            .map(describe_change)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn describe_change(ServerChange { id, action }: &ServerChange) -> String {
    match action {
        Action::Add(at, all_settings) => {
            let keywords: Vec<_> = all_settings.keywords.iter().map(Word::as_str).collect();
            let keywords = keywords.join(" ");
            let off = if all_settings.disabled { " off" } else { "" };
            format!(
                "add {id} {at} {} weight {}{off}",
                keywords, all_settings.weight
            )
        }
        Action::Remove { was } => {
            let known = if was.is_some() { "" } else { " (unknown)" };
            format!("remove {id}{known}")
        }
        Action::Move { to } => format!("move {id} {to}"),
        Action::SetWeight(weight) => format!("weigh {id} {weight}"),
        Action::SetEnabled(yes) => format!("serve {id} {yes}"),
    }
}

#[test]
fn servers_change_at_run_time() {
    for (live, new, expected) in [
        ("server a 1.0.0.1:1", "server a 1.0.0.1:1", "nothing"),
        (
            "server a 1.0.0.1:1",
            "# x |   server  a 1.0.0.1:1 # y",
            "nothing",
        ),
        (
            "server a 1.0.0.1:1",
            "server a 1.0.0.1:1 weight 1",
            "nothing",
        ),
        (
            "server a 1.0.0.1:1 enabled",
            "server a 1.0.0.1:1",
            "nothing",
        ),
        (
            "server a 1.0.0.1:1 | server b 1.0.0.2:1",
            "server b 1.0.0.2:1 | server a 1.0.0.1:1",
            "nothing",
        ),
        (
            "server a 1.0.0.1:1",
            "server a [::2]:3",
            "move app/a [::2]:3",
        ),
        (
            "server a 1.0.0.1:1 weight 5",
            "server a 1.0.0.1:1 weight 0",
            "weigh app/a 0",
        ),
        (
            "server a 1.0.0.1:1",
            "server a 1.0.0.1:1 disabled",
            "serve app/a false",
        ),
        (
            "server a 1.0.0.1:1 disabled",
            "server a 1.0.0.1:2 weight 9",
            "move app/a 1.0.0.1:2, weigh app/a 9, serve app/a true",
        ),
        ("server a 1.0.0.1:1", "", "remove app/a"),
        ("server a host:1", "", "remove app/a (unknown)"),
        (
            "server a 1.0.0.1:1",
            "server a 1.0.0.1:1 | server b 1.0.0.2:1 check weight 7",
            "add app/b 1.0.0.2:1 inter 1s check pool-purge-delay 5s pool-max-conn -1 weight 7",
        ),
        (
            "default-server check weight 3 disabled",
            "default-server check weight 3 disabled | server b 1.0.0.2:1",
            "add app/b 1.0.0.2:1 inter 1s check pool-purge-delay 5s pool-max-conn -1 weight 3 off",
        ),
        (
            "default-server check",
            "server b 1.0.0.2:1 | default-server check",
            "add app/b 1.0.0.2:1 inter 1s pool-purge-delay 5s pool-max-conn -1 weight 1",
        ),
        (
            "server z 1.0.0.9:1 | default-server check | server y 1.0.0.8:1",
            "server z 1.0.0.9:1 | default-server check | server b 1.0.0.2:1 | server y 1.0.0.8:1",
            "add app/b 1.0.0.2:1 inter 1s check pool-purge-delay 5s pool-max-conn -1 weight 1",
        ),
        // The same address under another name.
        (
            "server a 1.0.0.1:1",
            "server b 1.0.0.1:1",
            "add app/b 1.0.0.1:1 inter 1s pool-purge-delay 5s pool-max-conn -1 weight 1, remove app/a",
        ),
        // What cannot be given at run time may stay as it is.
        (
            "server a 1.0.0.1:1 cookie x weight 2",
            "server a 1.0.0.1:1 cookie x weight 3",
            "weigh app/a 3",
        ),
        (
            "balance source | hash-type consistent | server a 1.0.0.1:1",
            "balance source | hash-type consistent | server a 1.0.0.1:1 weight 3",
            "weigh app/a 3",
        ),
        (
            "balance static-rr | server a 1.0.0.1:1",
            "balance static-rr | server a 1.0.0.1:1 disabled",
            "serve app/a false",
        ),
        (
            "balance random(3) | server a 1.0.0.1:1",
            "balance random(3)",
            "remove app/a",
        ),
        (
            "server a host:1 | server b 1.0.0.1:1",
            "server a host:1 | server b 1.0.0.1:2",
            "move app/b 1.0.0.1:2",
        ),
    ] {
        assert_eq!(change(live, new), expected, "{live} -> {new}");
    }
}

#[test]
fn other_changes_take_a_reload() {
    for (live, new) in [
        ("balance roundrobin", "balance leastconn"),
        ("server a 1.0.0.1:1", "server a 1.0.0.1:1 check"),
        (
            "server a 1.0.0.1:1 maxconn 3",
            "server a 1.0.0.1:1 maxconn 4",
        ),
        ("server a host:1", "server a other:1"),
        ("server a host:1", "server a host:1 weight 3"),
        ("server a 1.0.0.1:1", "server a host:1"),
        ("", "server a host:1"),
        ("", "server a 1.0.0.1:1 cookie x"),
        ("", "server a 1.0.0.1:1 backup"),
        ("", "server a 1.0.0.1:1 check ssl verify none"),
        ("", "server a 1.0.0.1:1 | server a 1.0.0.2:1"),
        (
            "server a 1.0.0.1:1 | server c 1.0.0.3:1",
            "server a 1.0.0.1:1 | server b 1.0.0.2:1 | server a 1.0.0.4:1 | server c 1.0.0.3:1",
        ),
        (
            "server a 1.0.0.1:1 | server c 1.0.0.3:1",
            "server a 1.0.0.1:1 | server c 1.0.0.2:1 | server c 1.0.0.3:1",
        ),
        ("", "server \"a\" 1.0.0.1:1"),
        ("", "server a/b 1.0.0.1:1"),
        ("", "server-template a 3 1.0.0.1:1"),
        (
            "server-template a 3 1.0.0.1:1",
            "server-template a 4 1.0.0.1:1",
        ),
        ("balance source", "balance source | server a 1.0.0.1:1"),
        ("balance source | server a 1.0.0.1:1", "balance source"),
        (
            "balance first | server a 1.0.0.1:1 | server b 1.0.0.2:1",
            "balance first | server b 1.0.0.2:1 | server a 1.0.0.1:1",
        ),
        (
            "balance source | server a 1.0.0.1:1",
            "balance source | server a 1.0.0.1:1 weight 3",
        ),
        (
            "balance uri | hash-type consistent",
            "balance uri | hash-type consistent | server a 1.0.0.1:1",
        ),
        (
            "option external-check",
            "option external-check | server a 1.0.0.1:1 check",
        ),
        (
            "dynamic-cookie-key x | server a 1.0.0.1:1",
            "dynamic-cookie-key x | server a 1.0.0.1:2",
        ),
        ("mode log", "mode log | server a 1.0.0.1:1"),
        (
            "use-server a if FALSE | server a 1.0.0.1:1",
            "use-server a if FALSE",
        ),
        (
            "server a 1.0.0.1:1 | server b 1.0.0.2:1 track a",
            "server b 1.0.0.2:1 track a",
        ),
        (
            "server a 1.0.0.1:1 | server b 1.0.0.2:1 track app/a",
            "server b 1.0.0.2:1 track app/a",
        ),
        (
            "default-server check | server a 1.0.0.1:1",
            "server a 1.0.0.1:1 | default-server check",
        ),
        ("server a 1.0.0.1:1", "server a 1.0.0.1:1 \\"),
        ("log-format \"a b\"", "log-format \"a  b\""),
        (
            ".if x | server a 1.0.0.1:1 | .endif",
            ".if x | server a 1.0.0.1:2 | .endif",
        ),
    ] {
        let forth = change(live, new);
        assert!(forth.starts_with("reload: "), "{live} -> {new}: {forth}");
        let back = change(new, live);
        assert!(!back.is_empty() && back != "nothing", "{new} -> {live}");
    }
}

#[test]
fn the_other_sections_are_compared_too() {
    let backend = |lines: &str| format!("{HEAD}backend app\n server a 1.0.0.1:1\n{lines}");
    for (live, new) in [
        ("", "backend b\n"),
        ("backend b\n", ""),
        ("backend b\n", "backend c\n"),
        ("backend b\n", "listen b\n"),
        ("backend b\n", "backend b from x\n"),
        (
            "peers p\n server a 1.0.0.1:1\n",
            "peers p\n server a 1.0.0.1:2\n",
        ),
        ("ring r\n server a 1.0.0.1:1\n", "ring r\n"),
        ("frontend f\n bind :80\n", "frontend f\n bind :81\n"),
    ] {
        let change = describe(&diff("", &backend(live), &backend(new)));
        assert!(change.starts_with("reload: "), "{live} -> {new}: {change}");
    }
    let change = describe(&diff(
        "",
        &backend("listen b\n server a 1.0.0.1:1\n"),
        &backend("listen b\n"),
    ));
    assert_eq!(change, "remove b/a");
}

#[test]
fn defaults_are_taken_from_the_other_files() {
    let (live, new) = ("backend app\n", "backend app\n server a 1.0.0.1:1\n");
    assert_eq!(
        diff("", live, new),
        Change::Reload(ReloadReason::UnknownDefaults)
    );
    assert!(
        matches!(diff("", new, live), Change::Runtime(_)),
        "what goes has no defaults"
    );
    assert_eq!(
        describe(&diff("defaults\n default-server check\n", live, new)),
        "add app/a 1.0.0.1:1 check pool-purge-delay 5s pool-max-conn -1 weight 1"
    );
    assert_eq!(
        describe(&diff("defaults\n balance source\n", live, new)),
        "reload: the balance algorithm of app goes by the order of its servers: with balance roundrobin, leastconn or random they can change at run time"
    );
    let named = "defaults d\n default-server check\ndefaults e\n balance source\n";
    let from = |text: &str| text.replace("app", "app from d");
    assert_eq!(
        describe(&diff(named, &from(live), &from(new))),
        "add app/a 1.0.0.1:1 check pool-purge-delay 5s pool-max-conn -1 weight 1"
    );
}

#[test]
fn a_generation_mark_is_no_change() {
    let text = |mark: &str, rest: &str| {
        format!("global\n setenv SIDEKICK_GENERATION {mark}\nbackend app\n{rest}")
    };
    let server = " server a 1.0.0.1:1\n";
    assert_eq!(
        diff("", &text("1", server), &text("2", server)),
        Change::None
    );
    assert_eq!(
        describe(&diff(
            "",
            &text("1", server),
            &text("2", " server a 1.0.0.2:1\n")
        )),
        "move app/a 1.0.0.2:1"
    );
    // A generation mark alone does not make the text the whole configuration.
    assert_eq!(
        diff("", &text("1", ""), &text("2", server)),
        Change::Reload(ReloadReason::UnknownDefaults)
    );
    // HAProxy reloads once for the first mark, since it has none to show before.
    let change = describe(&diff("", "backend app\n", &text("1", "")));
    assert!(change.starts_with("reload"), "{change}");
}

/// Address, weight and whether it is in service.
type Known = (SocketAddr, u16, bool);

/// The servers after the changes.
fn carry_out(
    mut servers: BTreeMap<String, Known>,
    ops: &[ServerChange],
) -> BTreeMap<String, Known> {
    for ServerChange { id, action } in ops {
        let name = id.name.as_str().to_owned();
        match action {
            Action::Add(at, all_settings) => {
                let before =
                    servers.insert(name, (*at, all_settings.weight, !all_settings.disabled));
                assert!(before.is_none());
            }
            Action::Remove { .. } => assert!(servers.remove(&name).is_some()),
            Action::Move { to } => servers.get_mut(&name).unwrap().0 = *to,
            Action::SetWeight(weight) => servers.get_mut(&name).unwrap().1 = *weight,
            Action::SetEnabled(yes) => servers.get_mut(&name).unwrap().2 = *yes,
        }
    }
    servers
}

prop_compose! {
    fn servers()(list in prop::collection::btree_map("[a-f]", (1_u8..4, 1_u16..4, 0_u16..4, any::<bool>()), 0..6)) -> BTreeMap<String, Known> {
        let at = |host: u8, port| SocketAddr::from(([10, 0, 0, host], port));
        list.into_iter().map(|(name, (host, port, weight, on))| (name, (at(host, port), weight, on))).collect()
    }
}

fn text(servers: &BTreeMap<String, Known>) -> String {
    let line = |(name, (at, weight, on)): (&String, &Known)| {
        format!(
            " server {name} {at} check weight {weight}{}\n",
            if *on { "" } else { " disabled" }
        )
    };
    format!(
        "{HEAD}backend app\n{}",
        servers.iter().map(line).collect::<String>()
    )
}

proptest! {
    #[test]
    fn the_changes_lead_from_one_text_to_the_other(live in servers(), new in servers()) {
        let ops = match diff("", &text(&live), &text(&new)) {
            Change::None => Vec::new(),
            Change::Runtime(ops) => ops,
            Change::Reload(why) => panic!("{why}"),
        };
        prop_assert_eq!(ops.is_empty(), live == new);
        prop_assert_eq!(carry_out(live, &ops), new);
    }

    #[test]
    fn a_changed_letter_is_never_overlooked(live in servers(), at in any::<prop::sample::Index>(), with in "[a-z2-9\"\\\\]") {
        let live = text(&live);
        let mut new = live.clone();
        new.insert_str(at.index(live.len()), &with);
        prop_assert_ne!(diff("", &live, &new), Change::None, "{}", new);
    }
}
