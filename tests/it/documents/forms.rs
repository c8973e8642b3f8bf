//! The forms of files that `docs/register.md` and `docs/fixtures.md` describe.

use std::collections::BTreeSet;
use std::fs;

use super::markdown::{blocks, codes, read, rows};
use crate::harness::{sidekick, temp_dir};

#[test]
fn the_table_of_services_has_every_key() {
    let source = read("src/config/services.rs");
    let (_, list) = source.split_once("const KNOWN: ").unwrap();
    let (_, list) = list.split_once("= [").unwrap();
    let list = list.split(']').next().unwrap();
    let known: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(known.len() > 15, "the list is somewhere else: {known:?}");
    let rows = rows("docs/register.md");
    let rows = rows.iter().filter(|row| row.titles[0] == "key");
    // `ports = { NAME = PORT }` is the key `ports`.
    let documented: BTreeSet<&str> = rows
        .flat_map(|row| codes(&row.cells[0]))
        .filter_map(|code| code.split(' ').next())
        .collect();
    assert_eq!(documented, known);
}

#[test]
fn the_two_forms_of_a_fixture_are_the_same() {
    let dir = temp_dir();
    for name in ["conf.d", "templates"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let target = "[template]\nsrc = \"all.tmpl\"\ndest = \"/nowhere\"\nkeys = [\"/\"]\n";
    fs::write(dir.path().join("conf.d/all.toml"), target).unwrap();
    let template: String = ["/services/web/a/*", "/services/web/b/*", "/app/*"]
        .map(|keys| {
            format!("{{{{range gets \"{keys}\"}}}}{{{{.Key}}}}={{{{.Value}}}}\n{{{{end}}}}")
        })
        .concat();
    fs::write(dir.path().join("templates/all.tmpl"), template).unwrap();
    let all = blocks("docs/fixtures.md");
    let rendered = ["yaml", "json"].map(|language| {
        let block = all.iter().find(|block| block.language == language).unwrap();
        let file = dir.path().join("fixture").with_extension(language);
        fs::write(&file, &block.text).unwrap();
        let output = sidekick()
            .args(["render", "--from"])
            .arg(file)
            .arg("--conf-dir")
            .arg(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    });
    assert_eq!(rendered[0], rendered[1]);
    assert!(
        rendered[0].contains("/services/web/b/state=drain\n/app/motd=hello\n"),
        "{rendered:?}"
    );
}
