//! What a block of shell commands says, as far as the tests need it: its simple commands, each as its words.

use std::iter::Peekable;
use std::str::Chars;

/// Words that stand before a command and do not change which one it is.
const BEFORE: [&str; 9] = [
    "sudo", "exec", "!", "do", "then", "until", "while", "if", "else",
];
/// Words that end or begin something without being a command.
const STRUCTURE: [&str; 6] = ["for", "done", "fi", "}", "{", "case"];

/// The simple commands of a script, those in `$(...)` and `<(...)` too. Variables stay as they are written; redirections, the
/// texts of `<<END` and comments are left out.
pub(super) fn commands(script: &str) -> Vec<Vec<String>> {
    let mut reader = Reader {
        chars: script.chars().peekable(),
        found: Vec::new(),
        words: Vec::new(),
        word: None,
        skips_word: false,
        here: None,
    };
    reader.read();
    reader.found
}

/// A console session without what the commands have printed.
pub(super) fn typed(session: &str) -> String {
    let lines = session.lines().filter_map(|line| line.strip_prefix("$ "));
    lines.flat_map(|line| [line, "\n"]).collect()
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    found: Vec<Vec<String>>,
    words: Vec<String>,
    word: Option<String>,
    /// The next word is the file of a redirection.
    skips_word: bool,
    /// The line that ends the text of `<<`.
    here: Option<String>,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(c) = self.chars.next() {
            match c {
                '\\' => self.escape(),
                '\'' => self.single_quotes(),
                '"' => self.double_quotes(),
                '$' if self.chars.peek() == Some(&'(') => self.substitution(),
                '#' if self.word.is_none() => self.rest_of_line(),
                ' ' | '\t' => self.end_word(),
                '\n' => self.end_line(),
                ';' | '&' | '|' | '(' | ')' => self.end_command(),
                '>' | '<' => self.redirection(c),
                c => self.push(c),
            }
        }
        self.end_command();
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn escape(&mut self) {
        match self.chars.next() {
            Some('\n') | None => {}
            Some(c) => self.push(c),
        }
    }

    fn single_quotes(&mut self) {
        self.word.get_or_insert_default();
        while let Some(c) = self.chars.next().filter(|c| *c != '\'') {
            self.push(c);
        }
    }

    fn double_quotes(&mut self) {
        self.word.get_or_insert_default();
        while let Some(c) = self.chars.next().filter(|c| *c != '"') {
            match c {
                '\\' => self.escape(),
                '$' if self.chars.peek() == Some(&'(') => self.substitution(),
                c => self.push(c),
            }
        }
    }

    /// `$(...)`: commands of their own, and a part of a word.
    fn substitution(&mut self) {
        self.chars.next();
        let (mut inside, mut depth) = (String::new(), 1);
        for c in self.chars.by_ref() {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            if depth == 0 {
                break;
            }
            inside.push(c);
        }
        self.found.extend(commands(&inside));
        let word = self.word.get_or_insert_default();
        word.push_str("$()");
    }

    fn rest_of_line(&mut self) {
        while self.chars.next_if(|c| *c != '\n').is_some() {}
    }

    fn redirection(&mut self, sign: char) {
        // The number of a file.
        if let Some(word) = self.word.take()
            && !word.chars().all(|c| c.is_ascii_digit())
        {
            self.words.push(word);
        }
        if self.chars.peek() == Some(&'(') {
            return;
        }
        let is_here = sign == '<' && self.chars.next_if_eq(&'<').is_some();
        while self.chars.next_if(|c| "<>& ".contains(*c)).is_some() {}
        if is_here {
            let mut end = String::new();
            while let Some(c) = self.chars.next_if(|c| !c.is_whitespace()) {
                end.extend((c != '\'').then_some(c));
            }
            self.here = Some(end);
        } else {
            self.skips_word = true;
        }
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if !std::mem::take(&mut self.skips_word) {
            self.words.push(word);
        }
    }

    fn end_line(&mut self) {
        self.end_command();
        let Some(end) = self.here.take() else { return };
        loop {
            let mut line = String::new();
            while let Some(c) = self.chars.next_if(|c| *c != '\n') {
                line.push(c);
            }
            if self.chars.next().is_none() || line == end {
                return;
            }
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        let mut words = std::mem::take(&mut self.words);
        let is_before = |word: &String| {
            let name = word.split('=').next().unwrap_or_default();
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            BEFORE.contains(&word.as_str()) || (word.contains('=') && is_name)
        };
        let first = words.iter().position(|word| !is_before(word));
        words.drain(..first.unwrap_or(words.len()));
        let is_command = words
            .first()
            .is_some_and(|word| !STRUCTURE.contains(&word.as_str()));
        self.found.extend(is_command.then_some(words));
    }
}

#[test]
fn a_script_is_its_commands() {
    let script = "\
sudo a 'b c' \"d $(e f)\" >g 2>&1 &   # h
for n in 1 2; do X=1 i --j=\"k\\\"l\" \\
    m; done
cat >n <<END
o p
END
q | ! r < s && source <(t u)
";
    let words: Vec<String> = commands(script)
        .iter()
        .map(|words| words.join("_"))
        .collect();
    let want = [
        "e_f",
        "a_b c_d $()",
        "i_--j=k\"l_m",
        "cat",
        "q",
        "r",
        "source",
        "t_u",
    ];
    assert_eq!(words, want);
}
