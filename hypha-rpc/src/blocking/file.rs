//! Implements the traits `Read`, `Write` and `Seek` for [`RemoteFile`].

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio_util::io::StreamReader;

use super::runtime::wait_io;
use crate::call::RemoteFile;
use crate::service::on_thread;

/// Maximum number of bytes that one read requests from a blocking reader.
const READ_SIZE: usize = 256 << 10;

/// Each read waits on this thread for data from the owner of the file. Reads fail on a thread of a
/// tokio runtime.
#[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
impl Read for RemoteFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = AsyncReadExt::read(self, buf);
        wait_io("reading a `RemoteFile`", "`AsyncReadExt`", read)
    }
}

/// Each seek waits on this thread until the position has changed. Seeks fail on a thread of a tokio
/// runtime.
#[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
impl Seek for RemoteFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let seek = AsyncSeekExt::seek(self, to);
        wait_io("seeking in a `RemoteFile`", "`AsyncSeekExt`", seek)
    }
}

/// Each write is sent immediately. If a write fails, the next operation on the file reports the
/// error. So call `flush` after the last write. All operations fail on a thread of a tokio runtime.
#[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
impl Write for RemoteFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let write = AsyncWriteExt::write(self, data);
        wait_io("writing to a `RemoteFile`", "`AsyncWriteExt`", write)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flush = AsyncWriteExt::flush(self);
        wait_io("flushing a `RemoteFile`", "`AsyncWriteExt`", flush)
    }
}

impl RemoteFile {
    /// Opens a local file for reading. Peers can see the name and the size of the file, as with
    /// [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened, or its metadata cannot be read.
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn blocking_open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let file = std::fs::File::open(path)?;
        let size = file.metadata()?.len();
        let file = Self::from_seekable(tokio::fs::File::from_std(file)).sized(size);
        Ok(match path.file_name() {
            Some(name) => file.named(name.to_string_lossy()),
            None => file,
        })
    }

    /// Creates a remote file from a local file. Peers can read, seek and write, if the local file
    /// was opened for that access.
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    #[must_use]
    pub fn from_std(file: std::fs::File) -> Self {
        Self::from_file(tokio::fs::File::from_std(file))
    }

    /// Creates a remote file from a reader that may block. Peers can read the content once, from
    /// beginning to end. Each read of a peer returns up to 256 KiB, and runs on a thread for
    /// blocking work.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn main() -> std::io::Result<()> {
    /// use hypha_rpc::RemoteFile;
    ///
    /// let reader = std::net::TcpStream::connect("camera.local:80")?;
    /// let video = RemoteFile::from_blocking_reader(reader).typed("video/mp4");
    /// # let _ = video;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn from_blocking_reader(reader: impl Read + Send + 'static) -> Self {
        let pieces = futures_util::stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            let read = on_thread("a reader", move || (piece(&mut reader), reader)).await;
            match read {
                Ok((Ok(piece), _)) if piece.is_empty() => None,
                Ok((piece, reader)) => Some((piece, Some(reader))),
                Err(e) => Some((Err(io::Error::other(e.message)), None)),
            }
        });
        Self::from_reader(StreamReader::new(pieces))
    }

    /// Closes the file at its owner after all earlier writes, as [`close`](Self::close) does. Waits
    /// on this thread until the owner has acknowledged the request.
    ///
    /// # Errors
    ///
    /// Fails with the errors of [`close`](Self::close). Also fails on a thread of a tokio runtime.
    #[cfg_attr(docsrs, doc(cfg(feature = "blocking")))]
    pub fn blocking_close(self) -> io::Result<()> {
        let what = "`RemoteFile::blocking_close`";
        wait_io(what, "`RemoteFile::close`", self.close())
    }
}

/// Reads the next piece of the content. Returns an empty piece at the end of the content.
fn piece(reader: &mut impl Read) -> io::Result<Bytes> {
    let mut piece = vec![0; READ_SIZE];
    loop {
        match reader.read(&mut piece) {
            Ok(len) => {
                piece.truncate(len);
                return Ok(piece.into());
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
