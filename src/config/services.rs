//! The instances of `sidekick register --config`: the tables `[[service]]` of a TOML file, or of all files of a directory.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Problem;
use super::announcement::{Announcement, IdSpec, parse_announcement};
use super::input::{Problems, RawChecks, RawInstance};
use super::target;
use super::toml_fields::TomlTable;
use super::toml_file::TomlFile;
use crate::model::prefix::Prefix;

const KNOWN: [&str; 19] = [
    "name",
    "prefix",
    "port",
    "ports",
    "ip",
    "host",
    "id",
    "weight",
    "attrs",
    "take_over",
    "shared",
    "check",
    "check_interval",
    "check_timeout",
    "check_status",
    "check_header",
    "check_body",
    "rise",
    "fall",
];

/// Reads the instances from a file, or from the `*.toml` of a directory. `prefix` is the path in the store of those without
/// a prefix of their own. If anything is wrong, all problems are returned and no instance.
pub fn read_announcements(path: &Path, prefix: &Prefix) -> Result<Vec<Announcement>, Vec<Problem>> {
    let mut all = All::default();
    for file in files(path)? {
        match fs::read_to_string(&file) {
            Ok(text) => all.read(&file, &text, prefix),
            Err(error) => {
                let what = format!("cannot be read: {error}");
                all.problems.push(Problem::in_file(&file, None, what));
            }
        }
    }
    if all.good.is_empty() && all.problems.is_empty() {
        let problem = Problem::in_file(path, None, "there is no [[service]] in it");
        all.problems
            .push(problem.hint("write at least one, with name and port"));
    }
    if all.problems.is_empty() {
        // It has grown, and is kept as long as the process runs.
        all.good.shrink_to_fit();
        Ok(all.good)
    } else {
        Err(all.problems)
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Vec<Problem>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let cannot = |error| Problem::in_file(path, None, format!("cannot be read: {error}"));
    let mut files = target::list_toml_files(path).map_err(|error| vec![cannot(error)])?;
    files.sort();
    if files.is_empty() {
        let problem = Problem::in_file(path, None, "there is no *.toml in it");
        return Err(vec![problem]);
    }
    Ok(files)
}

/// Prefix, service and id: two instances that agree in all three would have the same keys.
type Identity = (Prefix, String, String);

/// The instances and problems so far.
#[derive(Default)]
struct All {
    good: Vec<Announcement>,
    problems: Vec<Problem>,
    /// The file and line of each instance.
    origins: HashMap<Identity, String>,
}

impl All {
    fn read(&mut self, file: &Path, text: &str, prefix: &Prefix) {
        let document = TomlFile::new(file, text);
        let mut root = TomlTable::root(&document);
        for table in root.tables("service") {
            let span = table.span().clone();
            let Some(one) = read_service(table, &document) else {
                continue;
            };
            let here = format!("{}:{}", file.display(), document.line(&span));
            if let Some(identity) = identity(&one, prefix)
                && let Some(first) = self.origins.insert(identity, here)
            {
                let what = format!("service: {first} has the same name and id");
                let hint = "give one of them another id or another prefix";
                document.report_with_hint(&span, what, Some(hint));
            }
            self.good.push(one);
        }
        root.finish(&["[[service]]"]);
        self.problems.extend(document.into_problems());
    }
}

/// What tells an instance from all others; `None` if its id is random, and therefore unique.
fn identity(one: &Announcement, prefix: &Prefix) -> Option<Identity> {
    let id = match &one.id {
        IdSpec::Given(id) => id.to_string(),
        // An id has no slash, so this cannot equal one.
        IdSpec::HostAndPort => format!("/{}", one.ports.default_port()),
        IdSpec::Random => return None,
    };
    let prefix = one.prefix.as_ref().unwrap_or(prefix).clone();
    Some((prefix, one.service.to_string(), id))
}

fn read_service(mut table: TomlTable<'_, '_>, document: &TomlFile<'_>) -> Option<Announcement> {
    if !table.has("name") {
        table.note_missing(&["name"], "service.name is missing", None);
    }
    if !table.has("port") && !table.has("ports") {
        let what = "service.port is missing: a number, or ports = { NAME = NUMBER }";
        table.note_missing(&["port", "ports"], what, None);
    }
    let raw = read_settings(&mut table);
    table.finish(&KNOWN);
    let mut found = Problems {
        document: Some(document),
        problems: Vec::new(),
    };
    parse_announcement(&raw, &mut found)
}

fn read_settings(table: &mut TomlTable<'_, '_>) -> RawInstance {
    let main = table.text("port").map(|port| (None, port));
    let named = table.pairs("ports").into_iter();
    let named = named.map(|(name, port)| (Some(name), port));
    let attrs = table.pairs("attrs").into_iter();
    RawInstance {
        name: table.text("name"),
        prefix: table.text("prefix"),
        ports: main.into_iter().chain(named).collect(),
        ip: table.text("ip"),
        host: table.text("host"),
        id: table.text("id"),
        weight: table.text("weight"),
        attrs: attrs.map(|(name, value)| (name, Some(value))).collect(),
        take_over: table.is_set("take_over"),
        shared: table.is_set("shared"),
        checks: RawChecks {
            list: table.texts("check"),
            interval: table.text("check_interval"),
            timeout: table.text("check_timeout"),
            rise: table.text("rise"),
            fall: table.text("fall"),
            status: table.text("check_status"),
            headers: table.texts("check_header"),
            body: table.text("check_body"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Ownership;

    /// Reads the files of a directory; the problems name the files without the directory.
    fn load(files: &[(&str, &str)]) -> Result<Vec<Announcement>, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let root = format!("{}/", dir.path().display());
        let prefix = Prefix::parse("/services").unwrap();
        read_announcements(dir.path(), &prefix).map_err(|problems| {
            let told = problems.iter().map(ToString::to_string);
            told.map(|text| text.replace(&root, "")).collect()
        })
    }

    fn problems(text: &str) -> Vec<String> {
        load(&[("a.toml", text)]).unwrap_err()
    }

    #[test]
    fn all_files_and_all_fields_are_read() {
        let all = load(&[
            ("b.toml", "[[service]]\nname = 'web'\nport = 80\n"),
            (
                "a.toml",
                "[[service]]\nname = 'log'\nports = { http = 9200, transport = '9300' }\nprefix = '/components'\n\
                 ip = '2001:db8::1'\nhost = 'a.b'\nid = 'i'\nweight = 7\nshared = true\ntake_over = false\n\
                 check = ['tcp', 'http://:81/x']\ncheck_interval = '5s'\nrise = 1\nfall = '9'\ncheck_status = 204\n\
                 check_header = 'Host: a'\ncheck_body = 'fine'\n\
                 [service.attrs]\n'settings/distribution' = 'roundrobin'\nn = 5\n\
                 [[service]]\nname = 'log'\nport = 1\nid = 'uuid'\n",
            ),
            (".hidden.toml", "nonsense"),
            ("other.txt", "nonsense"),
        ])
        .unwrap();
        let names: Vec<&str> = all.iter().map(|one| one.service.as_str()).collect();
        assert_eq!(names, ["log", "log", "web"], "sorted by file");
        let (most, least) = (&all[0], &all[2]);
        assert_eq!((&least.id, &least.ip), (&IdSpec::HostAndPort, &vec![]));
        assert_eq!((&least.checks, &least.prefix), (&None, &None));
        assert_eq!(all[1].id, IdSpec::Random);
        let components = Prefix::parse("/components").unwrap();
        assert_eq!((&most.prefix, most.weight), (&Some(components), Some(7)));
        assert_eq!(most.ports.main(), None);
        assert_eq!(
            most.ports.named().values().collect::<Vec<_>>(),
            [&9200, &9300]
        );
        assert_eq!(most.ownership, Ownership::Shared);
        let attrs = most.attrs.iter();
        let attrs: Vec<_> = attrs.map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(attrs, [("n", "5"), ("settings/distribution", "roundrobin")]);
        let checks = most.checks.as_ref().unwrap();
        assert_eq!((checks.list.len(), checks.thresholds.fall), (2, 9));
    }

    #[test]
    fn every_problem_at_once_with_its_line() {
        let text = "[[service]]\nname = 'a/b'\nport = 0\nprots = 1\n\
                    [[service]]\nid = 'x'\n\
                    [[service]]\nname = 'web'\nport = 80\nattrs = { ip = 'x', 'a/b' = '1', a = '2' }\nweight = true\n\
                    [[service]]\nname = 'web'\nport = 81\nrise = 2\nshared = true\n";
        let told = problems(text);
        let begin = [
            "a.toml:2: service.name: service \"a/b\" is not a valid name",
            "a.toml:3: service.port: port \"0\" is not a number",
            "a.toml:4: service.prots is not known here",
            "a.toml:5: service.name is missing",
            "a.toml:5: service.port is missing",
            "a.toml:10: service.attrs.ip: attribute ip has a meaning",
            "a.toml:10: service.attrs.",
            "a.toml:11: service.weight is a string or a number, not a boolean",
            "a.toml:15: service.rise: it has an effect with a check only",
            "a.toml:16: service.shared: a shared instance needs an id",
        ];
        assert_eq!(told.len(), begin.len(), "{told:#?}");
        for (told, begin) in told.iter().zip(begin) {
            assert!(told.starts_with(begin), "{told} is not {begin}");
        }
    }

    #[test]
    fn a_misspelt_field_that_is_required_is_one_problem() {
        for (text, want) in [
            ("nmae = 'web'\nport = 80\n", "a.toml:2: service.nmae is"),
            ("name = 'web'\nprot = 80\n", "a.toml:3: service.prot is"),
        ] {
            let told = problems(&format!("[[service]]\n{text}"));
            assert_eq!(told.len(), 1, "{told:#?}");
            assert!(told[0].starts_with(want), "{told:?}");
        }
    }

    #[test]
    fn two_instances_with_the_same_keys_are_a_problem() {
        let web = |more: &str| format!("[[service]]\nname = 'web'\nport = 80\n{more}\n");
        let of =
            |first: &str, second: &str| load(&[("a.toml", &web(first)), ("b.toml", &web(second))]);
        for (first, second) in [
            ("", ""),
            ("id = 'a'", "id = 'a'\nip = '10.0.0.1'"),
            ("prefix = '/services/'", ""),
        ] {
            let told = of(first, second).unwrap_err();
            let want = "b.toml:1: service: a.toml:1 has the same name and id";
            assert_eq!(told, [want], "{first}, {second}");
        }
        for (first, second) in [
            ("", "id = 'a'"),
            ("id = 'uuid'", "id = 'uuid'"),
            ("prefix = '/x'", ""),
        ] {
            assert!(of(first, second).is_ok(), "{first}, {second}");
        }
    }

    #[test]
    fn a_file_without_services_is_a_problem() {
        assert!(problems("")[0].contains("there is no [[service]] in it"));
        for (text, want) in [
            (
                "[service]\nname = 'web'\n",
                "a.toml:1: service is written [[service]], not as a table",
            ),
            (
                "service = [1]\n",
                "a.toml:1: service is a table, not an integer",
            ),
            ("[[service]\n", "a.toml:1: "),
            (
                "[[service]]\nname = 'a'\nport = 1\nattrs = { a = { b = 'c' } }\n",
                "a.toml:4: service.attrs.a is",
            ),
            (
                "x = 1\n[[service]]\nname = 'a'\nport = 1\n",
                "a.toml:1: x is not known here",
            ),
        ] {
            let told = problems(text);
            assert!(told.iter().any(|told| told.starts_with(want)), "{told:?}");
        }
        assert!(load(&[]).unwrap_err()[0].contains("there is no *.toml in it"));
        let prefix = Prefix::root();
        let missing = read_announcements(Path::new("/no/such/file"), &prefix).unwrap_err();
        assert!(missing[0].to_string().contains("cannot be read"));
    }
}
