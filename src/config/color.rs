//! Whether output is in colour: the one place that decides it.

use super::Env;
use crate::cli::ColorWhen;

/// Whether what goes to a stream is in colour. `NO_COLOR` and `CLICOLOR_FORCE` mean what <https://no-color.org> and
/// <https://bixense.com/clicolors/> say.
#[must_use]
pub fn has_color(when: ColorWhen, env: &Env, is_terminal: bool) -> bool {
    let value = |name: &str| {
        env.get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    };
    match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto if value("NO_COLOR").is_some() => false,
        ColorWhen::Auto if value("CLICOLOR_FORCE").is_some_and(|text| text != "0") => true,
        ColorWhen::Auto => {
            is_terminal && value("CLICOLOR") != Some("0") && value("TERM") != Some("dumb")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_decides_then_the_environment_then_the_terminal() {
        let decide = |when, env: &[(&str, &str)], is_terminal| {
            let env = env.iter();
            let env = env.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            has_color(when, &env.collect(), is_terminal)
        };
        let auto = ColorWhen::Auto;
        let (no, force) = (("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1"));
        for (when, env, is_terminal, want) in [
            (auto, &[][..], true, true),
            (auto, &[], false, false),
            (auto, &[no], true, false),
            (auto, &[("NO_COLOR", "")], true, true),
            (auto, &[force], false, true),
            (auto, &[("CLICOLOR_FORCE", "0")], false, false),
            (auto, &[no, force], true, false),
            (auto, &[("CLICOLOR", "0")], true, false),
            (auto, &[("TERM", "dumb")], true, false),
            (ColorWhen::Always, &[no], false, true),
            (ColorWhen::Never, &[force], true, false),
        ] {
            assert_eq!(
                decide(when, env, is_terminal),
                want,
                "{when:?} {env:?} {is_terminal}"
            );
        }
    }
}
