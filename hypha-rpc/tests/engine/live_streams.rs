//! Tests streams: the receiver can read a stream, and the stream ends when its last reader is
//! dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hypha_rpc::error::report;
use hypha_rpc::prelude::*;
use hypha_rpc::{Value, args};

use crate::live::{Alive, both};
use crate::support::{breathe, seconds};

#[tokio::test(start_paused = true)]
async fn streams_are_read_to_their_end() {
    let both = both().await;
    let counted = both.desk.count(1, 5000).await.expect("answers");
    let counted: Vec<_> = counted.map(|n| n.expect("a number")).collect().await;
    assert_eq!(counted, Vec::from_iter(1..5000));

    let words = both.desk.words("a b c").await.expect("answers");
    let words: Vec<_> = words.map(|n| n.expect("a word")).collect().await;
    assert_eq!(words, ["a", "b", "c"]);
    let error = both.desk.words("").await.expect_err("refuses");
    assert!(error.to_string().contains("no text"), "{error}");

    let sum = both.desk.sum(RemoteStream::from_iter([1.5, 2.5])).await;
    assert_eq!(sum.expect("adds"), 4.0);
    let mut none = both.desk.count(5, 5).await.expect("answers");
    assert!(none.next().await.is_none() && none.next().await.is_none());
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_error_explains_the_end_of_a_stream() {
    let both = both().await;
    let mut stream = both.desk.fail_after(2).await.expect("answers");
    for n in 0..2 {
        assert_eq!(stream.try_next().await.expect("an item"), Some(n));
    }
    let error = stream.try_next().await.expect_err("fails");
    assert!(error.to_string().contains("failed after 2"), "{error}");
    assert!(stream.try_next().await.expect("ended").is_none());

    let numbers = stream::iter([Ok(1.0), Err("no more".to_owned())]);
    let error = both
        .desk
        .sum(RemoteStream::try_new(numbers))
        .await
        .expect_err("fails");
    assert!(error.to_string().contains("no more"), "{error}");
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_another_type_is_an_error() {
    let both = both().await;
    let mut words: RemoteStream<u32> = both
        .desk
        .service()
        .call("words", args!("a"))
        .await
        .expect("answers");
    let error = words.try_next().await.expect_err("no number");
    assert!(
        report(&error).contains("expected integer, got string"),
        "{error}"
    );
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_ends_at_its_owner() {
    let both = both().await;
    // Drops a stream that was never read, a stream that waits for an item, and a stream that is
    // partly read.
    drop(both.desk.slow().await.expect("answers"));
    let mut waiting = both.desk.slow().await.expect("answers");
    assert!(
        tokio::time::timeout(seconds(1), waiting.next())
            .await
            .is_err()
    );
    drop(waiting);
    let mut read = both.desk.slow().await.expect("answers");
    both.gate.notify_one();
    read.try_next().await.expect("an item");
    breathe().await;
    assert_eq!(both.slow.load(Ordering::Relaxed), 1);
    drop(read);
    both.settled().await;
    assert_eq!(both.slow.load(Ordering::Relaxed), 0);
    // Drops a value that contains a stream, without decoding it.
    let value: Value = both
        .desk
        .service()
        .call("slow", args!())
        .await
        .expect("answers");
    drop(value);
    both.settled().await;
    assert_eq!(both.slow.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn streams_of_arguments_end_with_the_call() {
    let both = both().await;
    let alive = Arc::new(AtomicUsize::new(1));
    let endless = stream::unfold(Alive(Arc::clone(&alive)), async |alive| {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Some((1.0, alive))
    });
    let sum = both
        .desk
        .sum(RemoteStream::new(endless))
        .timeout(seconds(1));
    // The stream of numbers never ends, so the call times out.
    sum.await.expect_err("takes for ever");
    breathe().await;
    assert_eq!(alive.load(Ordering::Relaxed), 0);
    assert_eq!(both.a.stats().objects, 0);
}

#[tokio::test(start_paused = true)]
async fn streams_of_streams() {
    let both = both().await;
    let streams = both.desk.streams().await.expect("answers");
    let mut all = Vec::new();
    for stream in streams {
        all.extend(
            stream
                .map(|n| n.expect("a number"))
                .collect::<Vec<_>>()
                .await,
        );
    }
    assert_eq!(all, Vec::from_iter(0..5));
    // The streams of an argument end with the call. The call has ended before the client requests
    // this item.
    let mut doubled = both
        .desk
        .doubled(RemoteStream::from_iter([1, 2]))
        .await
        .expect("answers");
    doubled.try_next().await.expect_err("ended with the call");
    both.settled().await;
}
