//! Forms of results over HTTP that the header `Accept` selects: files, arrays, binary data.

use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::Result;
use hypha_rpc::prelude::*;
use hypha_rpc::{Array, NdArray};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::support::{self, server};

/// A reader that never ends. Reports each read through the sender, and drops the sender when the
/// reader is dropped.
struct Endless(UnboundedSender<()>);

impl AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let _ = self.0.send(());
        buf.put_slice(&[7; 1000][..buf.remaining().min(1000)]);
        Poll::Ready(Ok(()))
    }
}

struct Desk(UnboundedSender<()>);

#[hypha_service(id = "desk", visibility = "public")]
impl Desk {
    pub(crate) async fn plain(&self) -> Vec<u8> {
        vec![1, 2]
    }

    pub(crate) async fn count(&self) -> impl Stream<Item = u8> {
        futures_util::stream::iter([1, 2])
    }

    pub(crate) async fn bytes(&self, content: &str) -> Binary {
        content.as_bytes().to_vec().into()
    }

    pub(crate) async fn image(&self) -> Array<u16, 2> {
        Array::from_vec([2, 3], vec![1, 2, 3, 4, 5, 600]).expect("fits")
    }

    pub(crate) async fn nested(&self) -> Vec<Binary> {
        vec![vec![1, 2].into()]
    }

    pub(crate) async fn frames(&self) -> impl Stream<Item = NdArray> {
        futures_util::stream::iter([NdArray::from(vec![0.5])])
    }

    pub(crate) async fn floats(&self) -> NdArray {
        NdArray::from(vec![0.5, 1.5])
    }

    /// Returns a file of this size, with a name and a type.
    pub(crate) async fn file(&self, size: usize) -> RemoteFile {
        let content: Vec<u8> = (0..size).map(|place| place as u8).collect();
        RemoteFile::from_bytes(content)
            .named("scans/µ.tif")
            .typed("image/tiff")
    }

    /// Returns a file of 5 bytes whose published size is `size`.
    pub(crate) async fn wrong(&self, size: u64) -> RemoteFile {
        RemoteFile::from_bytes("12345").named("a.txt").sized(size)
    }

    pub(crate) async fn endless(&self) -> RemoteFile {
        RemoteFile::from_reader(Endless(self.0.clone()))
    }

    pub(crate) async fn broken(&self) -> RemoteFile {
        RemoteFile::from_writer(tokio::io::sink())
    }
}

struct Lab {
    _server: hypha_server::Server,
    _host: Client,
    url: String,
    /// Reports each read of an endless file. Ends when the service and all files are dropped.
    reads: UnboundedReceiver<()>,
}

async fn lab() -> Result<Lab> {
    let server = server().await?;
    let host = hypha_rpc::connect(server.url()).await?;
    let (sender, reads) = unbounded_channel();
    host.register_service(Desk(sender)).await?;
    let url = format!("{}/{}/services/desk", server.url(), host.workspace());
    Ok(Lab {
        _server: server,
        _host: host,
        url,
        reads,
    })
}

impl Lab {
    async fn get(&self, path: &str, accept: &str) -> Result<(StatusCode, HeaderMap, Vec<u8>)> {
        self.ask(path, accept, "application/json").await
    }

    async fn ask(
        &self,
        path: &str,
        accept: &str,
        format: &str,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>)> {
        let request = support::http().get(format!("{}/{path}", self.url));
        let request = request
            .header("content-type", format)
            .header("accept", accept);
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok((status, headers, response.bytes().await?.to_vec()))
    }
}

fn kind(headers: &HeaderMap) -> &str {
    headers["content-type"].to_str().unwrap_or_default()
}

#[tokio::test]
async fn arrays_have_the_form_that_the_caller_accepts() -> Result<()> {
    let lab = lab().await?;
    let (status, headers, npy) = lab.get("image", "application/x-npy").await?;
    assert_eq!(
        (status, kind(&headers)),
        (StatusCode::OK, "application/x-npy")
    );
    assert_eq!(headers["content-length"], npy.len().to_string());
    assert_eq!(npy[..6], *b"\x93NUMPY");
    assert_eq!(
        npy[npy.len() - 12..],
        [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 0x58, 2]
    );

    // The header that a browser sends for an `<img>`.
    let img = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
    for accept in ["image/png", img] {
        let (status, headers, png) = lab.get("image", accept).await?;
        assert_eq!((status, kind(&headers)), (StatusCode::OK, "image/png"));
        assert_eq!(png[1..4], *b"PNG");
        assert_eq!(png[16..26], [0, 0, 0, 3, 0, 0, 0, 2, 16, 0]);
    }
    let (_, headers, packed) = lab.get("image", "application/msgpack").await?;
    assert_eq!(kind(&headers), "application/msgpack");
    let array: NdArray = hypha_wire::from_slice(&packed.into())?;
    assert_eq!(array.shape(), [2, 3]);
    // If several forms are accepted equally, the format of the request is used.
    let (_, headers, _) = lab.ask("image", "*/*", "application/msgpack").await?;
    assert_eq!(kind(&headers), "application/msgpack");
    assert_eq!(kind(&lab.get("image", "*/*").await?.1), "application/x-npy");

    let (status, _, text) = lab.get("floats", "image/png").await?;
    let text = String::from_utf8(text)?;
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE, "{text}");
    assert!(
        text.contains("an array of float64 with shape [2]"),
        "{text}"
    );
    let (_, headers, _) = lab
        .get("floats", "image/png, application/x-npy;q=0.5")
        .await?;
    assert_eq!(kind(&headers), "application/x-npy");
    Ok(())
}

#[tokio::test]
async fn without_accept_results_have_the_format_of_the_request() -> Result<()> {
    let lab = lab().await?;
    for (path, status, part) in [
        ("plain", 200, "[1,2]"),
        ("image", 500, "binary data, which JSON cannot represent"),
        (
            "bytes?content=x",
            500,
            "binary data, which JSON cannot represent",
        ),
        ("file?size=3", 200, r#""_rtype":"iostream""#),
        ("count", 200, "data: 1\n\n"),
    ] {
        // Uses a plain socket, because the HTTP client always sends `Accept`.
        let address = lab.url.trim_start_matches("http://");
        let (host, base) = address.split_once('/').expect("a path");
        let answer = raw(host, &format!("/{base}/{path}")).await?;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{path}: {answer}"
        );
        assert!(answer.contains(part), "{path}: {answer}");
    }
    for (path, accept, expected) in [
        ("plain", "image/png", "application/json"),
        (
            "plain",
            "application/json, text/plain, */*",
            "application/json",
        ),
        ("plain", "application/msgpack", "application/msgpack"),
        ("count", "text/event-stream", "text/event-stream"),
        ("count", "application/msgpack", "application/msgpack"),
        ("file?size=3", "application/json", "application/json"),
    ] {
        assert_eq!(
            kind(&lab.get(path, accept).await?.1),
            expected,
            "{path}, {accept}"
        );
    }
    let (_, headers, _) = lab
        .ask("plain", "application/json", "application/msgpack")
        .await?;
    assert_eq!(kind(&headers), "application/json");
    Ok(())
}

#[tokio::test]
async fn binary_results_that_accept_excludes_are_not_acceptable() -> Result<()> {
    let lab = lab().await?;
    for format in ["application/json", "application/msgpack"] {
        for (path, accept) in [
            ("image", "application/json"),
            ("image", "application/json, text/plain"),
            ("floats", "image/png"),
            ("bytes?content=x", "application/json"),
            ("bytes?content=x", "image/png"),
            ("nested", "application/json"),
        ] {
            let (status, _, text) = lab.ask(path, accept, format).await?;
            let text = String::from_utf8(text)?;
            assert_eq!(status, StatusCode::NOT_ACCEPTABLE, "{path} {accept} {text}");
            assert!(text.contains("`Accept"), "{text}");
            assert!(text.contains("application/msgpack"), "{text}");
        }
    }
    // The header of many clients permits other forms.
    let axios = "application/json, text/plain, */*";
    for path in ["image", "bytes?content=x"] {
        assert_eq!(lab.get(path, axios).await?.0, StatusCode::OK, "{path}");
    }
    // The Python server ignores the header, so `*/*` gets the error of that server.
    let (status, _, text) = lab.get("nested", "*/*").await?;
    let text = String::from_utf8(text)?;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{text}");
    assert!(text.contains("`Accept: application/msgpack`"), "{text}");
    let (status, headers, _) = lab.get("nested", "application/msgpack").await?;
    assert_eq!(
        (status, kind(&headers)),
        (StatusCode::OK, "application/msgpack")
    );
    // The head of the response precedes the first item.
    for accept in ["*/*", "application/json"] {
        let (status, _, text) = lab.get("frames", accept).await?;
        let text = String::from_utf8(text)?;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert!(text.contains("`Accept: application/msgpack`"), "{text}");
    }
    let (_, headers, body) = lab.get("frames", "application/msgpack").await?;
    assert_eq!(kind(&headers), "application/msgpack");
    assert!(!body.is_empty());
    Ok(())
}

/// Sends a request with no other headers than necessary.
async fn raw(host: &str, path: &str) -> Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(host).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn binary_data_come_as_they_are() -> Result<()> {
    let lab = lab().await?;
    let (status, headers, body) = lab.get("bytes?content=abc", "*/*").await?;
    assert_eq!((status, &*body), (StatusCode::OK, &b"abc"[..]));
    assert_eq!(kind(&headers), "application/octet-stream");
    let (_, headers, body) = lab.get("bytes?content=GIF89a", "image/*").await?;
    assert_eq!((kind(&headers), &*body), ("image/gif", &b"GIF89a"[..]));
    let (status, ..) = lab.get("bytes?content=abc", "image/*").await?;
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE);
    Ok(())
}

#[tokio::test]
async fn a_file_comes_with_its_name_and_type() -> Result<()> {
    let lab = lab().await?;
    let (status, headers, body) = lab.get("file?size=700000", "*/*").await?;
    assert_eq!((status, kind(&headers)), (StatusCode::OK, "image/tiff"));
    assert_eq!(headers["content-length"], "700000");
    assert_eq!(
        headers["content-disposition"],
        "inline; filename=\"_.tif\"; filename*=UTF-8''%C2%B5.tif"
    );
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(
        body.iter()
            .enumerate()
            .all(|(place, byte)| place as u8 == *byte)
    );
    assert_eq!(body.len(), 700_000);
    let (status, headers, body) = lab.get("file?size=0", "*/*").await?;
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    assert_eq!(headers["content-length"], "0");

    // The server derives the type from the name, and sends only as many bytes as published.
    let (_, headers, body) = lab.get("wrong?size=3", "text/plain").await?;
    assert_eq!(kind(&headers), "text/plain; charset=utf-8");
    assert_eq!(body, b"123");
    assert!(
        lab.get("wrong?size=9", "*/*").await.is_err(),
        "the file is not complete"
    );
    // Nobody can have published this size in good faith, so the size is unknown.
    let (_, headers, body) = lab.get(&format!("wrong?size={}", u64::MAX), "*/*").await?;
    assert_eq!(headers.get("content-length"), None);
    assert_eq!(body, b"12345");

    let (status, _, text) = lab.get("broken", "*/*").await?;
    let text = String::from_utf8(text)?;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("the file has no function `read`"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_file_is_read_as_fast_as_it_is_sent_and_closed_when_nobody_wants_it() -> Result<()> {
    let mut lab = lab().await?;
    let request = support::http().get(format!("{}/endless", lab.url));
    let mut response = request.header("accept", "*/*").send().await?;
    let mut len = 0;
    while len < 1_000_000 {
        len += response.chunk().await?.map_or(0, |piece| piece.len());
    }
    // The server reads the file only until the buffers of the connection are full.
    let mut reads = 0;
    while tokio::time::timeout(Duration::from_secs(1), lab.reads.recv())
        .await
        .is_ok()
    {
        reads += 1;
        assert!(reads < 200_000, "the file is read without end");
    }
    drop(response);
    // The service holds a sender too. Unregister it, so that the channel can end.
    lab._host.unregister_service("desk").await?;
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        while lab.reads.recv().await.is_some() {}
    });
    Ok(ended.await?)
}
