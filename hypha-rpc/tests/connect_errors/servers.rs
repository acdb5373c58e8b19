//! Starts fake servers that are not Hypha servers. The operating system chooses the port of each
//! server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

/// A running server. Dropping this value stops the server.
pub(crate) struct Server {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a server that runs `answer` with each accepted socket, in a separate task.
pub(crate) async fn serve<A>(answer: impl Fn(TcpStream) -> A + Send + 'static) -> Server
where
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    serve_at(listener, answer)
}

/// Starts a server like [`serve`], which accepts sockets from `listener`.
pub(crate) fn serve_at<A>(
    listener: TcpListener,
    answer: impl Fn(TcpStream) -> A + Send + 'static,
) -> Server
where
    A: Future<Output = ()> + Send + 'static,
{
    let port = listener.local_addr().expect("an address").port();
    let task = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket));
        }
    });
    Server { port, task }
}

/// Reads a request up to the end of its head, and returns the head.
pub(crate) async fn request(socket: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => head.extend_from_slice(&buffer[..read]),
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

pub(crate) async fn write(socket: &mut (impl AsyncWrite + Unpin), answer: &str) {
    // The client may have closed the connection already.
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.shutdown().await;
}

/// Returns an HTTP response that closes the connection.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Starts a server that sends the same bytes as the response to each request.
pub(crate) async fn plain(text: impl Into<String>) -> Server {
    let text: Arc<str> = text.into().into();
    by_request(move |_| text.to_string()).await
}

/// Starts a server that responds to each request with `of(head)`. `head` is the head of the
/// request.
pub(crate) async fn by_request(of: impl Fn(&str) -> String + Send + Sync + 'static) -> Server {
    let of = Arc::new(of);
    serve(move |mut socket| {
        let of = Arc::clone(&of);
        async move {
            let head = request(&mut socket).await;
            write(&mut socket, &of(&head)).await;
        }
    })
    .await
}

/// Starts a server that sends `text` before it receives anything. Then the server reads until the
/// client closes the connection.
pub(crate) async fn talkative(text: &'static str) -> Server {
    serve(move |mut socket| async move {
        let _ = socket.write_all(text.as_bytes()).await;
        while socket.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
    })
    .await
}

/// Starts a server that fails like a killed process. The server accepts a client on a WebSocket,
/// and drops the TCP connection at the first message, without a closing handshake. After that, it
/// responds to each request with `of(head)`, like a proxy whose server is down.
pub(crate) async fn killed_then(of: impl Fn(&str) -> String + Send + Sync + 'static) -> Server {
    let of = Arc::new(of);
    let killed = Arc::new(AtomicBool::new(false));
    serve(move |mut socket| {
        let (of, killed) = (Arc::clone(&of), Arc::clone(&killed));
        async move {
            if !killed.swap(true, Ordering::Relaxed) {
                return one_message(socket).await;
            }
            let head = request(&mut socket).await;
            write(&mut socket, &of(&head)).await;
        }
    })
    .await
}

/// Performs the handshake of a Hypha server, reads one message, and drops the socket.
async fn one_message(socket: TcpStream) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(socket).await else {
        return;
    };
    let _ = socket.next().await;
    let info = r#"{"type": "connection_info", "workspace": "ws", "manager_id": "manager"}"#;
    let _ = socket.send(Message::text(info)).await;
    let _ = socket.next().await;
}

/// Starts a web server without TLS. The server responds in plain HTTP to all bytes, even to a TLS
/// handshake.
pub(crate) async fn plain_to_tls() -> Server {
    serve(|mut socket| async move {
        let _ = socket.read(&mut [0; 1024]).await;
        write(&mut socket, &answer("400 Bad Request", "", "")).await;
    })
    .await
}

/// Starts a server that closes each connection after the request, without a response.
pub(crate) async fn silent() -> Server {
    serve(|mut socket| async move {
        request(&mut socket).await;
    })
    .await
}

/// Starts a server with TLS that responds with 404.
pub(crate) async fn encrypted(config: Arc<tokio_rustls::rustls::ServerConfig>) -> Server {
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    serve(move |socket| {
        let accepting = acceptor.accept(socket);
        async move {
            if let Ok(mut socket) = accepting.await {
                request(&mut socket).await;
                write(&mut socket, &answer("404 Not Found", "", "")).await;
            }
        }
    })
    .await
}

/// Returns a port on which no program listens.
pub(crate) async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}
