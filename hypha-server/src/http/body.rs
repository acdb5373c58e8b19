//! Reads request bodies and writes response bodies. Charges their memory to the account of the
//! request.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use hyper::body::{Frame, SizeHint};
use hypha_wire::JsonWriter;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::Front;
use super::problem::{Problem, problem};
use crate::memory::{Account, Charge, Level, OverBudget};
use crate::state::State;

/// Memory reserved for a body when its first bytes arrive, in bytes.
const FIRST: usize = 16 * 1024;
/// Size of the pieces of a response, in bytes. The next piece is created after the connection has
/// taken the previous one.
pub(super) const PIECE: usize = 64 * 1024;
/// Maximum time spent on reading the body of a refused request.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// Returns the response to a request whose body or result does not fit into the memory budget, and
/// counts the refusal.
pub(super) fn over_budget(state: &State, error: &OverBudget) -> Problem {
    state.counters.http_refused_memory.add();
    let status = match error.level {
        // Each request has its own account, so this request would not fit later either, and a retry
        // is useless.
        Level::Account => StatusCode::PAYLOAD_TOO_LARGE,
        Level::Owner | Level::Process => StatusCode::SERVICE_UNAVAILABLE,
    };
    problem(status, error.to_string())
}

/// Charges `more` bytes. If the process or the owner has no room, waits until other requests free
/// memory.
///
/// # Errors
///
/// Fails immediately if the request exceeds its own limit. Fails after the budget's timeout if
/// other requests free no memory.
pub(super) async fn grow(charge: &mut Charge, more: usize) -> Result<(), OverBudget> {
    match charge.try_grow(more) {
        Err(error) if error.level != Level::Account => charge.grow(more).await,
        at_once => at_once,
    }
}

/// The body of a request, with the charge for its memory.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) charge: Charge,
}

/// Reads the body of a request. Charges memory before allocating it.
///
/// # Errors
///
/// Fails if the body has more than `frame_bytes`, takes longer than `body_timeout`, ends early, or
/// exceeds a memory limit.
pub(super) async fn read(
    state: &State,
    account: &Account,
    body: Body,
) -> Result<Received, Problem> {
    let limits = &state.settings.limits;
    let limit = limits.frame_bytes;
    let over = |error| over_budget(state, &error);
    let reading = async {
        let mut charge = account.charge(0).await.map_err(over)?;
        let mut pieces = body.into_data_stream();
        let mut whole = Vec::new();
        while let Some(piece) = pieces.next().await {
            // The body has ended early, or its compressed data is invalid.
            let piece = piece.map_err(|error| {
                let detail = format!("The body cannot be read: {error}");
                problem(StatusCode::BAD_REQUEST, detail)
            })?;
            let needed = whole.len() + piece.len();
            if needed > limit {
                return Err(problem(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("The body has more than {limit} bytes"),
                ));
            }
            if needed > whole.capacity() {
                // The capacity doubles, so that the total cost of the copies of a growing body is
                // proportional to its length.
                let room = needed.max(2 * whole.capacity()).max(FIRST).min(limit);
                grow(&mut charge, room - whole.capacity())
                    .await
                    .map_err(over)?;
                whole.reserve_exact(room - whole.len());
            }
            whole.extend_from_slice(&piece);
            // Without this yield, a body that has already arrived, or that is decompressed from a
            // few bytes, would block other tasks on this thread.
            yield_now().await;
        }
        Ok(Received {
            bytes: whole.into(),
            charge,
        })
    };
    let late = |_| {
        problem(
            StatusCode::REQUEST_TIMEOUT,
            "The body did not arrive in time",
        )
    };
    timeout(limits.body_timeout, reading).await.map_err(late)?
}

/// Reads and drops the rest of the body of a refused request. Returns whether the body has ended.
///
/// If the connection were closed while the client sends, the client might not see the refusal. One
/// rate limit covers all bodies that are dropped, so that reading them does not take CPU time from
/// other requests.
pub(super) async fn discard(front: &Front, body: Body) -> bool {
    let mut left = front.state.settings.limits.frame_bytes;
    let mut pieces = body.into_data_stream();
    let discarding = async {
        while let Some(piece) = pieces.next().await {
            let Ok(piece) = piece else { return false };
            match left.checked_sub(piece.len()) {
                Some(rest) => left = rest,
                None => return false,
            }
            front.visits.discarded(piece.len()).await;
        }
        true
    };
    // A body that takes longer is no longer read, because the client had enough time to see the
    // refusal.
    timeout(DISCARD_TIME, discarding).await.unwrap_or(false)
}

/// The content of the body of a response.
pub(super) enum Content {
    /// A value that is converted to JSON while it is sent.
    Json(JsonWriter),
    /// Bytes that are sent unchanged: first the head, then the rest.
    Bytes(Bytes, Bytes),
}

/// A response body of known length, created while it is sent.
pub(super) struct SizedBody<T> {
    content: Option<Content>,
    /// Bytes that are not sent yet.
    left: u64,
    gives_way: BoxFuture<'static, ()>,
    /// Charges and slots that must be held until the body is sent.
    _held: T,
}

impl<T> SizedBody<T> {
    /// Creates a body of `len` bytes. The body ends early with an error if `account` is evicted.
    /// `held` is dropped with the body.
    pub(super) fn new(content: Content, len: u64, account: &Account, held: T) -> SizedBody<T> {
        let account = account.clone();
        SizedBody {
            content: (len > 0).then_some(content),
            left: len,
            gives_way: Box::pin(async move { account.gives_way().await }),
            _held: held,
        }
    }
}

impl<T: Unpin> hyper::body::Body for SizedBody<T> {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = &mut *self;
        let Some(content) = &mut this.content else {
            return Poll::Ready(None);
        };
        if this.gives_way.as_mut().poll(cx).is_ready() {
            this.content = None;
            let reason = "the server is out of memory";
            return Poll::Ready(Some(Err(std::io::Error::other(reason))));
        }
        let piece = match content {
            Content::Bytes(head, _) if !head.is_empty() => std::mem::take(head),
            Content::Bytes(_, rest) => rest.split_to(rest.len().min(PIECE)),
            Content::Json(writer) => {
                let mut piece = Vec::with_capacity(PIECE + 1024);
                if writer.write(&mut piece, PIECE).is_err() {
                    // This error cannot happen, because the value was checked when its length was
                    // computed.
                    this.content = None;
                    return Poll::Ready(Some(Err(std::io::ErrorKind::InvalidData.into())));
                }
                piece.into()
            }
        };
        this.left = this.left.saturating_sub(piece.len() as u64);
        if this.left == 0 {
            this.content = None;
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
