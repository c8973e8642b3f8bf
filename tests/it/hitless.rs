//! The pure parts of the benchmark that counts lost requests: its own figures have to be right first.

#[path = "../../benches/hitless/packet.rs"]
mod packet;
#[path = "../../benches/hitless/plot.rs"]
mod plot;
#[path = "../../benches/hitless/sample.rs"]
#[expect(dead_code, reason = "the benchmark needs more of it")]
mod sample;
#[path = "../../benches/hitless/stats.rs"]
mod stats;
#[path = "../../benches/hitless/table.rs"]
mod table;

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use packet::Packet;
use plot::{HEIGHT, TOP, height, svg};
use sample::{BODY, Failure, Outcome, Sample, body, judge};
use stats::{Slot, due, failures, percentile, time_line, times};
use table::{Table, failed, spread, time};

#[test]
fn an_answer_is_right_only_as_a_whole_and_to_this_request() {
    let right = body("a", "/7");
    assert_eq!(right.len(), BODY);
    assert_eq!(judge(200, &right, "/7"), Outcome::Answered("a".into()));
    let wrong = Outcome::Failed(Failure::Wrong);
    assert_eq!(judge(200, &right, "/8"), wrong);
    assert_eq!(judge(200, &right[..BODY - 1], "/7"), wrong);
    assert_eq!(judge(200, b"", "/7"), wrong);
    assert_eq!(judge(200, b"\xff 1\n", "/7"), wrong);
}

#[test]
fn a_status_is_its_own_failure_whatever_the_body() {
    for status in [204, 500, 502, 503, 504] {
        let outcome = Outcome::Failed(Failure::Status(status));
        assert_eq!(judge(status, &body("a", "/7"), "/7"), outcome);
    }
}

#[test]
fn errors_of_connections_have_their_kinds() {
    let table = [
        (io::ErrorKind::ConnectionRefused, Failure::Refused),
        (io::ErrorKind::ConnectionReset, Failure::Reset),
        (io::ErrorKind::BrokenPipe, Failure::Reset),
        (io::ErrorKind::UnexpectedEof, Failure::Closed),
        (io::ErrorKind::TimedOut, Failure::TimedOut),
        (io::ErrorKind::InvalidData, Failure::Wrong),
    ];
    for (kind, failure) in table {
        assert_eq!(Failure::of(&kind.into()), failure);
    }
}

#[test]
fn response_times_count_from_when_a_request_was_due() {
    let due = Instant::now();
    let sample = Sample {
        due,
        sent: due + Duration::from_millis(30),
        end: due + Duration::from_millis(40),
        outcome: Outcome::Answered("a".into()),
        raced: false,
    };
    assert_eq!(sample.took(), Duration::from_millis(40));
}

const MS: fn(u64) -> Duration = Duration::from_millis;

fn sample(start: Instant, due: u64, took: u64, outcome: Outcome) -> Sample {
    Sample {
        due: start + MS(due),
        sent: start + MS(due),
        end: start + MS(due + took),
        outcome,
        raced: false,
    }
}

#[test]
fn percentiles_are_values_that_were_seen() {
    let hundred: Vec<Duration> = (1..=100).rev().map(MS).collect();
    assert_eq!(percentile(&hundred, 50), Some(MS(50)));
    assert_eq!(percentile(&hundred, 95), Some(MS(95)));
    assert_eq!(percentile(&hundred, 100), Some(MS(100)));
    let three = [MS(3), MS(1), MS(2)];
    assert_eq!(percentile(&three, 50), Some(MS(2)));
    assert_eq!(percentile(&three, 95), Some(MS(3)));
    assert_eq!(percentile(&[MS(9)], 0), Some(MS(9)));
    assert_eq!(percentile(&[], 95), None);
}

#[test]
fn a_time_line_puts_requests_where_they_were_due() {
    let start = Instant::now();
    let right = || Outcome::Answered("a".into());
    let samples = [
        sample(start, 99, 500, right()),
        sample(start, 0, 10, right()),
        sample(start, 250, 1, Outcome::Failed(Failure::Refused)),
    ];
    let line = time_line(&samples, start);
    assert_eq!(line.len(), 3);
    let first = Slot {
        requests: 2,
        failed: 0,
        p95: Some(MS(500)),
        worst: Some(MS(500)),
    };
    assert_eq!(line[0], first);
    assert_eq!(line[1], Slot::default());
    assert_eq!(
        (line[2].requests, line[2].failed, line[2].p95),
        (1, 1, None)
    );
}

#[test]
fn failures_are_counted_by_kind_and_have_no_response_time() {
    let start = Instant::now();
    let samples = [
        sample(start, 0, 1, Outcome::Failed(Failure::Status(503))),
        sample(start, 1, 1, Outcome::Failed(Failure::Status(503))),
        sample(start, 2, 1, Outcome::Failed(Failure::Reset)),
        sample(start, 3, 7, Outcome::Answered("a".into())),
    ];
    let kinds: Vec<_> = failures(&samples).into_iter().collect();
    assert_eq!(kinds, [(Failure::Reset, 1), (Failure::Status(503), 2)]);
    assert_eq!(times(&samples), [MS(7)]);
    let early: Vec<_> = due(&samples, start, start + MS(2)).collect();
    assert_eq!(early.len(), 2);
}

#[test]
fn a_table_is_aligned_and_empty_ones_are_not_shown() {
    let mut table = Table::new("What", &["a", "long"]);
    assert_eq!(table.text(), "");
    table.row(vec!["wide".to_owned()]);
    table.row(vec!["é".to_owned(), "1".to_owned()]);
    let want = "What\n\n| a    | long |\n| ---- | ---- |\n| wide |      |\n| é    | 1    |\n";
    assert_eq!(table.text(), want);
}

#[test]
fn times_are_short() {
    let ms = Duration::from_millis;
    assert_eq!(time(None), "-");
    assert_eq!(time(Some(ms(7))), "7 ms");
    assert_eq!(time(Some(ms(2346))), "2.35 s");
    assert_eq!(spread(&[ms(3), ms(1), ms(2000)]), "3 ms / 2.00 s");
    assert_eq!(spread(&[]), "- / -");
}

#[test]
fn failures_are_told_by_kind() {
    let now = Instant::now();
    let sample = |outcome| Sample {
        due: now,
        sent: now,
        end: now,
        outcome,
        raced: false,
    };
    let right = || sample(Outcome::Answered("a".into()));
    let bad = |failure| sample(Outcome::Failed(failure));
    assert_eq!(failed(&[right(), right()]), "0");
    let mixed = [
        bad(Failure::Status(503)),
        right(),
        bad(Failure::Refused),
        bad(Failure::Status(503)),
    ];
    assert_eq!(failed(&mixed), "3 (refused 1, 503 2)");
}

#[test]
fn failures_are_red_and_text_is_text() {
    let slot = |failed| Slot {
        requests: 4,
        failed,
        p95: Some(Duration::from_millis(5)),
        worst: None,
    };
    let marks = [(Duration::from_millis(100), "a < b & c".to_owned())];
    let svg = svg("scene", &[slot(0), slot(2), Slot::default()], &marks);
    assert_eq!(svg.matches("fill=\"red\"").count(), 1);
    assert!(svg.contains("height=\"150.0\" fill=\"red\""), "{svg}");
    assert!(svg.contains("a &lt; b &amp; c"));
    assert!(svg.contains(&format!(",{:.1}\"", height(5.0))));
}

#[test]
fn response_times_stay_in_the_frame() {
    for (ms, y) in [
        (0.1, TOP + HEIGHT),
        (1.0, TOP + HEIGHT),
        (100.0, TOP + HEIGHT / 2.0),
        (1e6, TOP),
    ] {
        assert!((height(ms) - y).abs() < 1e-9);
    }
}

fn packet(flags: u8, data: u8) -> Vec<u8> {
    let mut bytes = vec![0; 40 + usize::from(data)];
    bytes[0] = 0x45;
    bytes[3] = 40 + data;
    bytes[9] = 6;
    bytes[16..20].copy_from_slice(&[127, 44, 0, 3]);
    bytes[20..24].copy_from_slice(&[0x80, 1, 0x1f, 0x90]);
    bytes[24..28].copy_from_slice(&[0, 0, 1, 2]);
    bytes[32] = 0x50;
    bytes[33] = flags;
    bytes
}

#[test]
fn openings_and_data_are_attempts_the_rest_is_not() {
    let want = |asks| Packet {
        to: Ipv4Addr::new(127, 44, 0, 3),
        port: 8080,
        from_port: 0x8001,
        sequence: 258,
        asks,
    };
    for (flags, data, asks) in [(2, 0, true), (24, 9, true), (16, 0, false), (17, 0, false)] {
        assert_eq!(Packet::parse(&packet(flags, data)), Some(want(asks)));
    }
}

#[test]
fn what_is_no_tcp_over_ipv4_is_passed_over() {
    let whole = packet(2, 0);
    for length in 0..34 {
        assert_eq!(Packet::parse(&whole[..length]), None);
    }
    let mut other = whole.clone();
    other[9] = 17;
    assert_eq!(Packet::parse(&other), None);
    other = whole;
    other[0] = 0x65;
    assert_eq!(Packet::parse(&other), None);
}
