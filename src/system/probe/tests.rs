use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;
use crate::model::check::{HttpCheck, Thresholds};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(200);

async fn probe(check: Check, announced: SocketAddr, limit: Duration) -> Result<(), String> {
    let checks = Checks {
        list: vec![check],
        timeout: limit,
        thresholds: Thresholds {
            interval: LONG,
            rise: 1,
            fall: 1,
        },
    };
    match round(&checks, announced).await {
        ProbeResult::Passed => Ok(()),
        ProbeResult::Failed(why) => Err(why),
    }
}

/// A port where nobody listens.
fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Answers one request after the other with the same bytes, and hands over what was asked.
fn server(answer: impl Into<Vec<u8>>) -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, asked) = std::sync::mpsc::channel();
    let answer = answer.into();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).unwrap();
            let _ = sender.send(String::from_utf8_lossy(&request[..n]).into_owned());
            // Who has seen enough hangs up early.
            let _ = stream.write_all(&answer);
        }
    });
    (address, asked)
}

fn http() -> HttpCheck {
    HttpCheck {
        at: At::default(),
        path: "/healthz?full=1".to_owned(),
        headers: Vec::new(),
        status: 200..=399,
        body: None,
    }
}

#[tokio::test]
async fn a_port_is_open_or_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = listener.local_addr().unwrap();
    let announced = || Check::Tcp(At::default());
    assert_eq!(probe(announced(), open, LONG).await, Ok(()));
    let error = probe(announced(), closed(), LONG).await.unwrap_err();
    assert!(error.starts_with("tcp: no connection: "), "{error}");
    let elsewhere = Check::Tcp(At {
        host: Some("localhost".to_owned()),
        port: Some(open.port()),
    });
    assert_eq!(probe(elsewhere, closed(), LONG).await, Ok(()));
}

#[tokio::test]
async fn a_request_says_what_it_was_told_to() {
    let (address, asked) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(probe(Check::Http(http()), address, LONG).await, Ok(()));
    let plain = asked.recv().unwrap();
    assert!(
        plain.starts_with("GET /healthz?full=1 HTTP/1.1\r\n"),
        "{plain}"
    );
    assert!(plain.contains(&format!("host: {address}\r\n")), "{plain}");
    assert!(plain.contains("connection: close\r\n"), "{plain}");

    let mut dressed = http();
    dressed.headers = vec![("Host".to_owned(), "www.example".to_owned())];
    assert_eq!(probe(Check::Http(dressed), address, LONG).await, Ok(()));
    let dressed = asked.recv().unwrap();
    assert!(dressed.contains("host: www.example\r\n"), "{dressed}");
    assert_eq!(
        dressed.to_lowercase().matches("host:").count(),
        1,
        "{dressed}"
    );
}

#[tokio::test]
async fn an_answer_is_right_or_not() {
    let large = vec![b'x'; 2 * 65_536];
    let large = String::from_utf8(large).unwrap();
    let body = |text: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        )
    };
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nall\r\n5\r\n well\r\n0\r\n\r\n";
    for (answer, text, want) in [
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), None, None),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/\r\n\r\n".to_owned(),
            None,
            None,
        ),
        (
            "HTTP/1.1 503 No\r\n\r\n".to_owned(),
            None,
            Some("status 503"),
        ),
        (
            "HTTP/1.1 404 No\r\n\r\n".to_owned(),
            Some("all"),
            Some("status 404"),
        ),
        (body("all well"), Some("all well"), None),
        (
            body("all bad"),
            Some("all well"),
            Some("the first 7 bytes of the body"),
        ),
        (chunked.to_owned(), Some("all well"), None),
        (
            body(&(large.clone() + "all well")),
            Some("all well"),
            Some("the first 65536 bytes"),
        ),
        (
            body(&("all well".to_owned() + &large)),
            Some("all well"),
            None,
        ),
        (
            "SSH-2.0-OpenSSH_9.9\r\n".to_owned(),
            None,
            Some("no valid answer"),
        ),
        (String::new(), None, Some("no valid answer")),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nall".to_owned(),
            Some("well"),
            Some("no valid answer"),
        ),
    ] {
        let (address, _asked) = server(answer.clone());
        let mut check = http();
        check.body = text.map(ToOwned::to_owned);
        let got = probe(Check::Http(check), address, LONG).await;
        let start = &answer[..answer.len().min(80)];
        match (want, got) {
            (None, got) => assert_eq!(got, Ok(()), "{start}"),
            (Some(want), got) => {
                let why = got.expect_err(start);
                assert!(
                    why.starts_with("http:///healthz?full=1: ") && why.contains(want),
                    "{start}: {why}"
                );
            }
        }
    }
}

#[tokio::test]
async fn who_accepts_and_says_nothing_is_late() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let error = probe(Check::Http(http()), address, SHORT)
        .await
        .unwrap_err();
    assert_eq!(error, "http:///healthz?full=1: no answer within 0.2 s");
}

#[tokio::test]
async fn a_command_says_why_in_one_line() {
    let exec = |command: &str| probe(Check::Exec(command.to_owned()), closed(), LONG);
    assert_eq!(exec("echo fine").await, Ok(()));
    let error = exec("echo first; echo 'no\tserver' >&2; echo; exit 3")
        .await
        .unwrap_err();
    assert!(
        error.ends_with("exit 3: exit status 3, saying: no\\tserver"),
        "{error}"
    );
    let error = probe(
        Check::Exec("echo slow; sleep 1000".to_owned()),
        closed(),
        SHORT,
    )
    .await
    .unwrap_err();
    assert!(
        error.ends_with("it did not end within 0.2 s and was killed, saying: slow"),
        "{error}"
    );
}

#[tokio::test]
async fn the_first_failure_ends_a_round() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ran");
    let exec = |command: String| Check::Exec(command);
    let checks = Checks {
        list: vec![
            exec("true".to_owned()),
            exec("exit 5".to_owned()),
            exec(format!("touch {}", file.display())),
        ],
        timeout: LONG,
        thresholds: Thresholds {
            interval: LONG,
            rise: 1,
            fall: 1,
        },
    };
    let failed = ProbeResult::Failed("exec:exit 5: exit status 5".to_owned());
    assert_eq!(round(&checks, closed()).await, failed);
    assert!(!file.exists());
}
