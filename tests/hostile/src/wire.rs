//! Encodes WebSocket frames, RPC messages and HTTP requests by hand, so that attacks can send
//! invalid data.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Timeout for each step of a connection.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Opcode of a text frame.
pub const TEXT: u8 = 1;
/// Opcode of a binary frame.
pub const BINARY: u8 = 2;
/// Opcode of a close frame.
pub const CLOSE: u8 = 8;
/// Opcode of a ping.
pub const PING: u8 = 9;

/// Connects to the server at `to` from the loopback address `from`.
pub async fn connect(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens a WebSocket. Returns the receiving and the sending half of the connection.
pub async fn open(from: Ipv4Addr, to: SocketAddr) -> Result<(Reader, Writer)> {
    let (read, mut write) = connect(from, to).await?.into_split();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {to}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    write.write_all(request.as_bytes()).await?;
    let mut reader = Reader(BufReader::new(read));
    let head = timeout(TIMEOUT, head(&mut reader.0)).await??;
    ensure!(head.starts_with("HTTP/1.1 101"), "no upgrade: {head}");
    Ok((reader, Writer(write)))
}

/// The sending half of a WebSocket.
#[derive(Debug)]
pub struct Writer(OwnedWriteHalf);

impl Writer {
    /// Sends a complete frame.
    pub async fn frame(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = frame_head(opcode, payload.len());
        if payload.len() < 64 * 1024 {
            frame.extend_from_slice(payload);
            return self.0.write_all(&frame).await;
        }
        self.0.write_all(&frame).await?;
        self.0.write_all(payload).await
    }

    /// Sends only the header of a frame. The header declares a payload of `len` bytes.
    pub async fn announce(&mut self, opcode: u8, len: usize) -> io::Result<()> {
        self.0.write_all(&frame_head(opcode, len)).await
    }

    /// Sends bytes without a frame header.
    pub async fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }
}

/// Returns the header of a masked frame. The mask is zero, so the payload is sent unchanged.
fn frame_head(opcode: u8, len: usize) -> Vec<u8> {
    let mut head = vec![0x80 | opcode];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < 126 => head.push(0x80 | len),
        (_, Ok(len)) => {
            head.push(0x80 | 126);
            head.extend(len.to_be_bytes());
        }
        _ => {
            head.push(0x80 | 127);
            head.extend((len as u64).to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head
}

/// The receiving half of a WebSocket.
#[derive(Debug)]
pub struct Reader(BufReader<OwnedReadHalf>);

/// A received frame.
#[derive(Clone, Debug)]
pub enum Frame {
    /// A text frame.
    Text(String),
    /// A binary frame, which contains one RPC message.
    Binary(Bytes),
    /// A ping or a pong.
    Control,
    /// The connection has ended with this code and reason. The code is 1006 if the server sent no
    /// close frame.
    Closed(u16, String),
}

impl Reader {
    /// Returns the next frame. If the connection ends, returns [`Frame::Closed`].
    pub async fn next(&mut self) -> Frame {
        match self.read().await {
            Ok(frame) => frame,
            Err(error) => Frame::Closed(1006, error.kind().to_string()),
        }
    }

    async fn read(&mut self) -> io::Result<Frame> {
        let opcode = self.0.read_u8().await? & 0x0f;
        let len = match self.0.read_u8().await? & 0x7f {
            126 => usize::from(self.0.read_u16().await?),
            127 => usize::try_from(self.0.read_u64().await?).unwrap_or(usize::MAX),
            len => usize::from(len),
        };
        let mut payload = vec![0; len];
        self.0.read_exact(&mut payload).await?;
        Ok(match opcode {
            TEXT => Frame::Text(String::from_utf8_lossy(&payload).into_owned()),
            BINARY => Frame::Binary(payload.into()),
            CLOSE => {
                let code = payload
                    .first_chunk()
                    .map_or(1005, |c| u16::from_be_bytes(*c));
                let reason = payload.get(2..).unwrap_or_default();
                Frame::Closed(code, String::from_utf8_lossy(reason).into_owned())
            }
            _ => Frame::Control,
        })
    }

    /// Reads and discards bytes until the connection ends.
    pub async fn drain(mut self) {
        let mut buffer = vec![0; 64 * 1024];
        while matches!(self.0.read(&mut buffer).await, Ok(1..)) {}
    }
}

/// Encodes a value in msgpack.
#[must_use]
pub fn pack(value: &Value) -> Vec<u8> {
    hypha_wire::to_vec(value).unwrap_or_default()
}

/// Returns a list of nils in msgpack. The encoded list has `len` bytes.
#[must_use]
pub fn nils(len: usize) -> Vec<u8> {
    let count = len.saturating_sub(5);
    let mut list = vec![0xdd];
    list.extend((count as u32).to_be_bytes());
    list.resize(5 + count, 0xc0);
    list
}

/// Returns binary data in msgpack. The data consists of `len` zero bytes.
#[must_use]
pub fn zeros(len: usize) -> Vec<u8> {
    let mut data = vec![0xc6];
    data.extend((len as u32).to_be_bytes());
    data.resize(5 + len, 0);
    data
}

/// Returns the content of binary data that is encoded as msgpack.
pub fn unpacked(data: &Bytes) -> Bytes {
    let head = match data.first() {
        Some(0xc4) => 2,
        Some(0xc5) => 3,
        _ => 5,
    };
    data.slice(head.min(data.len())..)
}

/// Returns an RPC message. `args` are encoded as msgpack. The message requests a response if
/// `session` is set.
#[must_use]
pub fn message(to: &str, method: &str, session: Option<&str>, args: &[&[u8]]) -> Vec<u8> {
    let mut main = serde_json::json!({ "type": "method", "to": to, "method": method });
    if let Some(session) = session {
        main["session"] = session.into();
    }
    let mut frame = pack(&main);
    frame.extend(if session.is_some() {
        b"\x83\xa4args"
    } else {
        b"\x81\xa4args"
    });
    frame.push(0x90 | args.len() as u8);
    for arg in args {
        frame.extend_from_slice(arg);
    }
    if session.is_some() {
        frame.extend(b"\xa7promise\xa1*\xa1t\xcb");
        frame.extend(15.0f64.to_be_bytes());
    }
    frame
}

/// Returns the message that completes a call successfully.
#[must_use]
pub fn resolution(to: &str, session: &str, result: &[u8]) -> Vec<u8> {
    let main = serde_json::json!({
        "type": "method", "to": to, "method": format!("{session}.resolve"), "parent": session,
    });
    let mut frame = pack(&main);
    frame.extend(b"\x81\xa4args\x91");
    frame.extend_from_slice(result);
    frame
}

/// Reads the head of an HTTP message, up to and including the empty line.
async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < 64 * 1024, "an endless head");
        let byte = stream.read_u8().await;
        head.push(byte.map_err(|error| anyhow::anyhow!("no response: {}", error.kind()))?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Reads the status of an HTTP response.
pub async fn status(stream: &mut (impl AsyncReadExt + Unpin)) -> Result<u16> {
    let head = timeout(TIMEOUT, head(stream))
        .await
        .context("no response")??;
    let status = head.split(' ').nth(1).context("no status")?;
    Ok(status.parse()?)
}

/// Returns the head of a request.
#[must_use]
pub fn request(method: &str, path: &str, headers: &str, body: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: hostile\r\nConnection: close\r\n{headers}\
         Content-Length: {body}\r\n\r\n"
    )
}

/// Sends a request and reads the whole response. Returns the status and the body.
pub async fn exchange(
    from: Ipv4Addr,
    to: SocketAddr,
    head: &str,
    body: &[u8],
) -> Result<(u16, Vec<u8>)> {
    let (read, mut write) = connect(from, to).await?.into_split();
    let mut read = BufReader::new(read);
    // Send and read concurrently, because a server that rejects a request may close the connection
    // before it has read the body.
    let sending = async {
        if write.write_all(head.as_bytes()).await.is_ok() {
            let _ = write.write_all(body).await;
        }
        std::future::pending::<()>().await;
    };
    let receiving = async {
        let status = status(&mut read).await?;
        let mut all = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match read.read(&mut buffer).await {
                Ok(0) | Err(_) => return anyhow::Ok((status, all)),
                // Keep only the start of a long body.
                Ok(len) if all.len() < 64 * 1024 => all.extend_from_slice(&buffer[..len]),
                Ok(_) => {}
            }
        }
    };
    tokio::select! {
        received = receiving => received,
        () = sending => bail!("not reached"),
    }
}
