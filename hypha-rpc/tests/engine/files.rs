//! Tests files: a receiver can read, seek and write a file of a peer, and the peer closes the file
//! in time.

use std::collections::BTreeMap;
use std::io::{Cursor, ErrorKind, SeekFrom};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures_util::{FutureExt, TryStreamExt};
use hypha_rpc::prelude::*;
use hypha_rpc::{Error, args};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncSeek, AsyncSeekExt, AsyncWrite, AsyncWriteExt, ReadBuf,
};

use crate::support::{breathe, payload, seconds, settled, text, two_clients};

/// Upload whose timeout serde can read only in a second attempt, after the file.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
enum Upload {
    One {
        file: RemoteFile,
        timeout: Duration,
    },
    Several {
        files: Vec<RemoteFile>,
        timeouts: BTreeMap<u8, Duration>,
    },
}

/// Service that uses files.
#[hypha_service(id = "desk", visibility = "public")]
trait Desk {
    async fn read_all(&self, file: RemoteFile) -> std::io::Result<Binary>;
    async fn beginning(&self, file: RemoteFile, len: usize) -> std::io::Result<Binary>;
    async fn part(&self, file: RemoteFile, from: i64, len: usize) -> std::io::Result<Binary>;
    async fn write_to(&self, file: RemoteFile, data: Binary) -> std::io::Result<()>;
    async fn keep(&self, file: RemoteFile);
    async fn read_kept(&self) -> std::io::Result<Binary>;
    async fn open(&self, size: usize) -> RemoteFile;
    async fn upload(&self, upload: Upload) -> std::io::Result<(Duration, Binary)>;
    async fn prepared(&self, size: usize) -> Upload;
}

/// Files of [`Desk::prepared`], where the caller expects another type.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind")]
enum Wrong {
    #[expect(dead_code, reason = "no value fits")]
    Several {
        files: Vec<RemoteFile>,
        timeouts: BTreeMap<u8, String>,
    },
}

#[derive(Default)]
struct Impl {
    kept: Mutex<Option<RemoteFile>>,
    seen: Arc<Seen>,
}

async fn content(mut file: RemoteFile) -> std::io::Result<Binary> {
    let mut content = Vec::new();
    file.read_to_end(&mut content).await?;
    Ok(content.into())
}

impl Desk for Impl {
    async fn read_all(&self, file: RemoteFile) -> std::io::Result<Binary> {
        content(file).await
    }

    async fn beginning(&self, mut file: RemoteFile, len: usize) -> std::io::Result<Binary> {
        let mut content = vec![0; len];
        file.read_exact(&mut content).await?;
        Ok(content.into())
    }

    async fn part(&self, mut file: RemoteFile, from: i64, len: usize) -> std::io::Result<Binary> {
        let from = match u64::try_from(from) {
            Ok(from) => SeekFrom::Start(from),
            Err(_) => SeekFrom::End(from),
        };
        file.seek(from).await?;
        self.beginning(file, len).await
    }

    async fn write_to(&self, mut file: RemoteFile, data: Binary) -> std::io::Result<()> {
        file.write_all(&data).await?;
        file.flush().await
    }

    async fn keep(&self, file: RemoteFile) {
        *self.kept.lock().expect("lock") = Some(file);
    }

    async fn read_kept(&self) -> std::io::Result<Binary> {
        let kept = self.kept.lock().expect("lock").take();
        content(kept.expect("kept")).await
    }

    async fn open(&self, size: usize) -> RemoteFile {
        watched(size, &self.seen)
    }

    async fn upload(&self, upload: Upload) -> std::io::Result<(Duration, Binary)> {
        match upload {
            Upload::One { file, timeout } => Ok((timeout, content(file).await?)),
            Upload::Several { .. } => Err(ErrorKind::Unsupported.into()),
        }
    }

    async fn prepared(&self, size: usize) -> Upload {
        Upload::Several {
            files: vec![watched(size, &self.seen), watched(size, &self.seen)],
            timeouts: BTreeMap::from([(5, seconds(3))]),
        }
    }
}

/// Counts the operations on a file.
#[derive(Default)]
struct Seen {
    open: AtomicUsize,
    read: AtomicUsize,
    flushed: AtomicUsize,
    content: Mutex<Vec<u8>>,
}

/// File that records its operations.
struct Watched {
    inner: Cursor<Vec<u8>>,
    seen: Arc<Seen>,
}

fn watched(size: usize, seen: &Arc<Seen>) -> RemoteFile {
    seen.open.fetch_add(1, Ordering::Relaxed);
    let file = Watched {
        inner: Cursor::new(payload(size).into()),
        seen: Arc::clone(seen),
    };
    RemoteFile::from_file(file)
        .named("watched")
        .sized(size as u64)
}

impl Drop for Watched {
    fn drop(&mut self) {
        *self.seen.content.lock().expect("lock") = std::mem::take(self.inner.get_mut());
        self.seen.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        self.seen.read.fetch_add(read, Ordering::Relaxed);
        polled
    }
}

impl AsyncSeek for Watched {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> std::io::Result<()> {
        Pin::new(&mut self.inner).start_seek(to)
    }

    fn poll_complete(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<std::io::Result<u64>> {
        Pin::new(&mut self.inner).poll_complete(cx)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if data.contains(&0xff) {
            return Poll::Ready(Err(std::io::Error::other("the disk is full")));
        }
        Pin::new(&mut self.inner).poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        self.seen.flushed.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        self.poll_flush(cx)
    }
}

impl Seen {
    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn read(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }

    fn content(&self) -> Vec<u8> {
        self.content.lock().expect("lock").clone()
    }
}

struct Both {
    a: Client,
    b: Client,
    desk: DeskProxy,
    /// Counters of the files that the service opened.
    seen: Arc<Seen>,
}

async fn both() -> Both {
    let (a, b) = two_clients(hypha_rpc::client::Settings::in_process());
    let desk = Impl::default();
    let seen = Arc::clone(&desk.seen);
    b.register_service(DeskService::new(desk))
        .await
        .expect("registers");
    let service = a.get_remote_service("ws/b:desk").await.expect("fetches");
    let desk = DeskProxy::from_service(service);
    Both { a, b, desk, seen }
}

impl Both {
    /// Asserts that both clients have no sessions or exported objects left.
    async fn settled(&self) {
        breathe().await;
        settled(&self.a).await;
        settled(&self.b).await;
        assert_eq!((self.a.stats().objects, self.b.stats().objects), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_in_an_argument_is_read_and_ends_with_the_call() {
    let both = both().await;
    for size in [0, 1, 262_143, 262_144, 262_145, 1_500_000] {
        let seen = Arc::default();
        let content = both.desk.read_all(watched(size, &seen)).await;
        assert_eq!(content.expect("reads"), payload(size));
        assert_eq!((seen.open(), seen.read()), (0, size));
    }
    let content = both.desk.read_all(RemoteFile::from_bytes("some")).await;
    assert_eq!(&*content.expect("reads"), b"some");
    let reader = tokio::io::repeat(7).take(300_000);
    let content = both.desk.read_all(RemoteFile::from_reader(reader)).await;
    assert_eq!(*content.expect("reads"), [7; 300_000]);
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn only_requested_data_is_read() {
    let both = both().await;
    let seen = Arc::default();
    both.desk
        .keep(watched(5_000_000, &seen))
        .await
        .expect("keeps");
    assert_eq!(seen.read(), 0);
    // The client requests only the first chunk of the file.
    let content = both.desk.beginning(watched(5_000_000, &seen), 10).await;
    assert_eq!(content.expect("reads"), payload(10));
    assert_eq!(seen.read(), 262_144);
    // When a caller reads sequentially, the client requests one more chunk in advance, but no
    // further chunks while the caller waits.
    let mut file = both.desk.open(5_000_000).await.expect("opens");
    file.read_exact(&mut [0; 262_145]).await.expect("reads");
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(both.seen.read(), 3 * 262_144);
}

#[tokio::test(start_paused = true)]
async fn dropped_operations_lose_no_data() {
    let both = both().await;
    let mut file = both.desk.open(1_000_000).await.expect("opens");
    let (mut all, mut buf, mut given_up) = (Vec::new(), vec![0; 400_000], 0);
    loop {
        match file.read(&mut buf).now_or_never() {
            Some(read) => match read.expect("reads") {
                0 => break,
                read => all.extend_from_slice(&buf[..read]),
            },
            None => given_up += 1,
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(all, *payload(1_000_000));
    assert!(given_up > 0);
    // If the future of a seek or write is dropped, the client still performs the operation before
    // the next operation.
    assert!(file.seek(SeekFrom::Start(7)).now_or_never().is_none());
    file.write_all(b"x").await.expect("writes");
    assert!(file.flush().now_or_never().is_none());
    file.close().await.expect("closes");
    assert_eq!(both.seen.content()[6..9], [6, b'x', 8]);
}

#[tokio::test(start_paused = true)]
async fn positions_are_those_of_the_reader() {
    let both = both().await;
    let whole = payload(1_000_000);
    let part = both
        .desk
        .part(watched(1_000_000, &Arc::default()), 999_000, 10)
        .await;
    assert_eq!(*part.expect("reads"), whole[999_000..999_010]);
    let part = both
        .desk
        .part(watched(1_000_000, &Arc::default()), -5, 5)
        .await;
    assert_eq!(*part.expect("reads"), whole[999_995..]);

    let mut file = both.desk.open(1_000_000).await.expect("opens");
    let (mut at, mut buf) = (0, vec![0; 300_000]);
    // Each pair is the offset of a seek and the number of bytes to read. The seeks go into buffered
    // data, backwards and far ahead, some of them while a read is in flight.
    for (by, len) in [
        (0, 10),
        (100, 10),
        (-50, 10),
        (400_000, 300_000),
        (-600_000, 300_000),
        (5, 1),
    ] {
        assert_eq!(file.stream_position().await.expect("tells"), at);
        let there = at.checked_add_signed(by).expect("inside");
        assert_eq!(
            file.seek(SeekFrom::Current(by)).await.expect("seeks"),
            there
        );
        file.read_exact(&mut buf[..len]).await.expect("reads");
        let from = there as usize;
        assert_eq!(buf[..len], whole[from..from + len], "{by}");
        at = there + len as u64;
    }
    // A failed seek changes neither the position nor the buffered data.
    let error = file
        .seek(SeekFrom::End(-2_000_000))
        .await
        .expect_err("fails");
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    file.read_exact(&mut buf[..10]).await.expect("reads");
    assert_eq!(buf[..10], whole[at as usize..at as usize + 10]);
    assert_eq!(file.seek(SeekFrom::End(0)).await.expect("seeks"), 1_000_000);
    assert_eq!(file.read(&mut buf).await.expect("the end"), 0);
}

#[tokio::test(start_paused = true)]
async fn writes_start_at_the_read_position() {
    let both = both().await;
    let seen = Arc::default();
    both.desk
        .write_to(watched(10, &seen), payload(600_000))
        .await
        .expect("writes");
    assert_eq!(seen.content(), *payload(600_000));
    assert_eq!(seen.flushed.load(Ordering::Relaxed), 1);

    let mut file = both.desk.open(10).await.expect("opens");
    file.read_exact(&mut [0; 4]).await.expect("reads");
    file.write_all(b"xy").await.expect("writes");
    let mut rest = Vec::new();
    file.read_to_end(&mut rest).await.expect("reads");
    assert_eq!(rest, [6, 7, 8, 9]);
    file.close().await.expect("closes");
    breathe().await;
    assert_eq!(both.seen.content(), [0, 1, 2, 3, b'x', b'y', 6, 7, 8, 9]);
    assert_eq!(both.seen.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn flush_reports_failed_writes() {
    let both = both().await;
    let full = Binary::from(vec![0xff; 3]);
    let call = both
        .desk
        .write_to(watched(0, &Arc::default()), full.clone());
    let error = text(call.await.map_err(|e| e.untyped()));
    assert!(error.contains("the disk is full"), "{error}");

    let mut file = both.desk.open(0).await.expect("opens");
    file.write_all(&full).await.expect("is on its way");
    let error = file.write_all(b"more").await.expect_err("fails");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    // The client has reported the failure once. After that, the file can still be used.
    file.write_all(b"more").await.expect("is on its way");
    file.flush().await.expect("writes");

    let reader = RemoteFile::from_bytes("only to be read");
    let call = both.desk.write_to(reader, "x".as_bytes().into());
    let error = text(call.await.map_err(|e| e.untyped()));
    assert!(
        error.contains("the file has no function `write`"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_of_an_ended_call_fails_immediately() {
    let both = both().await;
    let seen = Arc::default();
    both.desk.keep(watched(5, &seen)).await.expect("keeps");
    assert_eq!(seen.open(), 0, "it ends with the call");
    let started = tokio::time::Instant::now();
    let call = both.desk.read_kept().await;
    let error = text(call.map_err(|e| e.untyped()));
    assert!(
        error.contains("the file no longer exists at its owner"),
        "{error}"
    );
    assert_eq!(started.elapsed(), seconds(0));
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_of_a_result_is_closed_with_its_last_reader() {
    let both = both().await;
    drop(both.desk.open(5).await.expect("opens"));
    breathe().await;
    assert_eq!(both.seen.open(), 0, "never read");

    let mut file = both.desk.open(1_000_000).await.expect("opens");
    assert_eq!(
        (file.name(), file.size()),
        (Some("watched"), Some(1_000_000))
    );
    file.read_exact(&mut [0; 300_000]).await.expect("reads");
    tokio::time::sleep(seconds(500)).await;
    file.read_exact(&mut [0; 600_000]).await.expect("reads");
    assert_eq!(both.seen.open(), 1);
    let elsewhere = std::thread::spawn(move || drop(file));
    elsewhere.join().expect("needs no runtime");
    breathe().await;
    assert_eq!(both.seen.open(), 0, "in the middle");

    // The value still refers to the file after the first reader is dropped.
    let value: Value = both
        .desk
        .service()
        .call("open", args!(5))
        .await
        .expect("opens");
    drop(value.decode_as::<RemoteFile>().expect("a file"));
    breathe().await;
    let file: RemoteFile = value.decode_as().expect("a file");
    drop(value);
    assert_eq!(content(file).await.expect("reads"), payload(5));
    breathe().await;
    assert_eq!(both.seen.open(), 0);
    tokio::time::sleep(seconds(1200)).await;
    both.settled().await;
}

/// Checks that a file before a member that needs another form is read, and closed once.
#[tokio::test(start_paused = true)]
async fn a_file_in_a_tagged_type_is_read_and_closed() {
    let both = both().await;
    let seen = Arc::default();
    let upload = Upload::One {
        file: watched(5, &seen),
        timeout: seconds(3),
    };
    let uploaded = both.desk.upload(upload).await.expect("reads");
    assert_eq!(uploaded, (seconds(3), payload(5)));
    assert_eq!(seen.open(), 0);

    let Upload::Several {
        mut files,
        timeouts,
    } = both.desk.prepared(5).await.expect("opens")
    else {
        panic!("another variant")
    };
    assert_eq!(timeouts, BTreeMap::from([(5, seconds(3))]));
    breathe().await;
    assert_eq!(both.seen.open(), 2, "the attempts close no file");
    let file = files.pop().expect("two");
    assert_eq!(content(file).await.expect("reads"), payload(5));
    breathe().await;
    assert_eq!(both.seen.open(), 1);
    drop(files);
    breathe().await;
    assert_eq!(both.seen.open(), 0);

    let service = both.desk.service();
    let error = text(service.call::<Wrong>("prepared", args!(5)).await);
    assert!(error.contains("timeouts.5: expected string"), "{error}");
    breathe().await;
    assert_eq!(both.seen.open(), 0, "no value contains the files");
    tokio::time::sleep(seconds(1200)).await;
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_forwarded_file_is_read_through_this_program() {
    let both = both().await;
    let file = both.desk.open(600_000).await.expect("opens");
    let content = both.desk.read_all(file).await.expect("reads");
    assert_eq!(content, payload(600_000));
    breathe().await;
    assert_eq!(both.seen.open(), 0, "it is closed with that call");

    let mut file = both.desk.open(5).await.expect("opens");
    file.read_exact(&mut [0; 1]).await.expect("reads");
    let error = text(both.desk.keep(file).await);
    assert!(
        error.contains("a file that is being read or written cannot be sent"),
        "{error}"
    );
    breathe().await;
    assert_eq!(both.seen.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_local_file_is_used_directly() {
    let seen = Arc::default();
    let mut file = watched(600_000, &seen);
    let mut all = Vec::new();
    file.read_to_end(&mut all).await.expect("reads");
    assert_eq!(all, *payload(600_000));
    file.rewind().await.expect("seeks");
    file.write_all(b"new").await.expect("writes");
    drop(file);
    assert_eq!(seen.content()[..4], [b'n', b'e', b'w', 3]);
}

/// Calls the methods of a file that clients in other languages call.
#[tokio::test(start_paused = true)]
async fn the_functions_of_a_file_are_those_of_python() {
    let both = both().await;
    let file: Value = both
        .desk
        .service()
        .call("open", args!(10))
        .await
        .expect("opens");
    let members = file.as_map().expect("a map");
    let names: Vec<&str> = members.keys().map(String::as_str).collect();
    let functions = ["read", "seek", "tell", "write", "flush", "close"];
    let abilities = ["readable", "seekable", "writable"];
    let plain = ["size", "name", "_rnative", "_rtype"];
    for name in functions.into_iter().chain(abilities).chain(plain) {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert_eq!(names.len(), 13);
    let call = async |name: &str, args| {
        let function: Function = members[name].decode_as().expect("a function");
        function.call::<Value>(args).await
    };
    let ok = async |name: &str, args| call(name, args).await.expect("answers");
    let bytes = |range: std::ops::Range<u8>| Value::Bytes(range.collect());
    assert_eq!(ok("read", args!(3)).await, bytes(0..3));
    assert_eq!(ok("tell", args!()).await, 3.into());
    assert_eq!(ok("read", args!(size = -1)).await, bytes(3..10));
    assert_eq!(ok("read", args!()).await, bytes(0..0));
    assert_eq!(ok("seek", args!(2)).await, 2.into());
    assert_eq!(ok("read", args!(i64::MAX)).await, bytes(2..10));
    assert_eq!(ok("seek", args!(-4, 1)).await, 6.into());
    assert_eq!(ok("seek", args!(-1, whence = 2)).await, 9.into());
    assert_eq!(ok("read", args!(())).await, bytes(9..10));
    assert_eq!(ok("write", args!(Binary::from(b"ab"))).await, 2.into());
    assert_eq!(ok("seekable", args!()).await, true.into());
    for (name, args, wanted) in [
        ("seek", args!(-1), "negative seek position -1"),
        (
            "seek",
            args!(0, 3),
            "invalid whence (3, should be 0, 1 or 2)",
        ),
        ("seek", args!(), "missing argument `offset`"),
        ("write", args!("text"), "expected bytes, got string"),
    ] {
        let error = text(call(name, args).await);
        assert!(error.contains(wanted), "{error}");
    }
    assert_eq!(ok("close", args!()).await, Value::Null);
    assert_eq!(both.seen.open(), 0);
    assert_eq!(ok("close", args!()).await, Value::Null);
    let error = call("read", args!()).await.expect_err("closed");
    match &error {
        Error::Remote(e) => assert_eq!(
            (e.class.as_deref(), e.message.as_str()),
            (Some("ValueError"), "I/O operation on closed file")
        ),
        other => panic!("{other:?}"),
    }

    // The file is larger than one chunk. `read()` without a size must still return the whole file.
    let large = RemoteFile::from_bytes(payload(600_000));
    let read = large.get("read").expect("there").decode_as::<Function>();
    let read: Binary = read
        .expect("a function")
        .call(args!())
        .await
        .expect("reads");
    assert_eq!(read, payload(600_000));
    let reader = Value::encode_from(&RemoteFile::from_reader(tokio::io::empty())).expect("encodes");
    assert!(reader.get("seek").is_none() && reader.get("write").is_none());
}

#[tokio::test]
async fn a_file_is_opened_by_path() {
    let path = std::env::temp_dir().join(format!("hypha-rpc-{}", std::process::id()));
    std::fs::write(&path, "content").expect("writes");
    let mut file = RemoteFile::open(&path).await.expect("opens");
    std::fs::remove_file(&path).expect("removes");
    assert_eq!(file.name(), path.file_name().and_then(|name| name.to_str()));
    assert_eq!(file.size(), Some(7));
    let mut text = String::new();
    file.read_to_string(&mut text).await.expect("reads");
    assert_eq!(text, "content");
    let folder = RemoteFile::open(std::env::temp_dir()).await;
    assert_eq!(
        folder.expect_err("a folder").kind(),
        ErrorKind::IsADirectory
    );
    let error = RemoteFile::open(&path).await.expect_err("is gone");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// Returns a list of progress reports, and the function that adds reports to this list.
fn reports() -> (
    Arc<Mutex<Vec<String>>>,
    impl FnMut(hypha_rpc::call::FileProgress) + Send + 'static,
) {
    let reports = Arc::<Mutex<Vec<String>>>::default();
    let collected = Arc::clone(&reports);
    (reports, move |progress| {
        collected.lock().expect("lock").push(progress.to_string());
    })
}

#[tokio::test(start_paused = true)]
async fn progress_of_transfers_is_reported() {
    let both = both().await;
    let of_600_000 = ["262144", "524288", "600000"].map(|done| format!("{done} of 600000 bytes"));
    // Both the owner of a file and its reader report progress.
    let (sent, report) = reports();
    let file = RemoteFile::from_reader(Cursor::new(Vec::from(payload(600_000))));
    let file = file.on_progress(report).sized(600_000);
    both.desk.read_all(file).await.expect("reads");
    assert_eq!(*sent.lock().expect("lock"), of_600_000);

    let (received, report) = reports();
    let file = both.desk.open(600_000).await.expect("opens");
    let pieces = file.on_progress(report).into_stream();
    let pieces: Vec<_> = pieces.try_collect().await.expect("reads");
    assert_eq!(pieces.len(), 3, "pieces are not cut");
    assert_eq!(Binary::from(pieces.concat()), payload(600_000));
    assert_eq!(*received.lock().expect("lock"), of_600_000);

    // Writing data also reports progress. Here, the size of the file is not known.
    let (taken, report) = reports();
    let file = RemoteFile::from_writer(tokio::io::sink()).on_progress(report);
    let data = Binary(payload(300_000).into());
    both.desk.write_to(file, data).await.expect("writes");
    assert_eq!(
        *taken.lock().expect("lock"),
        ["262144 bytes", "300000 bytes"]
    );
    both.settled().await;
}

#[tokio::test(start_paused = true)]
async fn bytes_are_accepted_where_a_file_is_wanted() {
    let both = both().await;
    let content = Binary(b"some"[..].to_vec().into());
    let service = both.desk.service();
    for file in [
        Value::encode_from(&content).expect("encodes"),
        Value::from(serde_json::json!([115, 111, 109, 101])),
    ] {
        let read: Binary = service.call("read_all", args!(file)).await.expect("reads");
        assert_eq!(read, content);
    }
    assert_eq!(
        both.desk
            .read_all(content.clone().into())
            .await
            .expect("reads"),
        content
    );
    for file in [
        Value::from("some"),
        Value::from(serde_json::json!([1, "a"])),
    ] {
        let refused: Result<Binary, Error> = service.call("read_all", args!(file)).await;
        let error = refused.expect_err("no file").to_string();
        assert!(
            error.contains("argument `file`: expected a file, got"),
            "{error}"
        );
    }
    // If a result contains bytes, such as the result of a Python function, the bytes also become a
    // file.
    let mut file: RemoteFile = Value::encode_from(&content)
        .map(|value| value.decode_as().expect("is a file"))
        .expect("encodes");
    let mut text = String::new();
    file.read_to_string(&mut text).await.expect("reads");
    assert_eq!(text, "some");
    both.settled().await;
}
