//! Starts a fake Hypha server that accepts every handshake, over both transports.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use hypha_rpc::{Client, ConnectOptions, Map, Value};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::rustls::ServerConfig;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::servers::{Server, answer, request, serve, write};

/// Heads of the HTTP requests that a server has received.
#[derive(Clone, Default)]
pub(crate) struct Heads(Arc<Mutex<Vec<String>>>);

impl Heads {
    pub(crate) fn push(&self, head: &str) {
        self.0.lock().push(head.to_owned());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    pub(crate) fn first(&self) -> String {
        self.0.lock().first().cloned().unwrap_or_default()
    }
}

/// Serves one connection whose first request has the head `head`.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, head: &str) {
    let info = [
        ("type", "connection_info"),
        ("workspace", "ws"),
        ("manager_id", "manager"),
    ];
    let info = info.map(|(key, value)| (key.to_owned(), Value::from(value)));
    let info = Value::from(Map::from_iter(info));
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.eq_ignore_ascii_case("sec-websocket-key")).then(|| value.trim().to_owned())
    });
    if let Some(key) = key {
        let accepted = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        let _ = socket.write_all(accepted.as_bytes()).await;
        let mut socket = WebSocketStream::from_raw_socket(socket, Role::Server, None).await;
        let _ = socket.next().await;
        let info = serde_json::to_string(&info).expect("JSON");
        let _ = socket.send(Message::text(info)).await;
        while let Some(Ok(_)) = socket.next().await {}
    } else if head.starts_with("POST") {
        write(&mut socket, &answer("200 OK", "", "")).await;
    } else {
        let frame = hypha_wire::to_vec(&info).expect("encodes");
        let mut body = (frame.len() as u32).to_be_bytes().to_vec();
        body.extend(frame);
        let head = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            body.len()
        );
        let _ = socket.write_all(head.as_bytes()).await;
        let _ = socket.write_all(&body).await;
        let _ = socket.write_all(b"\r\n").await;
        let _ = socket.flush().await;
        while socket.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    }
}

/// Starts a fake Hypha server without TLS.
pub(crate) async fn server(heads: Heads) -> Server {
    serve(move |mut socket| {
        let heads = heads.clone();
        async move {
            let head = request(&mut socket).await;
            heads.push(&head);
            accept(socket, &head).await;
        }
    })
    .await
}

/// Starts a fake Hypha server with TLS.
pub(crate) async fn encrypted(config: Arc<ServerConfig>) -> Server {
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    serve(move |socket| {
        let accepting = acceptor.accept(socket);
        async move {
            if let Ok(mut socket) = accepting.await {
                let head = request(&mut socket).await;
                accept(socket, &head).await;
            }
        }
    })
    .await
}

/// Connects, and panics if the connection fails.
pub(crate) async fn connected(connect: ConnectOptions) -> Client {
    match connect.silent(true).reconnect(None).await {
        Ok(client) => client,
        Err(error) => panic!("{}", hypha_rpc::error::report(&error)),
    }
}
