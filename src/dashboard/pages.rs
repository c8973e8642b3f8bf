//! The files of the page, which are part of the binary. Pure.

/// A file of the page.
#[derive(Debug, Clone, Copy)]
pub(super) struct File {
    /// Its path, below the root.
    pub(super) path: &'static str,
    /// Its media type.
    pub(super) media_type: &'static str,
    /// Its content.
    pub(super) text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! file {
    ($path:literal, $name:literal, $media_type:expr) => {
        File {
            path: $path,
            media_type: $media_type,
            text: include_str!(concat!("assets/", $name)),
        }
    };
}

/// All files of the page. Nothing else is ever served, so no path of a request can lead out of this list.
pub(super) const FILES: [File; 12] = [
    file!("/", "page.html", "text/html; charset=utf-8"),
    file!("/page.css", "page.css", "text/css; charset=utf-8"),
    file!("/icon.svg", "icon.svg", "image/svg+xml"),
    file!("/main.js", "main.js", SCRIPT),
    file!("/topology.js", "topology.js", SCRIPT),
    file!("/panels.js", "panels.js", SCRIPT),
    file!("/graph.js", "graph.js", SCRIPT),
    file!("/table.js", "table.js", SCRIPT),
    file!("/detail.js", "detail.js", SCRIPT),
    file!("/marks.js", "marks.js", SCRIPT),
    file!("/words.js", "words.js", SCRIPT),
    file!("/dom.js", "dom.js", SCRIPT),
];

/// The headers of every answer: they allow only the page's own scripts, styles and images, no frame around the page, and no
/// markup made of text.
pub(super) const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// The file at a path.
pub(super) fn file(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in quotes with this ending.
    fn quoted<'a>(text: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
        text.split('"')
            .filter(move |part| part.ends_with(end) && !part.contains(' '))
    }

    #[test]
    fn every_file_that_the_page_asks_for_exists() {
        for one in &FILES {
            for end in [".js", ".css", ".svg"] {
                for name in quoted(one.text, end) {
                    let path = format!("/{}", name.trim_start_matches("./"));
                    assert!(file(&path).is_some(), "{} asks for {name}", one.path);
                }
            }
        }
        assert_eq!(file("/../Cargo.toml").map(|file| file.path), None);
    }

    #[test]
    fn no_file_makes_markup_or_code_of_text_or_loads_from_elsewhere() {
        let ways = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
            "createContextualFragment",
            "setHTML",
            "javascript:",
            "srcdoc",
            "https:",
        ];
        for one in &FILES {
            for way in ways {
                assert!(!one.text.contains(way), "{} has {way}", one.path);
            }
            let foreign = one.text.matches("http:").count();
            let namespaces = one.text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(foreign, namespaces, "{} names another host", one.path);
        }
        let page = FILES[0].text;
        assert!(
            !page.contains("style=") && !page.contains(" onclick") && !page.contains("<script>")
        );
    }
}
