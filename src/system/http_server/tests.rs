//! A real server on a free port or a socket, and clients that do what clients should not.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use super::*;

fn limits() -> Limits {
    Limits {
        head_time: Duration::from_millis(300),
        stalled_time: Duration::from_millis(300),
        ..Limits::default()
    }
}

fn hello(asked: &Asked) -> Answer {
    match asked.path() {
        "/" => Answer::text(
            200,
            format!("hello {}\n", asked.query().unwrap_or("nobody")),
        ),
        "/big" => Answer::text(200, "x".repeat(64 << 20)),
        _ => Answer::text(404, "not here\n"),
    }
}

fn serving(limits: Limits, handler: Arc<Handler>) -> (Serving, SocketAddr) {
    let any = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
    let server = Server::bind(&any, Vec::new(), limits).unwrap();
    let ListenAddress::Tcp(address) = *server.address() else {
        panic!("it listens elsewhere");
    };
    (server.serve_in_thread("http", handler).unwrap(), address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// All that the server says until it closes. That it closes without reading what it was sent is an end, too.
fn rest(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    match stream.read_to_end(&mut text) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(text).unwrap(),
    }
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    rest(&mut stream)
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn get_and_head_are_answered_and_a_connection_is_kept() {
    let (_serving, address) = serving(limits(), Arc::new(hello));
    let mut stream = connect(address);
    stream
        .write_all(
            b"GET /?you HTTP/1.1\r\nHost: localhost\r\n\r\n\
              HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n\
              GET /other HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    let answers = rest(&mut stream);
    let statuses: Vec<&str> = answers
        .lines()
        .filter_map(|line| Some(line.strip_prefix("HTTP/1.1 ")?.split(' ').next().unwrap()))
        .collect();
    assert_eq!(statuses, ["200", "200", "404"], "{answers}");
    assert!(
        answers.contains("hello you") && !answers.contains("hello nobody"),
        "{answers}"
    );
    assert!(
        answers.contains("content-length: 13"),
        "HEAD tells the length: {answers}"
    );
    assert!(
        answers.contains("x-content-type-options: nosniff"),
        "{answers}"
    );
}

#[test]
fn what_is_not_for_reading_is_refused() {
    let (_serving, address) = serving(limits(), Arc::new(hello));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let request =
            format!("{method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = ask(address, &request);
        assert_eq!(status(&answer), "405", "{method}: {answer}");
        assert!(answer.contains("allow: GET, HEAD"), "{answer}");
    }
}

#[test]
fn only_names_of_this_server_are_answered() {
    let (_serving, address) = serving(limits(), Arc::new(hello));
    for (host, expected) in [
        ("Host: 127.0.0.1:1\r\n", "200"),
        ("Host: evil.example\r\n", "421"),
        ("Host: localhost\r\nHost: evil.example\r\n", "421"),
        ("", "421"),
    ] {
        let answer = ask(
            address,
            &format!("GET / HTTP/1.1\r\n{host}Connection: close\r\n\r\n"),
        );
        assert_eq!(status(&answer), expected, "{host}: {answer}");
    }
    let absolute =
        "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&ask(address, absolute)), "421");
}

#[test]
fn heads_are_bounded() {
    let (_serving, address) = serving(limits(), Arc::new(hello));
    let request = |headers: &str| format!("GET / HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    let large = ask(
        address,
        &request(&format!("X: {}\r\n", "x".repeat(100_000))),
    );
    assert_eq!(status(&large), "431", "{large}");
    let many = ask(address, &request(&"X: x\r\n".repeat(200)));
    assert_eq!(status(&many), "431", "{many}");
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "x".repeat(100_000)
    );
    let long = ask(address, &long);
    assert!(["414", "431"].contains(&status(&long)), "{long}");
}

#[test]
fn who_sends_slowly_or_nothing_is_dropped() {
    let (_serving, address) = serving(limits(), Arc::new(hello));
    let mut silent = connect(address);
    let mut slow = connect(address);
    slow.write_all(b"GET / HTTP/1.1\r\nHost: local").unwrap();
    let mut idle = connect(address);
    idle.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert!(!rest(&mut silent).contains("200"));
    assert!(!rest(&mut slow).contains("200"));
    assert_eq!(
        status(&rest(&mut idle)),
        "200",
        "it is answered, and dropped when it asks nothing more"
    );
}

#[test]
fn who_reads_nothing_is_dropped() {
    let (_serving, address) = serving(limits(), Arc::new(hello));
    let mut stream = connect(address);
    stream
        .write_all(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    // The head of the answer is here, so the rest is on its way, and is not read until the server has given up.
    let mut head = [0; 16];
    stream.read_exact(&mut head).unwrap();
    // Whatever is sent to a connection that is closed comes back as an error.
    while stream.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    assert!(all.len() < 64 << 20, "{} bytes", all.len());
}

#[test]
fn connections_are_bounded_and_free_ones_are_used_again() {
    let few = Limits {
        connections: 2,
        head_time: Duration::from_secs(20),
        ..limits()
    };
    let (_serving, address) = serving(few, Arc::new(hello));
    let open = || {
        let mut stream = connect(address);
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (stream, String::from_utf8_lossy(&head).into_owned())
    };
    let (first, second) = (open(), open());
    assert_eq!((status(&first.1), status(&second.1)), ("200", "200"));
    let third = rest(&mut connect(address));
    assert_eq!(status(&third), "503", "{third}");
    assert!(third.ends_with("there are too many clients"), "{third}");
    drop(first);
    // The server notices the end of a connection in its own time.
    while status(&open().1) != "200" {
        std::thread::yield_now();
    }
}

#[test]
fn who_only_connects_makes_room_for_who_asks() {
    let few = Limits {
        connections: 3,
        head_time: Duration::from_secs(20),
        ..limits()
    };
    let (_serving, address) = serving(few, Arc::new(hello));
    let mut asked = connect(address);
    let mut request = |close: &str| {
        let text = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{close}\r\n");
        asked.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        while !answer.ends_with("hello nobody\n") {
            let mut byte = [0];
            asked.read_exact(&mut byte).unwrap();
            answer.push(char::from(byte[0]));
        }
        assert_eq!(status(&answer), "200", "{answer}");
    };
    request("");
    let mut half_open: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = connect(address);
            stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    let close = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for _ in 0..3 {
        let answer = ask(address, close);
        assert_eq!(status(&answer), "200", "{answer}");
    }
    assert_eq!(rest(&mut half_open[0]), "", "the oldest is closed");
    request("Connection: close\r\n");
}

#[test]
fn streams_are_sent_piece_by_piece_and_end_with_their_client_or_their_server() {
    type Senders = Mutex<Vec<tokio::sync::mpsc::Sender<Vec<u8>>>>;
    let senders: Arc<Senders> = Arc::default();
    let kept = Arc::clone(&senders);
    let handler = move |_: &Asked| {
        let (answer, sender) = Answer::stream("text/event-stream");
        kept.lock().unwrap().push(sender);
        answer
    };
    let (serving, address) = serving(limits(), Arc::new(handler));
    let open = || {
        let mut stream = connect(address);
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        while senders.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        (stream, senders.lock().unwrap().remove(0))
    };
    let (mut stream, sender) = open();
    for text in ["one", "two"] {
        sender
            .blocking_send(format!("data: {text}\n\n").into_bytes())
            .unwrap();
        let mut read = String::new();
        while !read.ends_with(&format!("data: {text}\n\n\r\n")) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            read.push(char::from(byte[0]));
        }
    }
    drop(stream);
    while !sender.is_closed() {
        std::thread::yield_now();
    }
    let (mut stream, sender) = open();
    drop(serving);
    assert!(
        sender.is_closed(),
        "the server has ended, and so has the stream"
    );
    assert_eq!(status(&rest(&mut stream)), "200");
}

#[test]
fn a_socket_is_for_its_group_and_goes_with_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let at = ListenAddress::Unix(path.clone());
    let bind = || Server::bind(&at, Vec::new(), limits());
    // The one of a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let serving = bind()
        .unwrap()
        .serve_in_thread("http", Arc::new(hello))
        .unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    let taken = bind().unwrap_err();
    assert!(matches!(taken, ListenError::Taken(_)), "{taken}");
    let mut stream = UnixStream::connect(&path).unwrap();
    // No page of the web reaches a socket, so every name is right.
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: sidekick.example\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert_eq!(status(&rest(&mut stream)), "200");
    drop(serving);
    assert!(!path.exists());
    std::fs::write(&path, "text").unwrap();
    let file = bind().unwrap_err();
    assert!(matches!(file, ListenError::NoSocket(_)), "{file}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
}

#[test]
fn an_address_that_is_taken_is_an_error() {
    let (_serving, address) = serving(limits(), Arc::new(hello));
    let again = Server::bind(&ListenAddress::Tcp(address), Vec::new(), limits()).unwrap_err();
    assert!(again.to_string().contains(&address.to_string()), "{again}");
}
