//! Performs the handshake. The handshake consists of the first frame of the client and the first
//! frame of the server (`docs/protocol/01-transport-websocket.md#s2` to `#s4`).

use futures_util::{SinkExt, StreamExt};
use serde::Serialize;

use super::{Identity, UserInfo};
use crate::error::{ConnectError, ConnectErrorKind, LinkError};
use crate::transport::{BoxLink, Frame};
use hypha_wire::{Map, Value};

/// First message of a client, the handshake request.
#[derive(Debug, Serialize)]
pub(crate) struct Hello<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) workspace: Option<&'a str>,
    pub(crate) token: Option<&'a str>,
    pub(crate) reconnection_token: Option<&'a str>,
}

/// Result of a successful handshake: the identity of the client and the reconnection token.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) identity: Identity,
    pub(crate) reconnection_token: Option<String>,
    /// Lifetime of the reconnection token, in seconds.
    pub(crate) reconnection_token_life_time: Option<f64>,
}

/// Sends the handshake request and reads the response. The caller applies the timeout.
pub(crate) async fn handshake(
    link: &mut BoxLink,
    hello: &Hello<'_>,
) -> Result<Granted, ConnectError> {
    let text = serde_json::to_string(hello)
        .map_err(|e| protocol("the handshake request cannot be encoded").with_source(e))?;
    // If the link ends without an error message from the server, report a lost connection, because
    // the next attempt may succeed (docs/protocol/01-transport-websocket.md#s9).
    let lost = |detail: String| ConnectError::new(ConnectErrorKind::ConnectionLost, detail);
    let broken = |e: LinkError| match e.as_connect_error() {
        Some(error) => error.clone(),
        None => lost(e.to_string()).with_cause(e.cause()),
    };
    link.send(Frame::Text(text)).await.map_err(broken)?;
    loop {
        match link.next().await {
            // Ignore these frames. The server may still forward frames that belong to the previous
            // link of this client id.
            Some(Ok(Frame::Binary(_) | Frame::Ping | Frame::Pong)) => {}
            Some(Ok(Frame::Text(text))) => return read(&text, hello),
            Some(Ok(Frame::Close(reason))) => {
                // The code 1005 means that the close frame contains no code (RFC 6455, section
                // 7.4.1).
                let (code, text) = reason.unwrap_or((1005, String::new()));
                return Err(if text.is_empty() {
                    lost(format!("the server closed the link with code {code}"))
                } else {
                    ConnectError::from_server(text)
                });
            }
            Some(Err(e)) => return Err(broken(e)),
            None => return Err(lost(String::new())),
        }
    }
}

fn protocol(detail: impl Into<String>) -> ConnectError {
    ConnectError::new(ConnectErrorKind::Protocol, detail)
}

/// Parses the server's response to the handshake request.
fn read(text: &str, hello: &Hello<'_>) -> Result<Granted, ConnectError> {
    let info: Value = serde_json::from_str::<serde_json::Value>(text)
        .map_err(|e| protocol("the handshake response is not JSON").with_source(e))?
        .into();
    let Value::Map(info) = info else {
        return Err(protocol("the handshake response is not an object"));
    };
    let field = |name: &str| info.get(name).and_then(Value::as_str).map(str::to_owned);
    match info.get("type").and_then(Value::as_str) {
        Some("connection_info") => {}
        Some("error") => {
            return Err(ConnectError::from_server(
                field("message").unwrap_or_default(),
            ));
        }
        other => {
            return Err(protocol(format!("a handshake response of type {other:?}")));
        }
    }
    let missing = |name: &str| protocol(format!("connection_info without {name}"));
    let workspace = field("workspace").ok_or_else(|| missing("workspace"))?;
    if let Some(wanted) = hello.workspace {
        if wanted != workspace {
            return Err(ConnectError::new(
                ConnectErrorKind::WrongWorkspace,
                format!("Connected to the wrong workspace: {workspace}, expected: {wanted}"),
            ));
        }
    }
    let manager_id = field("manager_id").ok_or_else(|| missing("manager_id"))?;
    let user = match info.get("user").map(Value::decode_as) {
        Some(Ok(user)) => user,
        Some(Err(e)) => return Err(protocol("the user cannot be read").with_source(e)),
        None => UserInfo::default(),
    };
    let reconnection_token = field("reconnection_token");
    let life_time = info
        .get("reconnection_token_life_time")
        .and_then(Value::as_f64);
    Ok(Granted {
        identity: Identity {
            workspace,
            client_id: hello.client_id.to_owned(),
            manager_id: Some(manager_id),
            public_base_url: field("public_base_url"),
            connection_type: "websocket",
            user,
            connection_info: without_credentials(info),
        },
        reconnection_token,
        reconnection_token_life_time: life_time,
    })
}

/// Removes the reconnection token, because programs print and log the connection info.
fn without_credentials(mut info: Map) -> Map {
    info.shift_remove("reconnection_token");
    info
}
