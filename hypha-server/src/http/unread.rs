//! Handles request bodies that the handler of a request has not read to the end, mostly because it
//! has refused the request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{HeaderValue, Request, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;

use super::{Front, body};

/// State of a request body.
enum Progress {
    /// The handler may still read the body.
    Held,
    /// The handler has dropped the body before its end.
    Dropped(Body),
    Ended,
}

/// A request body that reports its progress.
struct Tracked {
    /// `None` only while the destructor runs.
    body: Option<Body>,
    progress: Arc<Mutex<Progress>>,
}

impl hyper::body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        if frame.is_none() || body.is_end_stream() {
            *self.progress.lock() = Progress::Ended;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let mut progress = self.progress.lock();
        if let (Progress::Held, Some(body)) = (&*progress, self.body.take()) {
            *progress = Progress::Dropped(body);
        }
    }
}

/// Middleware that discards the rest of a body that the handler has dropped. If the body has not
/// ended when the response begins, adds `Connection: close`, because the server then closes the
/// connection after the response. Without the header, a client would reuse the connection, and its
/// next request would fail.
pub(super) async fn finish(
    Shared(front): Shared<Front>,
    request: Request<Body>,
    next: Next,
) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    // HTTP/2 has no such header, because its connections outlive such requests.
    let closes = request.version() <= Version::HTTP_11;
    // A client with the header `Expect` sends its body only after a `100 Continue`.
    let waits = request.headers().contains_key(header::EXPECT);
    let progress = Arc::new(Mutex::new(Progress::Held));
    let request = request.map(|body| {
        Body::new(Tracked {
            body: Some(body),
            progress: progress.clone(),
        })
    });
    let mut response = next.run(request).await;
    let left = std::mem::replace(&mut *progress.lock(), Progress::Ended);
    let ended = match left {
        Progress::Ended => true,
        Progress::Dropped(body) => !waits && body::discard(&front, body).await,
        Progress::Held => false,
    };
    if !ended && closes {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}
