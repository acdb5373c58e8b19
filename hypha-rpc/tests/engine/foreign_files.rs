//! Tests files that other programs implement by hand. The responses of these files differ from
//! those of a `RemoteFile`.

use std::io::{ErrorKind, SeekFrom};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hypha_rpc::args;
use hypha_rpc::prelude::*;
use hypha_rpc::service::{IncomingCall, Method, Service, Visibility};
use hypha_wire::{Args, WireError};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::support::{payload, two_clients};

/// Registers a service that returns a file with these members, and fetches that file.
async fn offered(members: Vec<(&'static str, Value)>) -> (Client, Client, RemoteFile) {
    let (a, b) = two_clients(hypha_rpc::client::Settings::in_process());
    let mut map = hypha_rpc::Map::from_iter(members.into_iter().map(|(k, v)| (k.to_owned(), v)));
    map.insert("_rtype".into(), "iostream".into());
    let open = Method::new("open", move |call: IncomingCall| {
        let reply = call.reply(&Value::Map(map.clone()));
        async { reply }
    });
    b.register_service(
        Service::new("svc")
            .visibility(Visibility::Public)
            .method(open),
    )
    .await
    .expect("registers");
    let service = a.get_remote_service("ws/b:svc").await.expect("fetches");
    let file = service.call("open", args!()).await.expect("opens");
    (a, b, file)
}

fn function(
    run: impl Fn(&IncomingCall) -> Result<Args, WireError> + Send + Sync + 'static,
) -> Value {
    Function::new(move |call| {
        let outcome = run(&call);
        async { outcome }
    })
    .into()
}

/// A file like a JavaScript `Blob`. It has no method `tell`. Its method `seek` works only from the
/// start of the file, and returns nothing.
#[tokio::test(start_paused = true)]
async fn a_blob_is_read_and_sought() {
    let at = Arc::new(AtomicUsize::new(0));
    let data = payload(700_000);
    let (read_at, content) = (Arc::clone(&at), data.clone());
    let read = function(move |call| {
        let most: Option<usize> = call.args(&["length"])?.optional(0)?;
        let from = read_at.load(Ordering::Relaxed);
        let to = content.len().min(from + most.expect("a length"));
        read_at.store(to, Ordering::Relaxed);
        call.reply(&Binary::from(content[from..to].to_vec()))
    });
    let seek = function(move |call| {
        at.store(call.args(&["pos"])?.required(0)?, Ordering::Relaxed);
        call.reply(&())
    });
    let members = vec![("size", 700_000.into()), ("read", read), ("seek", seek)];
    let (_a, _b, mut file) = offered(members).await;
    let mut buf = [0; 10];
    file.read_exact(&mut buf).await.expect("reads");
    assert_eq!(file.stream_position().await.expect("tells"), 10);
    for (to, there) in [
        (SeekFrom::End(-10), 699_990),
        (SeekFrom::Start(5), 5),
        (SeekFrom::Current(600_000), 600_015),
        (SeekFrom::Current(-600_000), 25),
    ] {
        assert_eq!(file.seek(to).await.expect("seeks"), there);
        file.read_exact(&mut buf).await.expect("reads");
        assert_eq!(buf, data[there as usize..][..10]);
    }
    assert_eq!(
        file.write(b"x").await.expect_err("fails").kind(),
        ErrorKind::Unsupported
    );
    file.close().await.expect("nothing to close");
}

#[tokio::test(start_paused = true)]
async fn a_text_file_is_utf_8() {
    let written = Arc::new(Mutex::new(String::new()));
    let texts = Mutex::new(vec!["", "žluťoučký ", "kůň "].into_iter());
    let read = function(move |call| {
        let texts = texts.lock().expect("lock").next_back();
        call.reply(texts.unwrap_or_default())
    });
    let (write, tell) = (
        Arc::clone(&written),
        function(|call| call.reply(&1_000_000_007)),
    );
    let write = function(move |call| {
        let text: String = call.args(&["text"])?.required(0)?;
        write.lock().expect("lock").push_str(&text);
        call.reply(&text.chars().count())
    });
    let seek = function(|call| call.reply(&0));
    let members = vec![
        ("read", read),
        ("write", write),
        ("tell", tell),
        ("seek", seek),
    ];
    let (_a, _b, mut file) = offered(members).await;
    let mut text = String::new();
    file.read_to_string(&mut text).await.expect("reads");
    assert_eq!(text, "kůň žluťoučký ");
    // Positions in a text file are opaque, so byte counts cannot be added to them.
    let error = file.stream_position().await.expect_err("fails");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    file.rewind().await.expect("seeks");

    file.write_all("漢字 ž".as_bytes()).await.expect("writes");
    file.flush().await.expect("writes");
    assert_eq!(*written.lock().expect("lock"), "漢字 ž");
    // These bytes end in the middle of a character.
    let error = file
        .write_all(&"a漢".as_bytes()[..2])
        .await
        .expect_err("fails");
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
}

#[tokio::test(start_paused = true)]
async fn invalid_responses_of_a_file_are_errors() {
    let (_a, _b, mut file) = offered(vec![
        ("name", 5.into()),
        ("size", (-5).into()),
        ("read", function(|call| call.reply(&5))),
        ("tell", function(|call| call.reply("here"))),
        ("seek", function(|call| call.reply(&()))),
        ("write", function(|call| call.reply(&0))),
        ("flush", 5.into()),
    ])
    .await;
    assert_eq!((file.name(), file.size()), (None, None));
    let error = file.read(&mut [0]).await.expect_err("fails");
    assert_eq!(
        error.to_string(),
        "`read` of the file returned integer instead of bytes or text"
    );
    let error = file.stream_position().await.expect_err("fails");
    assert_eq!(
        error.to_string(),
        "`tell` of the file returned string instead of a position"
    );
    file.write_all(b"x").await.expect("is on its way");
    let error = file.flush().await.expect_err("fails");
    assert_eq!(error.kind(), ErrorKind::WriteZero);
    for value in [Value::Null, 5.into(), Value::Map(Default::default())] {
        let error = value.decode_as::<RemoteFile>().expect_err("no file");
        assert!(
            error.to_string().contains("expected a file, got"),
            "{error}"
        );
    }
}
