use super::*;
use crate::model::instance::Ports;

#[test]
fn a_store_on_this_host_does_not_make_loopback_the_address() {
    let store = Location::Etcd(crate::model::store_url::EtcdOptions {
        endpoints: vec!["127.0.0.1:2379".to_owned()],
        ..Default::default()
    });
    assert!(
        choose_address(&[], &store)
            .ip
            .is_none_or(|ip| !ip.is_loopback())
    );
    let refused = choose_address(&[Spec::TowardsStore], &store);
    assert_eq!(refused.ip, None);
    let said = NoAddress(refused).to_string();
    assert!(
        said.contains("store: 127.0.0.1 of lo, refused: loopback"),
        "{said}"
    );
}

fn announcement(service: &str, port: u16, id: IdSpec) -> Announcement {
    Announcement {
        service: service.parse().unwrap(),
        prefix: None,
        ports: Ports::new(Some(port), BTreeMap::new()).unwrap(),
        ip: vec!["10.0.0.1".parse().unwrap()],
        host: None,
        id,
        ownership: Ownership::Sole,
        weight: None,
        attrs: BTreeMap::new(),
        checks: None,
    }
}

fn source(announcements: Vec<Announcement>) -> Source {
    Source {
        location: Location::Directory("/store".into()),
        prefix: Prefix::parse("/services").unwrap(),
        hostname: "h".into(),
        tolerates_no_address: false,
        announcements,
        config: None,
        containers: Vec::new(),
        refused: BTreeSet::new(),
        ids: Vec::new(),
        chosen: BTreeMap::new(),
        gone: BTreeSet::new(),
        waiting: BTreeSet::new(),
    }
}

fn dirs(source: &mut Source) -> Vec<Prefix> {
    let entries = source.resolve().unwrap();
    entries.into_iter().map(|e| e.publication.dir).collect()
}

#[test]
fn random_ids_stay_with_whom_they_were_given_to() {
    let web = |port| announcement("web", port, IdSpec::Random);
    let mut source = source(vec![
        web(80),
        web(81),
        announcement("db", 80, IdSpec::Random),
    ]);
    let first = dirs(&mut source);
    assert_eq!(dirs(&mut source), first);
    // One goes, one gets another port, one moves to another place.
    source.announcements = vec![announcement("db", 80, IdSpec::Random), web(9000), web(81)];
    let second = dirs(&mut source);
    assert_eq!(second, [2, 0, 1].map(|n| first[n].clone()));
    source.announcements.push(web(80));
    let third = dirs(&mut source);
    assert_eq!(third[..3], second);
    assert!(!first.contains(&third[3]));
}

#[test]
fn a_given_id_that_is_another_one_s_default() {
    let given = IdSpec::Given("h-80".parse().unwrap());
    let mut source = source(vec![
        announcement("web", 80, IdSpec::HostAndPort),
        announcement("web", 81, given),
    ]);
    let refused = source.resolve().unwrap_err();
    assert_eq!(refused.to_string(), "two instances are /services/web/h-80");
}

#[test]
fn an_address_that_is_gone_is_kept() {
    let mut one = announcement("web", 80, IdSpec::HostAndPort);
    one.ip = vec![Spec::Interface("lo".to_owned())];
    let mut source = source(vec![one.clone()]);
    let before = source.resolve().unwrap();
    let dir = before[0].publication.dir.clone();
    let nothing = Host::default();
    for _ in 0..2 {
        let kept = source.address(&dir, &one, &nothing).unwrap();
        assert_eq!(kept, before[0].announced.ip());
        assert!(source.gone.contains(&dir), "told once");
    }
    assert_eq!(source.resolve().unwrap(), before);
    assert!(source.gone.is_empty());
}

#[test]
fn a_container_comes_after_what_is_configured() {
    let given = |id: &str| announcement("web", 80, IdSpec::Given(id.parse().unwrap()));
    let mut source = source(vec![given("a")]);
    source.set_containers(vec![given("a"), given("b")]);
    let names = |dirs: Vec<Prefix>| dirs.iter().map(ToString::to_string).collect::<Vec<_>>();
    let both = ["/services/web/a", "/services/web/b"];
    assert_eq!(names(dirs(&mut source)), both);
    assert_eq!(source.refused.len(), 1);
    source.set_containers(vec![given("b")]);
    assert_eq!(names(dirs(&mut source)), both);
    assert_eq!(source.refused.len(), 0);
    source.set_containers(Vec::new());
    assert_eq!(names(dirs(&mut source)), both[..1]);
}
