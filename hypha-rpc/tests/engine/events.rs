//! Tests events: subscribers, the event queue, and the form of sent events.

use futures_util::{FutureExt, StreamExt};
use hypha_rpc::Value;
use hypha_rpc::client::Event;

use crate::support::{PEER, breathe, client, list, map, seconds, settled};

#[tokio::test(start_paused = true)]
async fn events_go_to_their_readers() {
    let (client, mut peer) = client();
    let mut first = client.events("news");
    let mut second = client.events("news");
    let mut other = client.events("weather");
    let news =
        map! {"type": "news", "to": "*", "from": PEER, "data": map!{"n": 1i64}, "extra": 2i64};
    peer.send(news.clone(), Value::Null).await;
    for stream in [&mut first, &mut second] {
        let event = stream.next().await.expect("an event");
        assert_eq!((event.kind().as_str(), event.from()), ("news", Some(PEER)));
        assert_eq!(event.data(), &map! {"n": 1i64});
        assert_eq!(Value::Map(event.message().clone()), news);
    }
    // A client may send the data of an event in the second segment of the message.
    peer.send(
        map! {"type": "weather", "to": "*"},
        map! {"data": "rain", "from": PEER},
    )
    .await;
    let event = other.next().await.expect("an event");
    assert_eq!((event.data(), event.from()), (&Value::from("rain"), None));
    assert!(first.next().now_or_never().is_none());
    assert_eq!(client.stats().dropped_events, 0);

    // No reader is subscribed to these types.
    peer.send(map! {"type": "sports"}, Value::Null).await;
    drop((first, second));
    peer.send(map! {"type": "news"}, Value::Null).await;
    breathe().await;
    assert_eq!(client.stats().dropped_events, 2);
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_loses_events_and_the_others_do_not() {
    let (client, mut peer) = client();
    let slow = client.events("tick");
    let mut quick = client.events("tick");
    for n in 0..1500i64 {
        peer.send(map! {"type": "tick", "data": n}, Value::Null)
            .await;
        let event = quick.next().await.expect("an event");
        assert_eq!(event.data(), &Value::from(n));
    }
    assert_eq!(client.stats().dropped_events, 1500 - 1024);
    // Calls still work while a reader is slow.
    assert_eq!(
        peer.ask("services.built-in.ping", list!["ping"]).await,
        Ok("pong".into())
    );
    drop(peer);
    client.closed().await;
    let kept: Vec<Event> = slow.collect().await;
    assert_eq!(kept.len(), 1024);
    assert_eq!(kept[1023].data(), &Value::from(1023i64));
    assert!(quick.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_event_is_sent_in_one_segment() {
    let (client, mut peer) = client();
    client
        .emit("news", "*", map! {"n": 1i64})
        .await
        .expect("sent");
    let sent = peer.receive().await;
    let expected = map! {"type": "news", "to": "*", "data": map!{"n": 1i64}};
    assert_eq!(Value::Map(sent.main), expected);
    assert!(sent.extra.is_none());
    peer.nothing_for(seconds(100)).await;
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_the_connection() {
    let (client, peer) = client();
    let mut stream = client.events("news");
    drop(peer);
    assert!(stream.next().await.is_none());
    assert!(client.events("news").next().await.is_none());
}
