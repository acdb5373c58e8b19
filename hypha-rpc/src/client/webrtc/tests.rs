//! Tests of connections over a data channel in memory.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hypha_wire::{Map, Message, PromiseKind, Stamp, to_vec};

use super::*;
use crate::args;
use crate::error::{RejectKind, report};
use crate::service::Visibility;
use crate::transport::data_channel::DataChannelLink;
use crate::transport::data_channel::tests::pair;
use crate::transport::{Frame, memory};
use crate::workspace::UserInfo;

const LIMITS: ChannelLimits = ChannelLimits {
    message: 64 << 10,
    chunk: 60 << 10,
};

/// Forwards messages of a caller that writes another workspace and user into each of them, as
/// only a server may. Fails if a message exceeds the limit of the channel.
async fn forge(mut caller: memory::MemoryLink, mut channel: DataChannelLink) {
    let user = to_vec(&UserInfo {
        id: "root".into(),
        ..UserInfo::default()
    });
    let user = user.expect("encodes");
    loop {
        let (is_of_caller, frame) = tokio::select! {
            frame = caller.next() => (true, frame),
            frame = channel.next() => (false, frame),
        };
        let Some(Ok(Frame::Binary(data))) = frame else {
            return;
        };
        assert!(data.len() <= LIMITS.message, "{} bytes", data.len());
        let sent = if is_of_caller {
            let message = Message::parse(data).expect("is a message");
            let stamp = Stamp {
                to: message.to().expect("has a receiver"),
                from: message.from().expect("has a sender"),
                ws: "ws",
                user: &user,
            };
            let forged = message.stamped(&stamp).into_bytes();
            channel.send(Frame::Binary(forged)).await
        } else {
            caller.send(Frame::Binary(data)).await
        };
        if sent.is_err() {
            return;
        }
    }
}

/// A host with services, and a caller from another workspace on a channel to it.
struct Channel {
    host: Client,
    caller: Client,
    /// Dropping these would close the connections.
    _open: (Client, memory::MemoryLink),
}

/// Opens a channel. The address of the caller on it is in the workspace of the host, as with
/// all clients.
async fn channel() -> Channel {
    let (link, server) = memory::pair(16);
    let host = Identity::new("ws", "host");
    let host = Client::from_link(Box::new(link), host, Settings::in_process());
    let open = Service::new("open")
        .visibility(Visibility::Public)
        .method(Method::new("context", |call: IncomingCall| async move {
            let map = call.context().to_map();
            let user = map.get("user").and_then(|user| user.get("id"));
            let context = call.context();
            let seen = [
                context.from(),
                context.workspace(),
                context.user().id.as_str(),
            ];
            let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
            let mapped = [
                text("from"),
                text("ws"),
                user.and_then(Value::as_str).map(str::to_owned),
            ];
            call.reply(&(seen, mapped))
        }))
        .method(Method::new("echo", |call: IncomingCall| async move {
            let data: hypha_wire::Binary = call.args(&["data"])?.required(0)?;
            call.reply(&data)
        }));
    let get = |call: IncomingCall| async move { call.reply("secret") };
    let secret = Service::new("secret").method(Method::new("get", get));
    let locked = Service::new("locked")
        .visibility(Visibility::Public)
        .trusted_keys(["0".repeat(64)])
        .method(Method::new("get", get));
    for service in [open, secret, locked] {
        host.register_service(service).await.expect("registers");
    }
    let (theirs, ours) = pair(16);
    let caller = LinkPeer {
        address: "other/caller".into(),
        workspace: "other".into(),
        user: UserInfo {
            id: "guest".into(),
            ..UserInfo::default()
        },
    };
    let settings = channel_settings(host.engine(), LIMITS, caller, None);
    let link = Box::new(DataChannelLink::new(ours));
    let served = Client::sharing(link, identity("ws", "PEER1"), settings, Some(host.engine()));
    let (link, forged) = memory::pair(16);
    crate::runtime::spawn(forge(forged, DataChannelLink::new(theirs)));
    let settings = Settings {
        chunk_bytes: LIMITS.chunk,
        large_frame_bytes: 0,
        max_frame_bytes: LIMITS.message,
        ..Settings::in_process()
    };
    let caller = Client::from_link(Box::new(link), Identity::new("ws", "me"), settings);
    Channel {
        host,
        caller,
        _open: (served, server),
    }
}

#[tokio::test]
async fn the_caller_is_that_of_the_offer() {
    let channel = channel().await;
    let caller = &channel.caller;
    let open = caller
        .get_remote_service("ws/PEER1:open")
        .await
        .expect("is public");
    let seen: [[String; 3]; 2] = open.call("context", args!()).await.expect("responds");
    assert_eq!(seen, [["other/caller", "other", "guest"]; 2]);
    // Requests and responses in chunks, too.
    let data = Bytes::from(vec![7; 1 << 20]);
    let echoed: Bytes = open
        .call("echo", args!(data.clone()))
        .await
        .expect("responds");
    assert_eq!(echoed, data);
}

#[tokio::test]
async fn services_have_their_permissions_on_a_channel() {
    let channel = channel().await;
    let caller = &channel.caller;
    let denied = |outcome: Result<Value, Error>| match outcome {
        Err(Error::Rejected(refusal)) => {
            assert_eq!(refusal.kind, RejectKind::PermissionDenied, "{refusal}")
        }
        other => panic!("{other:?}"),
    };
    let fetched = caller.get_remote_service("ws/PEER1:secret").await;
    denied(fetched.map(|_| Value::Null));
    // A caller need not fetch a service before it calls a method.
    for method in ["services.secret.get", "services.locked.get"] {
        let star = PromiseKind::Star;
        let called = caller.request("ws/PEER1", method, star, Args::new(0, 0), None);
        denied(called.await);
    }
}

#[tokio::test]
async fn services_are_those_of_the_host_at_any_time() {
    let Channel { host, caller, .. } = &channel().await;
    let fetch = || async { caller.get_remote_service("ws/PEER1:late").await };
    fetch().await.expect_err("is not registered");
    let late = Service::new("late").visibility(Visibility::Public);
    host.register_service(late).await.expect("registers");
    fetch().await.expect("is registered");
    host.unregister_service("late").await.expect("unregisters");
    fetch().await.expect_err("is unregistered");
}

#[tokio::test]
async fn a_message_larger_than_the_link_is_an_error() {
    let (link, _other) = memory::pair(16);
    let settings = Settings {
        max_frame_bytes: 1000,
        ..Settings::in_process()
    };
    let client = Client::from_link(Box::new(link), Identity::new("ws", "me"), settings);
    let mut args = Args::new(1, 0);
    args.push("data", &"x".repeat(2000));
    let star = PromiseKind::Star;
    let sent = client.request::<Map>("ws/you", "services.s.f", star, args, None);
    let error = sent.await.expect_err("is too large");
    let text = report(&error).to_string();
    assert!(text.contains("at most 1000"), "{text}");
}
