use super::*;

fn id() -> String {
    "0123456789abcdef".repeat(4)
}

fn inspect(state: &str) -> Container {
    let text = format!(
        r#"{{"Id":"{}","Name":"/web-1","State":{state},
           "Config":{{"Hostname":"0123456789ab","Labels":{{"sidekick.name":"web","other":"x"}},"StopSignal":"SIGQUIT"}},
           "HostConfig":{{"NetworkMode":"default"}},
           "NetworkSettings":{{"Networks":{{"a":{{"IPAddress":"172.18.0.2","GlobalIPv6Address":"fd00::2"}},
             "b":{{"IPAddress":"","GlobalIPv6Address":"fd01::2"}},"c":{{"IPAddress":""}}}},
             "Ports":{{"53/udp":[{{"HostIp":"10.0.0.1","HostPort":"53"}}],"80/tcp":null,
               "8080/tcp":[{{"HostIp":"0.0.0.0","HostPort":"32768"}},{{"HostIp":"::","HostPort":"32769"}}],
               "8080/udp":[{{"HostIp":"0.0.0.0","HostPort":"1"}}]}}}}}}"#,
        id()
    );
    inspection(&text).unwrap()
}

#[test]
fn an_inspection_is_a_container() {
    let container = inspect(r#"{"Running":true,"StartedAt":"2026-11-27T02:01:08.5Z"}"#);
    assert_eq!(container.to_string(), "web-1 (0123456789ab)");
    assert_eq!(container.labels.len(), 1, "only ours");
    assert_eq!(container.status, Status::Up);
    assert_eq!(container.started_at, 1_795_744_868_500_000_000);
    assert_eq!(container.stop_signal, Signal::QUIT);
    let networks: Vec<String> = container
        .networks
        .iter()
        .map(|(name, ip)| format!("{name} {ip}"))
        .collect();
    assert_eq!(networks, ["a 172.18.0.2", "b fd01::2"]);
    let ports: Vec<u16> = container.published.keys().copied().collect();
    assert_eq!(ports, [53, 8080]);
    assert_eq!(container.published[&8080][0].port, 32768, "TCP counts");
}

#[test]
fn who_can_serve() {
    for (state, status) in [
        (r#"{"Running":false}"#, Status::Stopped),
        (r#"{"Running":true,"Restarting":true}"#, Status::Stopped),
        (r#"{"Running":true,"Paused":true}"#, Status::Paused),
        (
            r#"{"Running":true,"Health":{"Status":"starting"}}"#,
            Status::Starting,
        ),
        (
            r#"{"Running":true,"Health":{"Status":"unhealthy"}}"#,
            Status::Unhealthy,
        ),
        (
            r#"{"Running":true,"Health":{"Status":"healthy"}}"#,
            Status::Up,
        ),
        (r#"{"Running":true,"Health":{"Status":"none"}}"#, Status::Up),
        (r#"{"Running":true,"Health":null}"#, Status::Up),
    ] {
        assert_eq!(inspect(state).status, status, "{state}");
    }
}

#[test]
fn a_list_has_those_that_speak_to_us() {
    let row = |labels: &str, state: &str, status: &str| {
        format!(
            r#"{{"Id":"{}","Labels":{labels},"State":"{state}","Status":"{status}"}}"#,
            id()
        )
    };
    let ours = r#"{"sidekick.name":"web"}"#;
    for (state, status, wanted) in [
        ("running", "Up 2 minutes", Status::Up),
        ("running", "Up 2 minutes (healthy)", Status::Up),
        ("running", "Up 2 minutes (unhealthy)", Status::Unhealthy),
        (
            "running",
            "Up 1 second (health: starting)",
            Status::Starting,
        ),
        ("paused", "Up 2 minutes (Paused)", Status::Paused),
        (
            "restarting",
            "Restarting (1) 2 seconds ago",
            Status::Stopped,
        ),
    ] {
        let text = format!("[{}]", row(ours, state, status));
        assert_eq!(list(&text).unwrap()[0].status, wanted, "{status}");
    }
    for labels in ["null", "{}", r#"{"sidekickx":"1"}"#] {
        let text = format!("[{}]", row(labels, "running", "Up"));
        assert_eq!(list(&text).unwrap(), []);
    }
    assert!(list("{}").is_err());
}

#[test]
fn events() {
    let line = |kind: &str, action: &str, attributes: &str| {
        format!(
            r#"{{"Type":"{kind}","Action":"{action}","Actor":{{"ID":"{}","Attributes":{attributes}}},"timeNano":7}}"#,
            id()
        )
    };
    let ours = r#"{"sidekick.name":"web"}"#;
    for (action, what) in [
        ("start", What::Came),
        ("die", What::Went),
        ("health_status: healthy", What::Came),
        ("health_status", What::Came),
        ("health_status: unhealthy", What::Went),
    ] {
        let event = event(&line("container", action, ours)).unwrap();
        assert_eq!((event.what, event.has_labels, event.time), (what, true, 7));
    }
    let kill = event(&line("container", "kill", r#"{"signal":"15"}"#)).unwrap();
    assert_eq!(
        (kill.what, kill.has_labels),
        (What::Killed(Signal::TERM), false)
    );
    let of_network = format!(r#"{{"container":"{}","name":"a"}}"#, id());
    assert!(event(&line("network", "connect", &of_network)).is_some());
    for nothing in [
        &line("image", "pull", "{}"),
        &line("container", "exec_start: sh", ours),
        &line("container", "kill", "{}"),
        &line("network", "connect", r#"{"container":"../x"}"#),
        "no JSON",
    ] {
        assert_eq!(event(nothing), None, "{nothing}");
    }
}
