//! The name that somebody probably meant. Pure.

use strsim::osa_distance;

/// The known name that differs least from `wrong`, by one to three slips: a letter that is added, left out, exchanged or
/// swapped with its neighbour. `None` if no other name is that close.
#[must_use]
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = wrong;
    let wrong = wrong.to_lowercase();
    // One slip in a short word, two in a longer one, three in a long one.
    let limit = (wrong.chars().count() / 3).clamp(1, 3);
    let distances = known.into_iter().map(|name| {
        let distance = osa_distance(&wrong, &name.to_lowercase());
        (distance, name)
    });
    let like = distances.filter(|(distance, name)| {
        // A slip leaves too little of a word of one or two letters to recognise it by.
        *name != given
            && *distance <= limit
            && *distance < name.chars().count().min(wrong.chars().count())
    });
    like.min().map(|(_, name)| name)
}

/// The nearest name as a question for a hint: `did you mean web?`.
#[must_use]
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(wrong, known).map(|name| format!("did you mean {name}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["web", "api", "database", "check_cmd", "check_timeout", "db"];
        for (wrong, want) in [
            ("wbe", Some("web")),
            ("Web", Some("web")),
            ("web", None),
            ("webs", Some("web")),
            ("ap", Some("api")),
            ("datbase", Some("database")),
            ("check_command", None),
            ("chekc_cmd", Some("check_cmd")),
            ("check-cmd", Some("check_cmd")),
            ("xx", None),
            ("d", None),
            ("", None),
            ("cache", None),
        ] {
            assert_eq!(nearest(wrong, known), want, "{wrong}");
        }
        assert_eq!(
            did_you_mean("wbe", known).as_deref(),
            Some("did you mean web?")
        );
    }
}
