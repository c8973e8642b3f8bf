//! What holds for every value a store can hold.

use proptest::prelude::*;

use super::{catalog, everything, render};

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
}
