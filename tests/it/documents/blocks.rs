//! Every fenced block of every document is judged: configuration by the program that reads it, commands by a test that runs them
//! or, where they cannot be run here, by the parser that reads them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::markdown::{Block, blocks, read};
use super::{documents, judges, root, shell};

/// A page, a heading, or nothing for the whole page, a language, and the test that plays the blocks of that language there.
type Played = (&'static str, &'static str, &'static str, &'static str);

/// The tests that run the commands of a section, or compare what a block of text shows with what is printed.
#[rustfmt::skip]
const PLAYED: [Played; 34] = [
    ("README.md", "Quick start on etcd", "sh", "quickstart::the_quick_start_ends_with_an_answer_on_a_debian_whose_packages_run"),
    ("docs/attributes.md", "", "sh", "documents::commands::the_attributes_are_announced_by_flags_and_by_a_file"),
    ("docs/conf.d.md", "", "sh", "documents::scenes::files_are_checked_compared_and_kept"),
    ("docs/confd.md", "", "sh", "documents::scenes::a_directory_of_confds_is_compared_and_taken_over"),
    ("docs/debian.md", "", "sh", "package::the_package_is_installed_used_upgraded_and_removed_as_the_document_says"),
    ("docs/docker.md", "Containers as they are", "text", "documents::scenes::a_container_with_wrong_labels_is_told_as_on_the_page"),
    ("docs/docker.md", "More entrypoints", "sh", "documents::scenes::a_file_is_rendered_before_a_program_starts"),
    ("docs/drain.md", "By hand", "console", "documents::scenes::who_drains_is_shown_as_on_the_page"),
    ("docs/drain.md", "By hand", "sh", "documents::scenes::an_instance_is_drained_and_put_back_by_hand"),
    ("docs/drain.md", "What watchers write", "text", "documents::scenes::the_keys_of_instances_and_watchers_are_those_of_the_pages"),
    ("docs/etcd.md", "", "sh", "documents::commands::the_commands_for_etcd_give_each_user_its_own_rights_and_no_others"),
    ("docs/files.md", "", "sh", "documents::commands::keys_come_from_a_file_and_from_the_environment"),
    ("docs/fixtures.md", "", "sh", "documents::scenes::fixtures_are_exported_rendered_and_changed"),
    ("docs/guards.md", "", "console", "documents::scenes::what_a_guard_holds_is_shown_as_on_the_page"),
    ("docs/history.md", "", "console", "documents::scenes::the_history_is_shown_as_on_the_page"),
    ("docs/history.md", "", "text", "documents::scenes::the_history_is_shown_as_on_the_page"),
    ("docs/hitless.md", "", "text", "documents::blocks::the_heading_of_a_measurement_is_that_of_its_report"),
    ("docs/keys.md", "", "sh", "documents::commands::an_instance_that_is_announced_without_sidekick_is_one"),
    ("docs/keys.md", "", "text", "documents::scenes::the_keys_of_instances_and_watchers_are_those_of_the_pages"),
    ("docs/logs.md", "", "sh", "documents::scenes::a_process_tells_of_itself_at_its_endpoint"),
    ("docs/logs.md", "", "text", "documents::scenes::the_first_line_of_the_log_is_shown_as_on_the_page"),
    ("docs/metrics.md", "", "sh", "documents::scenes::a_process_tells_of_itself_at_its_endpoint"),
    ("docs/migration.md", "From confd", "sh", "documents::scenes::a_directory_of_confds_is_compared_and_taken_over"),
    ("docs/operations.md", "", "sh", "documents::scenes::a_process_tells_of_itself_at_its_endpoint"),
    ("docs/proxies.md", "Apache", "sh", "documents::installed::apache_is_put_in_front_as_the_page_says"),
    ("docs/proxies.md", "HAProxy", "sh", "documents::installed::haproxy_is_put_in_front_as_the_page_says"),
    ("docs/proxies.md", "The access log", "sh", "access_log::every_line_of_haproxys_log_is_json"),
    ("docs/proxies.md", "nginx", "sh", "documents::installed::nginx_is_put_in_front_as_the_page_says"),
    ("docs/register.md", "", "sh", "documents::scenes::programs_are_announced_from_flags_and_from_a_file"),
    ("docs/systemd.md", "", "sh", "documents::installed::the_units_are_installed_and_started_by_hand"),
    ("docs/templates.md", "", "sh", "documents::scenes::fixtures_are_exported_rendered_and_changed"),
    ("docs/templates.md", "", "text", "documents::templates::every_block_gives_the_block_behind_it"),
    ("docs/tutorial.md", "", "sh", "docker::tutorial::the_tutorial_runs_from_its_first_container_to_its_end"),
    ("docs/tutorial.md", "Start", "text", "docker::tutorial::the_tutorial_runs_from_its_first_container_to_its_end"),
];

/// The test that plays this block, if there is one.
fn player(page: &str, block: &Block) -> Option<&'static str> {
    let row = PLAYED.iter().find(|(path, heading, language, _)| {
        *path == page
            && (heading.is_empty() || *heading == block.heading)
            && *language == block.language
    });
    row.map(|(.., test)| *test)
}

/// Arrows, lines and branches.
fn is_picture(text: &str) -> bool {
    text.contains(|c| "─▶│├└".contains(c))
}

/// What is wrong with a block.
fn judge(page: &str, block: &Block) -> Result<(), String> {
    let text = &block.text;
    let is_played = player(page, block).is_some();
    match block.language.as_str() {
        "sh" => {
            judges::is_bash(text)?;
            if is_played {
                Ok(())
            } else {
                judges::are_commands(&shell::commands(text))
            }
        }
        "console" if is_played => judges::is_bash(&shell::typed(text)),
        "text" if is_played || is_picture(text) => Ok(()),
        "console" | "text" => Err(
            "no test compares it with what is printed: write one and name it in PLAYED, or say by a language what it is"
                .to_owned(),
        ),
        "toml" if text.contains("[[service]]") => judges::is_services(text),
        "toml" => judges::is_conf_d(text),
        "yaml" if text.contains("image:") || text.contains("environment:") => {
            judges::is_compose(text)
        }
        "json" if text.contains("\"timestamp\"") => judges::is_log_line(text),
        "yaml" | "json" => judges::is_fixture(&block.language, text),
        "dockerfile" => judges::is_dockerfile(text),
        "ini" => judges::is_unit(text),
        "haproxy" => judges::is_haproxy(text),
        "nginx" => judges::is_nginx(text),
        "apache" => judges::is_apache(text),
        "tera" => judges::is_tera(text),
        "zone" => judges::is_zone(text),
        "js" => judges::is_polkit_rule(text),
        "" => Err("it says no language".to_owned()),
        other => Err(format!("nobody judges {other}")),
    }
}

/// The documents with blocks, by their paths below the root.
fn all_blocks() -> BTreeMap<String, Vec<Block>> {
    let pages = documents().into_keys();
    let pages = pages.map(|path| path.to_str().unwrap().to_owned());
    pages.map(|page| (page.clone(), blocks(&page))).collect()
}

#[test]
fn every_block_is_judged_and_right() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (page, blocks) in all_blocks() {
        for block in blocks {
            count += 1;
            if let Err(why) = judge(&page, &block) {
                wrong.push(format!("{}: {}: {why}", block.place, block.language));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 90, "few blocks are found: {count}");
}

/// A fence that is indented, or of another kind, would be passed over.
#[test]
fn fences_stand_at_the_beginning_of_their_lines() {
    for page in documents().into_keys() {
        for (at, line) in fs::read_to_string(root().join(&page))
            .unwrap()
            .lines()
            .enumerate()
        {
            let is_other = line.trim_start().starts_with("~~~")
                || (line.trim_start().starts_with("```") && !line.starts_with("```"));
            assert!(!is_other, "{}:{}: {line}", page.display(), at + 1);
        }
    }
}

/// A test that is named exists, and reads the page it is named for; each row has its blocks.
#[test]
fn the_tests_that_play_blocks_are_there() {
    for (page, heading, language, test) in PLAYED {
        let (module, function) = test.rsplit_once("::").unwrap();
        let path = format!("tests/it/{}.rs", module.replace("::", "/"));
        let path = if root().join(&path).exists() {
            path
        } else {
            format!("tests/it/{}/mod.rs", module.replace("::", "/"))
        };
        let source = read(&path);
        assert!(
            source.contains(&format!("#[test]\nfn {function}()")),
            "{test} is not in {path}"
        );
        assert!(source.contains(page), "{path} does not read {page}");
        let has_blocks = blocks(page)
            .iter()
            .any(|block| player(page, block) == Some(test));
        assert!(has_blocks, "{page}, {heading:?}: no block of {language}");
    }
}

/// A record of a run cannot be compared with another run; that it has the form of the report can be seen.
#[test]
fn the_heading_of_a_measurement_is_that_of_its_report() {
    let source = read("benches/hitless/main.rs");
    for block in blocks("docs/hitless.md") {
        if block.language == "text" {
            for words in [
                " cores, load ",
                " at the start; ",
                " requests a second to ",
                "s leases",
            ] {
                assert!(block.text.contains(words), "{}: {words}", block.place);
                assert!(
                    source.contains(words.trim()),
                    "benches/hitless/main.rs: {words}"
                );
            }
        }
    }
}

/// A reader sees in the first words of a page whether it is for him.
#[test]
fn every_page_begins_with_what_its_reader_wants() {
    let mut wrong = Vec::new();
    for page in documents().into_keys() {
        let is_page = page.parent() == Some(Path::new("docs"));
        let text = fs::read_to_string(root().join(&page)).unwrap();
        let mut lines = text.lines().filter(|line| !line.is_empty());
        let title = lines.next().unwrap_or_default();
        let first = lines.next().unwrap_or_default();
        if is_page && !(title.starts_with("# ") && first.starts_with("You ")) {
            wrong.push(format!("{}: {first}", page.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "these do not begin with \"You want to ...\":\n{}",
        wrong.join("\n")
    );
}
