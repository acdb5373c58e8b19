//! Checks the client against recorded text frames: the client must send the recorded first and
//! periodic messages, and handle the recorded responses of the server.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hypha_rpc::error::ConnectErrorKind;
use hypha_rpc::{Client, Error};
use hypha_wire::valid_client_id;
use serde_json::Value as Json;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::rendering::load;

fn entry(file: &str, name: &str) -> Json {
    let found = load(file).into_iter().find(|entry| entry["name"] == name);
    found.unwrap_or_else(|| panic!("{file} has no {name}"))
}

async fn next_text(socket: &mut WebSocketStream<TcpStream>) -> Json {
    loop {
        if let Message::Text(text) = socket.next().await.expect("a frame").expect("a frame") {
            return serde_json::from_str(text.as_str()).expect("JSON");
        }
    }
}

async fn say(socket: &mut WebSocketStream<TcpStream>, recorded: &Json) {
    let text = recorded["decoded"].to_string();
    socket.send(Message::text(text)).await.expect("sent");
}

/// Connects with the recorded options. Checks the first frame of the client, and sends the recorded
/// response.
async fn handshake(
    file: &str,
    step: &str,
) -> (Result<Client, Error>, WebSocketStream<TcpStream>, Json) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let hello = entry(file, &format!("{step}/01"))["decoded"].clone();
    let answer = entry(file, &format!("{step}/02"));
    // Set a short interval, so that the client sends the recorded control messages soon.
    let soon = Duration::from_millis(20);
    let mut connect = hypha_rpc::connect(url)
        .silent(true)
        .ping_interval(soon)
        .token_refresh_interval(soon);
    let given = |key: &str| hello[key].as_str().map(str::to_owned);
    if let Some(id) = given("client_id") {
        connect = connect.client_id(id);
    }
    if let Some(workspace) = given("workspace") {
        connect = connect.workspace(workspace);
    }
    if let Some(token) = given("token") {
        connect = connect.token(token);
    }
    if let Some(token) = given("reconnection_token") {
        connect = connect.reconnection_token(token);
    }
    let serving = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut socket = accept_async(stream).await.expect("an upgrade");
        let said = next_text(&mut socket).await;
        for key in ["workspace", "token", "reconnection_token"] {
            assert_eq!(said[key], hello[key], "{step}: {key}");
        }
        match &hello["client_id"] {
            // The client generated its id itself.
            Json::Null => assert!(said["client_id"].as_str().is_some_and(valid_client_id)),
            id => assert_eq!(said["client_id"], *id, "{step}"),
        }
        say(&mut socket, &answer).await;
        socket
    };
    let (outcome, socket) = tokio::join!(connect.into_future(), serving);
    (outcome, socket, answer["decoded"].clone())
}

#[tokio::test]
async fn recorded_connections() {
    for (file, step) in [
        ("frames-handshake.json", "connect_token"),
        ("frames-handshake.json", "connect_anonymous"),
        ("frames-calls-javascript.json", "connect"),
    ] {
        let (client, _socket, info) = handshake(file, step).await;
        let client = client.expect(step);
        let identity = client.identity();
        assert_eq!(info["workspace"], identity.workspace, "{step}");
        assert_eq!(
            info["manager_id"].as_str(),
            identity.manager_id.as_deref(),
            "{step}"
        );
        assert_eq!(info["user"]["id"], identity.user.id, "{step}");
        assert_eq!(
            info["user"]["is_anonymous"], identity.user.is_anonymous,
            "{step}"
        );
        assert_eq!(
            info["reconnection_token"].as_str(),
            client.reconnection_token().as_deref()
        );
        assert_eq!(client.stats().dropped_malformed, 0);
    }
}

#[tokio::test]
async fn recorded_refusals() {
    let refused = async |step: &str| match handshake("frames-handshake.json", step).await.0 {
        Err(Error::Connect(error)) => error,
        other => panic!("{step}: {other:?}"),
    };
    let error = refused("error_bad_token").await;
    assert_eq!(error.kind(), ConnectErrorKind::TokenRejected, "{error:?}");
    let error = refused("error_wrong_workspace").await;
    assert_eq!(error.kind(), ConnectErrorKind::WrongWorkspace, "{error:?}");
    // The server requires a client id, and the recorded client sent none.
    let error = refused("error_client_id_missing").await;
    assert_eq!(error.kind(), ConnectErrorKind::Refused, "{error:?}");
    let error = refused("reconnect_auth").await;
    assert_eq!(error.kind(), ConnectErrorKind::Refused, "{error:?}");
}

#[tokio::test]
async fn recorded_control_messages() {
    let file = "frames-handshake.json";
    let (client, mut socket, _) = handshake(file, "connect_anonymous").await;
    let client = client.expect("connected");
    let mut wanted: Vec<Json> = ["keepalive/01", "keepalive/02"]
        .map(|name| entry(file, name)["decoded"].clone())
        .into();
    while !wanted.is_empty() {
        let said = next_text(&mut socket).await;
        wanted.retain(|text| *text != said);
    }
    say(&mut socket, &entry(file, "keepalive/03")).await;
    let token = entry(file, "keepalive/04");
    say(&mut socket, &token).await;
    let newest = token["decoded"]["reconnection_token"].as_str();
    while client.reconnection_token().as_deref() != newest {
        // Wait for the next ping of the client. It shows that the client has read the frame and is
        // still connected.
        next_text(&mut socket).await;
    }
}
