use std::fmt::Write as _;

use super::*;
use crate::model::container::{ContainerId, Status};
use crate::model::instance::AttrName;
use crate::model::os::Signal;

fn with(labels: &[(&str, &str)]) -> Container {
    let labels = labels
        .iter()
        .map(|(label, value)| (format!("{LABEL_PREFIX}{label}"), (*value).to_owned()));
    let ip = |text: &str| text.parse().unwrap();
    Container {
        id: ContainerId::parse(&"0123456789abcdef".repeat(4)).unwrap(),
        name: "c".to_owned(),
        hostname: "0123456789ab".to_owned(),
        labels: labels.collect(),
        status: Status::Up,
        started_at: 0,
        stop_signal: Signal::TERM,
        is_on_host_network: false,
        networks: [("front".to_owned(), ip("172.18.0.2"))].into(),
        published: [
            (
                8080,
                vec![Binding {
                    ip: ip("0.0.0.0"),
                    port: 32768,
                }],
            ),
            (
                8081,
                vec![Binding {
                    ip: ip("10.0.0.9"),
                    port: 81,
                }],
            ),
            (
                8082,
                vec![Binding {
                    ip: ip("127.0.0.1"),
                    port: 82,
                }],
            ),
            (
                8083,
                vec![
                    Binding {
                        ip: ip("127.0.0.1"),
                        port: 83,
                    },
                    Binding {
                        ip: ip("::"),
                        port: 84,
                    },
                ],
            ),
        ]
        .into(),
    }
}

fn ways(published: bool) -> ContainerWays {
    ContainerWays {
        published,
        network: None,
        host: vec![Spec::DefaultRoute],
    }
}

fn announced(one: &Container, ways: &ContainerWays) -> Result<Vec<Announcement>, String> {
    read_labels(one, ways).map_err(|problems| {
        problems.iter().fold(String::new(), |mut text, problem| {
            let hint = problem.hint.iter().map(|hint| format!(" ({hint})"));
            let _ = write!(text, "{problem}{};", hint.collect::<String>());
            text
        })
    })
}

#[test]
fn the_least() {
    let one = with(&[("name", "web"), ("port", "8080")]);
    let all = announced(&one, &ways(false)).unwrap();
    let [one] = &all[..] else { panic!("{all:?}") };
    assert_eq!(one.service.as_str(), "web");
    assert_eq!(one.id, IdSpec::Given("0123456789ab-8080".parse().unwrap()));
    assert_eq!(one.ip, [Spec::Given("172.18.0.2".parse().unwrap())]);
    assert_eq!(one.host.as_ref().unwrap().as_str(), "0123456789ab");
}

#[test]
fn several_services_and_all_labels() {
    let one = with(&[
        ("name", "web"),
        ("port", "80"),
        ("ports.metrics", "9100"),
        ("host", "a.example.org"),
        ("id", "one"),
        ("weight", "7"),
        ("attrs.vhost", "www.example.org"),
        ("attrs.settings/distribution", "roundrobin"),
        ("attrs.a.b", "c"),
        ("search.name", "search"),
        ("search.ports.http", "9200"),
        ("search.attrs.path", "/s"),
        ("network", "front"),
    ]);
    let all = announced(&one, &ways(false)).unwrap();
    let [web, search] = &all[..] else {
        panic!("{all:?}")
    };
    assert_eq!(
        (web.id.clone(), web.weight),
        (IdSpec::Given("one".parse().unwrap()), Some(7))
    );
    assert_eq!(web.host.as_ref().unwrap().as_str(), "a.example.org");
    let attrs: Vec<&str> = web.attrs.keys().map(AttrName::as_str).collect();
    assert_eq!(attrs, ["a.b", "settings/distribution", "vhost"]);
    assert_eq!(search.ports.main(), None);
    assert_eq!(search.ports.default_port(), 9200);
    assert_eq!(
        search.id,
        IdSpec::Given("0123456789ab-9200".parse().unwrap())
    );
}

#[test]
fn a_mistake_keeps_the_whole_container_out_and_says_all() {
    for (labels, wanted) in [
        (vec![("name", "web")], "sidekick.port is missing;"),
        (vec![("a.port", "80")], "sidekick.a.name is missing;"),
        (vec![("network", "front")], "sidekick.name is missing;"),
        (
            vec![("name", "a/b"), ("port", "0")],
            "sidekick.name: service \"a/b\" is not a valid name: 1 to 63 of A-Z a-z 0-9 . _ : -, not starting with a dot;\
             sidekick.port: port \"0\" is not a number from 1 to 65535;",
        ),
        (
            vec![("name", "web"), ("port", "80"), ("prot", "80")],
            "sidekick.prot is not known (did you mean port?);",
        ),
        (
            vec![("name", "web"), ("port", "80"), ("web.nmae", "x")],
            "sidekick.web.nmae is not known (did you mean name?);",
        ),
        (
            vec![("name", "web"), ("port", "80"), ("id", "uuid")],
            "sidekick.id: a container has no random ids; without this label its own counts;",
        ),
        (
            vec![("name", "web"), ("port", "80"), ("attrs", "x")],
            "sidekick.attrs is not known;",
        ),
        (
            vec![("name", "web"), ("port", "80"), ("attrs.ip", "x")],
            "sidekick.attrs.ip: attribute ip has a meaning of its own; give it with the option of that name;",
        ),
        (
            vec![("name", "web"), ("port", "80"), ("attrs.x", "a\nb")],
            "sidekick.attrs.x: value \"a\\nb\" of x",
        ),
        (
            vec![("name", "web"), ("port", "80"), ("network", "back")],
            "it has no address in the network back, only in front;",
        ),
        // What a container may not say.
        (
            vec![("name", "web"), ("port", "80"), ("prefix", "/etc")],
            "sidekick.prefix is not known;",
        ),
        (
            vec![("name", "web"), ("port", "80"), ("ip", "10.0.0.1")],
            "sidekick.ip is not known",
        ),
        (
            vec![("name", "web"), ("port", "80"), ("take_over", "true")],
            "sidekick.take_over is not known;",
        ),
        (
            vec![("name", "web"), ("port", "80"), ("check", "exec:id")],
            "sidekick.check is not known;",
        ),
        (
            vec![("name", "web"), ("port", "80"), ("a\nb.name", "x")],
            "sidekick.a\\nb.name is not known;",
        ),
    ] {
        let told = announced(&with(&labels), &ways(false)).unwrap_err();
        assert!(told.starts_with(wanted), "{told}");
        assert!(!told.contains('\n'), "{told}");
    }
}

#[test]
fn one_of_several_networks_has_to_be_named() {
    let mut one = with(&[("name", "web"), ("port", "80")]);
    one.networks
        .insert("back".to_owned(), "172.19.0.2".parse().unwrap());
    let told = announced(&one, &ways(false)).unwrap_err();
    assert!(
        told.starts_with("it is in several networks (back, front)"),
        "{told}"
    );
    let in_back = ContainerWays {
        network: Some("back".to_owned()),
        ..ways(false)
    };
    let ip = |one: &Container, ways| announced(one, ways).unwrap()[0].ip[0].clone();
    assert_eq!(
        ip(&one, &in_back),
        Spec::Given("172.19.0.2".parse().unwrap())
    );
    let label = ("sidekick.network".to_owned(), "front".to_owned());
    one.labels.extend([label]);
    assert_eq!(
        ip(&one, &in_back),
        Spec::Given("172.18.0.2".parse().unwrap())
    );
    one.networks.clear();
    assert!(
        announced(&one, &in_back)
            .unwrap_err()
            .contains("no address in any network")
    );
}

#[test]
fn published_ports() {
    let published = |port: &str| {
        let one = with(&[("name", "web"), ("port", port)]);
        announced(&one, &ways(true)).map(|all| {
            let one = &all[0];
            (one.ports.default_port(), one.ip.clone(), one.id.clone())
        })
    };
    let id = |text: &str| IdSpec::Given(text.parse().unwrap());
    assert_eq!(
        published("8080"),
        Ok((32768, vec![Spec::DefaultRoute], id("0123456789ab-8080")))
    );
    let given = vec![Spec::Given("10.0.0.9".parse().unwrap())];
    assert_eq!(published("8081"), Ok((81, given, id("0123456789ab-8081"))));
    assert!(
        published("8082")
            .unwrap_err()
            .contains("loopback address only")
    );
    assert_eq!(published("8083").unwrap().0, 84);
    assert!(
        published("80")
            .unwrap_err()
            .starts_with("port 80 is not published")
    );
    let both = with(&[("name", "web"), ("port", "8080"), ("ports.x", "8081")]);
    let told = announced(&both, &ways(true)).unwrap_err();
    assert_eq!(told, "its ports are published at different addresses;");
}

#[test]
fn in_the_network_of_the_host_the_address_is_the_hosts() {
    let mut one = with(&[("name", "web"), ("port", "80")]);
    one.is_on_host_network = true;
    one.networks.clear();
    for published in [false, true] {
        let all = announced(&one, &ways(published)).unwrap();
        assert_eq!(all[0].ip, [Spec::DefaultRoute]);
        assert_eq!((all[0].ports.default_port(), &all[0].host), (80, &None));
    }
}
