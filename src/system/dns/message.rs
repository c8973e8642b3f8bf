//! The two messages of a question for SRV records, as RFC 1035 and RFC 2782 write them. Pure.

use crate::model::os::Srv;

const SRV: u16 = 33;
const INTERNET: u16 = 1;
const HEADER: usize = 12;
/// A name may point back into the message; one that does so more often goes in a circle.
const POINTERS: usize = 32;

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These records; none if there is no such name.
    Records(Vec<Srv>),
    /// More than fits into a datagram.
    Truncated,
    /// The server failed; the number says why.
    Failed(u16),
}

/// The question for the SRV records of `name`; nothing if that is no name.
pub(super) fn question(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    // One question, and the server is to ask others if it does not know.
    for word in [id, 0x0100, 1, 0, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    let mut length = 1;
    for label in name.split('.') {
        let size = u8::try_from(label.len())
            .ok()
            .filter(|size| (1..64).contains(size))?;
        length += 1 + label.len();
        message.push(size);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(SRV.to_be_bytes());
    message.extend(INTERNET.to_be_bytes());
    (length <= 255).then_some(message)
}

/// Reads the answer to the question `id`; nothing if it is none.
pub(super) fn answer(message: &[u8], id: u16) -> Option<Answer> {
    let flags = word(message, 2)?;
    let is_answer = flags & 0x8000 != 0;
    if word(message, 0)? != id || !is_answer {
        return None;
    }
    match flags & 0x000f {
        0 => {}
        // There is no such name.
        3 => return Some(Answer::Records(Vec::new())),
        code => return Some(Answer::Failed(code)),
    }
    if flags & 0x0200 != 0 {
        return Some(Answer::Truncated);
    }
    let mut at = HEADER;
    for _ in 0..word(message, 4)? {
        at = skip_name(message, at)? + 4;
    }
    let mut records = Vec::new();
    for _ in 0..word(message, 6)? {
        at = skip_name(message, at)?;
        let (kind, class) = (word(message, at)?, word(message, at + 2)?);
        let length = usize::from(word(message, at + 8)?);
        at += 10;
        if (kind, class) == (SRV, INTERNET) {
            records.push(Srv {
                priority: word(message, at)?,
                weight: word(message, at + 2)?,
                port: word(message, at + 4)?,
                target: name(message, at + 6)?,
            });
        }
        at += length;
    }
    Some(Answer::Records(records))
}

fn word(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Where a name ends.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            size if size < 64 => at += 1 + usize::from(size),
            // A pointer ends it.
            _ => return Some(at + 2),
        }
    }
}

/// A name, with a dot at its end.
fn name(message: &[u8], mut at: usize) -> Option<String> {
    let mut name = String::new();
    let mut pointers = 0;
    loop {
        match *message.get(at)? {
            0 if name.is_empty() => return Some(".".to_owned()),
            0 => return Some(name),
            size if size < 64 => {
                let label = message.get(at + 1..at + 1 + usize::from(size))?;
                // It goes into a file: a name with anything else in it is none.
                let fine = |b: &u8| b.is_ascii_alphanumeric() || b"-_".contains(b);
                if !label.iter().all(fine) {
                    return None;
                }
                name.push_str(std::str::from_utf8(label).ok()?);
                name.push('.');
                at += 1 + usize::from(size);
            }
            size if size >= 0xc0 && pointers < POINTERS => {
                pointers += 1;
                at = usize::from(word(message, at)? & 0x3fff);
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A record: priority, weight, port, target.
    pub(in super::super) type Record<'a> = (u16, u16, u16, &'a str);

    /// What a server says to a question.
    pub(in super::super) fn reply(question: &[u8], cut: bool, records: &[Record<'_>]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2] = if cut { 0x83 } else { 0x81 };
        message[7] = u8::try_from(records.len()).unwrap();
        for (priority, weight, port, target) in records {
            // The name is that of the question.
            message.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
            let mut data = Vec::new();
            for word in [priority, weight, port] {
                data.extend(word.to_be_bytes());
            }
            for label in target.split('.') {
                data.push(u8::try_from(label.len()).unwrap());
                data.extend(label.as_bytes());
            }
            data.push(0);
            message.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend(data);
        }
        message
    }

    #[test]
    fn a_question_and_its_answer() {
        let asked = question(7, "_http._tcp.x").unwrap();
        assert_eq!(&asked[12..], b"\x05_http\x04_tcp\x01x\0\0\x21\0\x01");
        let said = reply(&asked, false, &[(1, 2, 3, "a.b"), (4, 5, 6, "c")]);
        let Some(Answer::Records(records)) = answer(&said, 7) else {
            panic!("{said:?}")
        };
        assert_eq!(records[0].target, "a.b.");
        assert_eq!(
            (records[1].priority, records[1].weight, records[1].port),
            (4, 5, 6)
        );
        assert_eq!(answer(&said, 8), None, "it answers somebody else");
        assert_eq!(answer(&asked, 7), None, "it is no answer");
        assert_eq!(
            answer(&reply(&asked, true, &[]), 7),
            Some(Answer::Truncated)
        );
        let mut refused = reply(&asked, false, &[]);
        refused[3] = 5;
        assert_eq!(answer(&refused, 7), Some(Answer::Failed(5)));
        let hostile = reply(&asked, false, &[(1, 2, 3, "a\nb")]);
        assert_eq!(answer(&hostile, 7), None);
    }

    #[test]
    fn no_name() {
        let long = ["x"; 130].join(".");
        for name in ["", "a..b", &"x".repeat(64), &long] {
            assert_eq!(question(1, name), None, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80), cut in 0_usize..60) {
            let whole = reply(&question(7, "a.b").unwrap(), false, &[(1, 2, 3, "c.d")]);
            let mut message = whole[..cut.min(whole.len())].to_vec();
            message.extend(noise);
            let _ = answer(&message, 7);
        }
    }
}
