//! What holds for every value a store can hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{catalog, everything, prefix, render};
use crate::model::catalog::Catalog;
use crate::model::update::{Revision, Snapshot, Update};
use crate::watch::render::Template;

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<Vec<u8>>(),
        "(\n|\r|\\\\|'|\"|;|\\}|\\{|#|\\$|%|<| |a|server|\u{85}|\u{2028}){0,12}"
            .prop_map(String::into_bytes),
        "\\PC{0,20}".prop_map(String::into_bytes),
    ]
}

proptest! {
    /// Whatever a key holds, a quoting filter makes one word of one line of it, or fails.
    #[test]
    fn no_value_breaks_out_of_its_word(value in hostile()) {
        let mut view = everything();
        view.catalog = catalog(&[("/config/x", &value), ("/services/web/a/ip", b"10.0.0.1"), ("/services/web/a/port", b"80"), ("/services/web/a/note", &value)]);
        for filter in ["haproxy_quote", "nginx_quote", "php_quote", "shell_quote", "json_encode"] {
            let raw = format!("x {{{{ getv(key='/config/x') | {filter} }}}}\n");
            let attrs = format!("{{% for i in services.web | default(value=[]) %}}x {{{{ i.attrs.note | {filter} }}}}\n{{% endfor %}}");
            for source in [raw, attrs] {
                let Ok(text) = render(&source, &view) else { continue };
                if text.is_empty() {
                    continue;
                }
                prop_assert_eq!(text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}', '\0', '\u{b}', '\u{c}']).count(), 1, "{:?}", text);
                if filter == "haproxy_quote" {
                    prop_assert!(text.matches('\'').count() == 2 && text.ends_with("'\n"), "{:?}", text);
                }
            }
        }
    }

    /// Nothing a store can hold and no text in a template makes the engine panic.
    #[test]
    fn rendering_never_panics(source in "(\\{\\{|\\}\\}|\\{%|%\\}| |for|in|services|web|\\.|getv|\\(|\\)|key=|\"|if|end|\\|){0,12}") {
        let _ = render(&source, &everything());
    }

    /// A template that has rendered other instances before gives what a new one gives.
    #[test]
    fn what_a_template_keeps_of_its_last_render_is_not_seen(
        history in proptest::collection::vec(("[ab]", "[x-z]", "(ip|weight|state|note|none)", 1_u8..5), 1..20),
        source in "\\{\\{ services \\}\\}|\\{% for i in instances\\(service='a'\\) %\\}\\{\\{ i \\}\\}\\{% endfor %\\}",
    ) {
        let kept = Template::compile("t.tera", &source).unwrap();
        let (mut entries, mut folded) = (BTreeMap::new(), Catalog::new(prefix("/services")));
        for (service, id, field, value) in history {
            let dir = format!("/services/{service}/{id}");
            entries.insert(format!("{dir}/port"), "80".to_owned());
            match field.as_str() {
                "none" => entries.retain(|key, _| !key.starts_with(&dir)),
                "ip" => drop(entries.insert(format!("{dir}/ip"), format!("10.0.0.{value}"))),
                "state" if value > 2 => drop(entries.insert(format!("{dir}/state"), "drain".to_owned())),
                "state" => drop(entries.remove(&format!("{dir}/state"))),
                field => drop(entries.insert(format!("{dir}/{field}"), value.to_string())),
            }
            let now = entries.iter().map(|(key, value)| (key.as_str(), value.as_bytes()));
            let now: Vec<_> = now.collect();
            let snapshot = Snapshot {
                revision: Revision(1),
                entries: now.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            };
            // What has not changed stays the same in memory, by which a template knows it.
            folded.apply(&prefix("/"), Update::Reset(snapshot));
            let (mut view, mut fresh) = (everything(), everything());
            (view.catalog, fresh.catalog) = (Arc::new(folded.clone()), catalog(&now));
            prop_assert_eq!(kept.render(&view), render(&source, &fresh));
        }
    }
}
