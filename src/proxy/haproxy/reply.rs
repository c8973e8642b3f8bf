//! HAProxy's replies to lines of commands. Pure.
//!
//! HAProxy writes a prompt behind each reply, and since 3.2 only behind the last reply to a line. In both cases an empty
//! line ends each reply.

/// What HAProxy writes when it has answered and waits for more.
const PROMPT: &[u8] = b"\n> ";

/// The severity that HAProxy gives its reply, as in syslog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// HAProxy carried out the command, or does not know it: [`Reply::is_success`] tells the two apart.
    Info,
    /// HAProxy carried out the command, and says what has changed.
    Warning,
    /// HAProxy did not carry out the command.
    Error,
}

/// What HAProxy replied to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The severity, if the reply has one: most successes are silent, and the output of `show` commands has none.
    pub severity: Option<Severity>,
    /// The text without the severity and without the line end behind it.
    pub text: String,
}

impl Reply {
    fn new(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let marked = text.strip_prefix('[').and_then(|rest| {
            let (level, rest) = rest.split_once("]: ")?;
            Some((level.parse::<u8>().ok()?, rest))
        });
        let (severity, text) = match marked {
            Some((..=3, rest)) => (Some(Severity::Error), rest),
            Some((4 | 5, rest)) => (Some(Severity::Warning), rest),
            Some((_, rest)) => (Some(Severity::Info), rest),
            None => (None, &*text),
        };
        Self {
            severity,
            text: text.trim_end_matches('\n').to_owned(),
        }
    }

    /// Whether HAProxy knew the command and carried it out.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.severity != Some(Severity::Error)
            && !self.text.starts_with("Unknown command")
            && !self.text.starts_with("Permission denied")
    }
}

/// Cuts an answer into the replies to the commands; `lines` says how many commands each line had. If the number of replies
/// does not fit, the error is the number of parts that were found.
pub fn parse(answer: &[u8], lines: &[usize]) -> Result<Vec<Reply>, usize> {
    let mut parts = split(answer);
    let rest = parts.pop().unwrap_or_default();
    let asked: usize = lines.iter().sum();
    let replies = if parts.len() == asked {
        Some(parts.clone())
    } else if parts.len() == lines.len() {
        let of_lines = parts.iter().zip(lines).map(|(part, n)| of_line(part, *n));
        let replies: Option<Vec<_>> = of_lines.collect();
        replies.map(|replies| replies.concat())
    } else {
        None
    };
    let replies = replies.filter(|_| rest.is_empty()).ok_or(parts.len())?;
    Ok(replies.into_iter().map(Reply::new).collect())
}

/// The parts of an answer that end with a prompt, and last what follows the last prompt.
fn split(answer: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let (mut from, mut at) = (0, 0);
    while at < answer.len() {
        if answer[at..].starts_with(PROMPT) {
            parts.push(&answer[from..at]);
            at += PROMPT.len();
            from = at;
        } else {
            at += 1;
        }
    }
    parts.push(&answer[from..]);
    parts
}

/// The replies to the commands of one line, where one prompt stands behind all of them.
fn of_line(mut part: &[u8], count: usize) -> Option<Vec<&[u8]>> {
    let mut replies = Vec::new();
    for _ in 1..count {
        let end = if part.starts_with(b"\n") {
            0
        } else {
            part.windows(2).position(|pair| pair == b"\n\n")? + 1
        };
        replies.push(&part[..end]);
        part = &part[end + 1..];
    }
    replies.push(part);
    Some(replies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_says_whether_the_command_was_carried_out() {
        let read = |text: &str| Reply::new(text.as_bytes());
        assert!(read("").is_success());
        assert!(read("[6]: New server registered.\n").is_success());
        assert!(read("[4]: IP changed from 'a' to 'b'\n").is_success());
        assert!(!read("[3]: No such server.\n").is_success());
        assert!(!read("[6]: Unknown command, but maybe").is_success());
        assert!(!read("Permission denied\n").is_success());
        assert_eq!(read("[3]: No such server.\n").text, "No such server.");
        assert_eq!(read("1\n# be_id\n").text, "1\n# be_id");
    }

    fn reply_texts(answer: &str, lines: &[usize]) -> Result<Vec<String>, usize> {
        let replies = parse(answer.as_bytes(), lines)?;
        Ok(replies.into_iter().map(|reply| reply.text).collect())
    }

    #[test]
    fn a_prompt_ends_a_reply_or_a_line_of_them() {
        let want = ["", "", "", "gone", "", "1\n# be_id", "no\n  help"].map(str::to_owned);
        let lines = [1, 1, 3, 1, 1];
        let each = "\n> \n> \n> [3]: gone\n\n> \n> 1\n# be_id\n\n> [6]: no\n  help\n\n> ";
        assert_eq!(reply_texts(each, &lines), Ok(want.to_vec()));
        let line = "\n> \n> \n[3]: gone\n\n\n> 1\n# be_id\n\n> [6]: no\n  help\n\n> ";
        assert_eq!(reply_texts(line, &lines), Ok(want.to_vec()));
        let last = "\n> \n> \n\n[3]: gone\n\n> ";
        assert_eq!(reply_texts(last, &[1, 1, 3]).unwrap()[4], "gone");
    }

    #[test]
    fn a_missing_reply_is_an_error() {
        assert_eq!(reply_texts("", &[1, 1]), Err(0));
        assert_eq!(reply_texts("\n> ", &[1, 1]), Err(1));
        assert_eq!(reply_texts("\n> \n> Only", &[1, 1]), Err(2));
        assert_eq!(reply_texts("\n> \n> \n> ", &[1, 1]), Err(3));
        assert_eq!(reply_texts("\n> [3]: gone\n\n> ", &[1, 2]), Err(2));
    }
}
