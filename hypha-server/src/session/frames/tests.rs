//! Exchanges frames with the WebSocket library that the clients use, over streams that deliver a
//! few bytes at a time.

use std::sync::Arc;

use futures_util::{FutureExt, SinkExt, StreamExt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::memory::{Budget, MemoryLimits};

const LIMIT: usize = 6 * 1024 * 1024;
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Message sizes near every threshold: the length formats in the head, the buffers, and the
/// combined writes.
const SIZES: [usize; 16] = [
    0, 1, 7, 125, 126, 2047, 4096, 8191, 8193, 16_384, 16_385, 65_535, 65_536, 65_600, 262_144,
    2_500_000,
];

fn account() -> Account {
    budget(1 << 30).open("peer")
}

fn budget(account: usize) -> Arc<Budget> {
    Budget::new(MemoryLimits {
        process: 1 << 30,
        owner: 1 << 30,
        account,
        patience: Duration::from_secs(10),
    })
}

type Client = WebSocketStream<DuplexStream>;

async fn pair(
    line: usize,
) -> (
    Client,
    Reader<ReadHalf<DuplexStream>>,
    Writer<WriteHalf<DuplexStream>>,
) {
    let (near, far) = duplex(line);
    let client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    let (input, output) = split(near);
    (
        client,
        Reader::new(input, Bytes::new(), LIMIT, account()),
        Writer::new(output, WRITE_TIMEOUT),
    )
}

fn content(size: usize) -> Bytes {
    (0..size).map(|i| (i * 31 % 251) as u8).collect()
}

/// Returns a frame as a client writes it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        middle @ 126..0x1_0000 => {
            out.push(0xfe);
            out.put_u16(middle as u16);
        }
        long => {
            out.push(0xff);
            out.put_u64(long as u64);
        }
    }
    let mask = [1, 2, 3, 4];
    out.put_slice(&mask);
    out.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    out
}

/// Reads `input` until its end or an error. Up to `at_once` bytes of `input` arrive at a time.
async fn all(input: &[u8], at_once: usize) -> (Vec<Incoming>, Option<ReadError>) {
    let (near, mut far) = duplex(at_once);
    let sending = async {
        let _ = far.write_all(input).await;
        drop(far);
    };
    let reading = async {
        let mut reader = Reader::new(near, Bytes::new(), LIMIT, account());
        let mut read = Vec::new();
        loop {
            match reader.next().await {
                Ok(Some(incoming)) => read.push(incoming),
                Ok(None) => break (read, None),
                Err(broken) => break (read, Some(broken)),
            }
        }
    };
    tokio::join!(reading, sending).0
}

#[tokio::test]
async fn frames_are_exchanged_with_the_library() {
    for (line, largest) in [(64, 20_000), (5000, 300_000), (1 << 20, usize::MAX)] {
        let sizes = || SIZES.into_iter().filter(move |size| *size < largest);
        let (client, mut reader, mut writer) = pair(line).await;
        let (mut to_server, mut from_server) = client.split();
        let there = async {
            for size in sizes() {
                to_server
                    .feed(Message::Binary(content(size)))
                    .await
                    .unwrap();
                to_server
                    .feed(Message::text("ü".repeat(size / 2)))
                    .await
                    .unwrap();
            }
            to_server.send(Message::Ping(content(100))).await.unwrap();
        };
        let echo = async {
            loop {
                match reader.next().await.unwrap().unwrap() {
                    Incoming::Binary(data) => {
                        let message = Stamped {
                            head: data.slice(..data.len() / 3),
                            rest: data.slice(data.len() / 3..),
                        };
                        writer.binary(message).await.unwrap();
                    }
                    Incoming::Text(text) => writer.text(&text).await.unwrap(),
                    Incoming::Ping(content) => break writer.pong(&content).await.unwrap(),
                    other => panic!("{other:?}"),
                }
            }
            writer.close(Some((1013, "later"))).await.unwrap();
            writer.flush().await.unwrap();
        };
        let back = async {
            for size in sizes() {
                let message = from_server.next().await.unwrap().unwrap();
                assert!(
                    message == Message::Binary(content(size)),
                    "{size} bytes, line {line}"
                );
                let message = from_server.next().await.unwrap().unwrap();
                assert!(
                    message == Message::text("ü".repeat(size / 2)),
                    "{size}, line {line}"
                );
            }
            let pong = from_server.next().await.unwrap().unwrap();
            assert_eq!(pong, Message::Pong(content(100)));
            let Message::Close(Some(close)) = from_server.next().await.unwrap().unwrap() else {
                panic!("no close frame");
            };
            assert_eq!(
                (u16::from(close.code), close.reason.as_str()),
                (1013, "later")
            );
        };
        tokio::join!(there, echo, back);
        assert!(writer.joined.capacity() <= KEEP_MAX && reader.buffer.capacity() <= BUFFER_MAX);
    }
}

#[tokio::test]
async fn futures_that_are_dropped_lose_nothing() {
    let (client, mut reader, mut writer) = pair(50).await;
    let (mut to_server, mut from_server) = client.split();
    let there = async {
        for size in SIZES.into_iter().filter(|size| *size < 100_000) {
            to_server
                .send(Message::Binary(content(size)))
                .await
                .unwrap();
        }
    };
    let echo = async {
        for size in SIZES.into_iter().filter(|size| *size < 100_000) {
            let read = loop {
                match reader.next().now_or_never() {
                    Some(read) => break read.unwrap().unwrap(),
                    None => tokio::task::yield_now().await,
                }
            };
            assert!(read == Incoming::Binary(content(size)), "{size}");
            for text in ["before", "after"] {
                while writer.text(text).now_or_never().is_none() {
                    tokio::task::yield_now().await;
                }
                while writer.binary(content(size).into()).now_or_never().is_none() {
                    tokio::task::yield_now().await;
                }
            }
        }
        while writer.flush().now_or_never().is_none() {
            tokio::task::yield_now().await;
        }
    };
    let back = async {
        for size in SIZES.into_iter().filter(|size| *size < 100_000) {
            for text in ["before", "after"] {
                assert_eq!(
                    from_server.next().await.unwrap().unwrap(),
                    Message::text(text)
                );
                let message = from_server.next().await.unwrap().unwrap();
                assert!(message == Message::Binary(content(size)), "{size}");
            }
        }
    };
    tokio::join!(there, echo, back);
}

#[tokio::test]
async fn a_message_in_several_frames_is_one_and_control_frames_may_come_between() {
    let mut input = frame(0x01, "a ü".as_bytes().split_at(3).0);
    input.extend(frame(0x89, b"ping"));
    input.extend(frame(0x00, &[]));
    input.extend(frame(0x80, "a ü".as_bytes().split_at(3).1));
    input.extend(frame(0x02, &content(70_000)));
    input.extend(frame(0x8a, b""));
    input.extend(frame(0x80, &content(3)));
    input.extend(frame(0x88, &[0x03, 0xe9, b'x']));
    let whole: Bytes = [content(70_000), content(3)].concat().into();
    for at_once in [1, 100, 1 << 20] {
        let (read, broken) = all(&input, at_once).await;
        let expected = [
            Incoming::Ping("ping".into()),
            Incoming::Text("a ü".to_owned()),
            Incoming::Pong,
            Incoming::Binary(whole.clone()),
            Incoming::Close(Some(1001)),
        ];
        assert!(broken.is_none() && read == expected, "{at_once} at once");
    }
}

#[tokio::test]
async fn protocol_violations_are_named() {
    let mut unmasked = frame(0x82, b"x");
    unmasked[1] &= 0x7f;
    let inside = [frame(0x02, b"x"), frame(0x82, b"y")].concat();
    for (what, input) in [
        ("a frame has a reserved bit set", frame(0xc2, b"x")),
        ("a frame is not masked", unmasked),
        ("a continuation frame has no message", frame(0x80, b"x")),
        ("a message begins inside another", inside),
        (
            "a control frame is too long or fragmented",
            frame(0x89, &[0; 126]),
        ),
        (
            "a control frame is too long or fragmented",
            frame(0x09, b"x"),
        ),
        ("a frame has an unknown opcode", frame(0x83, b"x")),
        ("a text frame is not UTF-8", frame(0x81, &[0xff])),
    ] {
        for at_once in [1, 1000] {
            match all(&input, at_once).await {
                (read, Some(ReadError::Protocol(said))) => assert!(said == what && read.is_empty()),
                other => panic!("{what}: {other:?}"),
            }
        }
    }
    // The server does not send reserved codes back, and a single byte is not a code.
    for content in [vec![], vec![3], vec![0x03, 0xed], vec![0xff, 0xff]] {
        let (read, broken) = all(&frame(0x88, &content), 1000).await;
        assert!(
            broken.is_none() && read == [Incoming::Close(None)],
            "{content:?}"
        );
    }
}

#[tokio::test]
async fn too_large_frames_are_refused_by_their_head() {
    let head = |first, length: u64| {
        let mut out = vec![first, 0xff];
        out.put_u64(length);
        out.put_u32(0);
        out
    };
    let mut in_pieces = frame(0x02, &content(LIMIT));
    in_pieces.extend(head(0x80, 1));
    for input in [
        head(0x82, LIMIT as u64 + 1),
        head(0x82, u64::MAX),
        in_pieces,
    ] {
        let (read, broken) = all(&input, 1 << 20).await;
        assert!(read.is_empty() && matches!(broken, Some(ReadError::TooLarge)));
    }

    // A large declared length costs the server little memory.
    let (near, mut far) = duplex(1000);
    let mut reader = Reader::new(near, Bytes::new(), usize::MAX, account());
    far.write_all(&head(0x82, 1 << 40)).await.unwrap();
    assert!(reader.next().now_or_never().is_none());
    assert!(matches!(&reader.begun, Some((_, Some(own))) if own.0.capacity() <= RESERVE_FIRST));
}

#[tokio::test]
async fn an_idle_connection_keeps_little() {
    let (mut client, mut reader, mut writer) = pair(1 << 20).await;
    for size in [60_000, 1_000_000, 100, 100] {
        client.send(Message::Binary(content(size))).await.unwrap();
        let read = reader.next().await.unwrap().unwrap();
        assert!(read == Incoming::Binary(content(size)));
        writer.binary(content(size).into()).await.unwrap();
        writer.flush().await.unwrap();
        assert!(reader.next().now_or_never().is_none());
        client.next().await.unwrap().unwrap();
        // No buffer keeps the size of a large message.
        assert!(reader.buffer.capacity() <= 4 * BUFFER_MIN && reader.begun.is_none());
        assert!(writer.joined.capacity() <= KEEP_MAX && writer.large.is_empty());
    }
    assert!(
        reader.buffer.capacity() <= BUFFER_MIN,
        "{}",
        reader.buffer.capacity()
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_is_served_and_a_stalled_one_is_not() {
    let (mut near, far) = duplex(1000);
    let mut writer = Writer::new(far, WRITE_TIMEOUT);
    writer.binary(content(20_000).into()).await.unwrap();
    let slow = async {
        let mut taken = 0;
        let mut scratch = [0; 500];
        while taken < 18_000 {
            tokio::time::sleep(WRITE_TIMEOUT / 2).await;
            taken += near.read(&mut scratch).await.unwrap();
        }
    };
    tokio::select! {
        end = writer.flush() => panic!("{end:?}"),
        () = slow => {}
    }
    assert!(matches!(writer.flush().await, Err(WriteError::Stalled)));
}

/// Reads invalid frames. The result does not depend on where the bytes are split, and nothing
/// panics.
#[tokio::test]
async fn any_bytes_result_in_frames_or_an_error() {
    let mut rng = StdRng::seed_from_u64(7);
    for round in 0..500 {
        let mut input = Vec::new();
        for _ in 0..rng.random_range(1..6) {
            let first = [0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a][rng.random_range(0..8)];
            let size = SIZES[rng.random_range(0..8)];
            input.extend(frame(first, &content(size.min(2100))));
        }
        for _ in 0..rng.random_range(0..3) {
            let at = rng.random_range(0..input.len().min(20));
            input[at] = rng.random();
        }
        let whole = all(&input, 1 << 20).await;
        let bits = all(&input, rng.random_range(1..50)).await;
        let [(whole, broken), (bits, broken_too)] =
            [whole, bits].map(|(read, end)| (read, end.map(|end| format!("{end:?}"))));
        assert!(
            whole == bits && broken == broken_too,
            "round {round}: {broken:?} {broken_too:?}"
        );
    }
}

/// Returns the head of a frame of `length` bytes, without the payload.
fn head(first: u8, length: usize) -> Vec<u8> {
    let mut head = vec![first, 0xff];
    head.put_u64(length as u64);
    head.put_slice(&[0; 4]);
    head
}

#[tokio::test(start_paused = true)]
async fn memory_is_charged_as_data_arrives_and_until_the_message_is_dropped() {
    let budget = budget(1 << 30);
    let (near, mut far) = duplex(8 << 20);
    let mut reader = Reader::new(near, Bytes::new(), LIMIT, budget.open("peer"));
    far.write_all(&head(0x82, 4 << 20)).await.unwrap();
    assert!(reader.next().now_or_never().is_none());
    assert!(
        budget.stats().used <= RESERVE_FIRST,
        "a declared length costs nothing"
    );
    far.write_all(&vec![0; 2 << 20]).await.unwrap();
    while timeout(Duration::from_secs(1), reader.next()).await.is_ok() {}
    assert!(budget.stats().used >= 2 << 20);
    far.write_all(&vec![0; 2 << 20]).await.unwrap();
    assert!(matches!(reader.next().await, Ok(Some(Incoming::Binary(_)))));
    let charge = reader.take_charge().unwrap();
    assert!(charge.bytes() >= 4 << 20);
    drop(charge);
    let buffer = budget.stats().used;
    assert!(buffer <= BUFFER_MAX, "{buffer}");
    // The client sends unfinished messages, one in a single frame and one in several frames.
    far.write_all(&frame(0x02, &vec![0; 1 << 20]))
        .await
        .unwrap();
    for _ in 0..300 {
        far.write_all(&frame(0x00, &[0; 1000])).await.unwrap();
    }
    assert!(
        timeout(Duration::from_secs(1), reader.next())
            .await
            .is_err()
    );
    let used = budget.stats().used;
    assert!((1_348_576..3 << 20).contains(&used), "{used}");
    reader.forget();
    assert_eq!(budget.stats().used, 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_without_memory_is_refused_after_a_wait() {
    for first in [0x82, 0x02] {
        let budget = budget(3 << 20);
        let (near, mut far) = duplex(8 << 20);
        let mut reader = Reader::new(near, Bytes::new(), LIMIT, budget.open("peer"));
        if first == 0x82 {
            far.write_all(&head(first, 4 << 20)).await.unwrap();
            far.write_all(&vec![0; 4 << 20]).await.unwrap();
        } else {
            far.write_all(&frame(first, &vec![0; 2 << 20]))
                .await
                .unwrap();
            far.write_all(&frame(0x80, &vec![0; 2 << 20]))
                .await
                .unwrap();
        }
        let refused = reader.next().await;
        assert!(
            matches!(refused, Err(ReadError::OverBudget(_))),
            "{refused:?}"
        );
        assert!(budget.stats().peak <= 3 << 20);
    }
}
