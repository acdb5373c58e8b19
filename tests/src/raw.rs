//! Defines a WebSocket client that sends arbitrary frames and returns everything that it receives.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error as WsError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// Maximum time until a server shows an expected reaction.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A connection to a server's `/ws`.
#[derive(Debug)]
pub struct RawClient {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// Message `connection_info` of a server.
#[derive(Clone, Debug)]
pub struct Info(Value);

/// An event of a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A text frame.
    Text(String),
    /// A binary frame.
    Binary(Bytes),
    /// The connection has ended with this code and reason. The code is 1006 if the server sent no
    /// close frame.
    Closed(u16, String),
}

impl Info {
    /// Returns a string in `connection_info`, or an empty string if there is none.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    /// Returns the address of this client, `workspace/client_id`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}/{}", self.text("workspace"), self.text("client_id"))
    }
}

impl RawClient {
    /// Opens a WebSocket to `/ws` of the server at `url`. Appends `query` to the path. Sends no
    /// frame.
    pub async fn open(url: &str, query: &str) -> Result<RawClient> {
        let address = url.strip_prefix("http://").context("not an http URL")?;
        // The size of received frames has no limit, because the server adds data to a message that
        // it forwards. A forwarded frame of the maximum size would exceed a limit.
        let limits = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        let connect =
            connect_async_with_config(format!("ws://{address}/ws{query}"), Some(limits), false);
        let (socket, _) = timeout(LIMIT, connect)
            .await
            .context("no answer to the upgrade")??;
        Ok(RawClient { socket })
    }

    /// Connects as the anonymous client `client_id`.
    pub async fn connect(url: &str, client_id: &str) -> Result<(RawClient, Info)> {
        let mut client = RawClient::open(url, "").await?;
        client
            .send_text(&json!({ "client_id": client_id }).to_string())
            .await?;
        match client.next().await? {
            Event::Text(text) => {
                let info: Value = serde_json::from_str(&text)?;
                ensure!(info["type"] == "connection_info", "not connected: {text}");
                Ok((client, Info(info)))
            }
            other => bail!("not connected: {other:?}"),
        }
    }

    /// Sends a text frame.
    pub async fn send_text(&mut self, text: &str) -> Result<()> {
        Ok(self.socket.send(Message::text(text)).await?)
    }

    /// Sends a binary frame.
    pub async fn send_binary(&mut self, bytes: Vec<u8>) -> Result<()> {
        Ok(self.socket.send(Message::binary(bytes)).await?)
    }

    /// Sends an RPC message that consists of a first segment and optionally a second segment.
    pub async fn send_message(&mut self, main: &Value, extra: Option<&Value>) -> Result<()> {
        let mut frame = rmp_serde::to_vec_named(main)?;
        if let Some(extra) = extra {
            frame.extend(rmp_serde::to_vec_named(extra)?);
        }
        self.send_binary(frame).await
    }

    /// Calls `method`. The server or peer sends the response to `session`.
    pub async fn send_call(&mut self, to: &str, method: &str, session: &str) -> Result<()> {
        let main = json!({ "type": "method", "to": to, "method": method, "session": session });
        let extra = json!({ "args": [], "promise": "*", "t": 15.0 });
        self.send_message(&main, Some(&extra)).await
    }

    /// Closes the connection and waits until the server has closed it, too.
    pub async fn close(mut self) -> Result<()> {
        self.socket.close(None).await?;
        while !matches!(self.next().await?, Event::Closed(..)) {}
        Ok(())
    }

    /// Returns the next event. Fails after [`LIMIT`].
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            let message = timeout(LIMIT, self.socket.next())
                .await
                .with_context(|| format!("the server did nothing for {LIMIT:?}"))?;
            return Ok(match message {
                Some(Ok(Message::Text(text))) => Event::Text(text.as_str().to_owned()),
                Some(Ok(Message::Binary(bytes))) => Event::Binary(bytes),
                Some(Ok(Message::Close(Some(frame)))) => {
                    Event::Closed(frame.code.into(), frame.reason.as_str().to_owned())
                }
                Some(Ok(_)) => continue,
                None | Some(Err(WsError::ConnectionClosed | WsError::AlreadyClosed)) => {
                    Event::Closed(1006, String::new())
                }
                // The connection ended without a close frame.
                Some(Err(WsError::Protocol(_) | WsError::Io(_))) => {
                    Event::Closed(1006, String::new())
                }
                Some(Err(error)) => return Err(error.into()),
            });
        }
    }

    /// Returns the segments of the next RPC message.
    pub async fn next_message(&mut self) -> Result<(Value, Option<Value>)> {
        loop {
            match self.next().await? {
                Event::Binary(frame) => return decode(&frame),
                Event::Text(_) => {}
                Event::Closed(code, reason) => bail!("closed with {code} {reason:?}"),
            }
        }
    }

    /// Sends a ping in a text frame and waits for the pong. Returns the RPC messages that arrive
    /// before the pong.
    ///
    /// The server handles the frames of a connection in order. Therefore, when the pong arrives,
    /// the server has handled all earlier frames.
    pub async fn ping(&mut self) -> Result<Vec<(Value, Option<Value>)>> {
        self.send_text(r#"{"type":"ping"}"#).await?;
        let mut messages = Vec::new();
        loop {
            match self.next().await? {
                Event::Text(text) => {
                    let answer: Value = serde_json::from_str(&text)?;
                    ensure!(answer["type"] == "pong", "not a pong: {text}");
                    return Ok(messages);
                }
                Event::Binary(frame) => messages.push(decode(&frame)?),
                Event::Closed(code, reason) => bail!("closed with {code} {reason:?}"),
            }
        }
    }
}

fn decode(frame: &[u8]) -> Result<(Value, Option<Value>)> {
    let mut rest = frame;
    let main = rmp_serde::from_read(&mut rest)?;
    let extra = if rest.is_empty() {
        None
    } else {
        Some(rmp_serde::from_read(&mut rest)?)
    };
    Ok((main, extra))
}
