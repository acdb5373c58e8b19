//! Drives one link: passes received frames to the engine, and sends queued frames.
//!
//! One loop polls both directions, so reading does not wait for writing, and writing does not wait
//! for reading. A client that cannot write still reads. Otherwise, two peers that respond to each
//! other could block each other forever. The driver sends all queued frames with one flush.
//!
//! `redial` runs one driver per link. The [`Queue`] exists longer than the driver, so that the next
//! link can send the remaining frames.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;

use super::outbound::OUTBOUND_FRAMES;
use super::stats::{add, count};
use super::{Engine, Handlers, KeepAlive, QueuedFrame, Sessions};
use crate::error::LinkError;
use crate::runtime::{Instant, RuntimeTracker, Sleep, sleep_until, timeout};
use crate::transport::{BoxLink, Frame};
use hypha_wire::Message;

/// Timeout for the end of a link, when the driver sends the remaining frames and waits for the
/// close frame of the server.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of frames that are handled in one direction before the other direction is polled.
/// Tokio makes a task yield after 128 steps. Reading, writing and checking the clock must together
/// take fewer steps. Otherwise, reading could use all steps, and the driver would send nothing
/// while frames arrive.
const BURST: usize = 32;

/// Reason in the close frame that the server sends if another connection took over the client id.
const REPLACED: &str = "Replaced by a newer connection";

/// Frames that wait to be sent on a link. If the link is lost, frames that are still needed are
/// sent on the next link.
pub(super) struct Queue {
    /// Frames that were not sent on the previous link.
    kept: VecDeque<QueuedFrame>,
    queue: mpsc::Receiver<QueuedFrame>,
    /// Number of frames at the front of `queue` that were queued before the link was lost. If one
    /// of these frames is the request of a failed call, the frame is dropped.
    stale: usize,
}

impl Queue {
    pub(super) fn new(queue: mpsc::Receiver<QueuedFrame>) -> Self {
        Queue {
            kept: VecDeque::new(),
            queue,
            stale: 0,
        }
    }

    /// Returns the next frame to send, or `None` when the queue is closed and empty.
    fn poll<O: Clone>(
        &mut self,
        sessions: &Sessions<O>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<QueuedFrame>> {
        if let Some(outgoing) = self.kept.pop_front() {
            return Poll::Ready(Some(outgoing));
        }
        loop {
            let next = ready!(self.queue.poll_recv(cx));
            if self.stale > 0 {
                self.stale -= 1;
                if next
                    .as_ref()
                    .is_some_and(|next| next.is_abandoned(sessions))
                {
                    continue;
                }
            }
            return Poll::Ready(next);
        }
    }

    /// Returns the number of frames that wait to be sent.
    pub(super) fn len(&self) -> usize {
        self.kept.len() + self.queue.len()
    }

    /// Closes the queue. Returns the next frame that was already in the queue, or `None` if the
    /// queue is empty.
    async fn last(&mut self) -> Option<QueuedFrame> {
        self.queue.close();
        match self.kept.pop_front() {
            Some(outgoing) => Some(outgoing),
            None => self.queue.recv().await,
        }
    }

    /// Drops the requests of failed calls. Each caller received an error which says that the link
    /// was lost, so the method must not run later.
    pub(super) fn purge<O: Clone>(&mut self, sessions: &Sessions<O>) {
        self.kept
            .retain(|outgoing| !outgoing.is_abandoned(sessions));
        // Keep the other frames, because their senders count them as sent. Limit the number of kept
        // frames: each frame that is taken out of the queue makes room for a new frame, and no
        // frame is sent while there is no link. The frames that remain in the queue are checked
        // before they are sent.
        while self.kept.len() < OUTBOUND_FRAMES {
            let Ok(outgoing) = self.queue.try_recv() else {
                break;
            };
            if !outgoing.is_abandoned(sessions) {
                self.kept.push_back(outgoing);
            }
        }
        self.stale = self.queue.len();
    }
}

impl QueuedFrame {
    /// Returns whether the frame belongs to a session that has ended. The call of such a session
    /// has failed.
    fn is_abandoned<O: Clone>(&self, sessions: &Sessions<O>) -> bool {
        let Frame::Binary(data) = &self.frame else {
            return false;
        };
        let message = Message::parse(data.clone());
        let session = message.as_ref().ok().and_then(Message::session);
        session.is_some_and(|session| !sessions.exists(session))
    }
}

/// Drives one link until it ends.
pub(super) struct Driver<'a, H: Handlers> {
    link: BoxLink,
    queue: &'a mut Queue,
    engine: Arc<Engine<H>>,
    /// Whether a frame was written since the last flush.
    dirty: bool,
    clock: Clock,
    /// Detects that the watchdog has moved this task to another runtime. The driver must then
    /// replace its timers, because a timer belongs to one runtime.
    runtime: RuntimeTracker,
    /// Last error message that the server sent. The message explains why the server closes the
    /// link, because the reason in the close frame may be missing or truncated.
    last_error: Option<String>,
}

/// Reason why a link ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// This program closed the connection.
    Closed,
    /// The link was lost. Contains the reason.
    Lost(LinkError),
    /// Another connection took over the id of this client.
    Replaced,
}

/// Times at which the driver sends control messages (`docs/protocol/01-transport-websocket.md#s6`),
/// and the time at which a silent server counts as lost. The driver uses one timer for all of these
/// times.
struct Clock {
    keep_alive: KeepAlive,
    next_ping: Option<Instant>,
    next_refresh: Option<Instant>,
    next_tidy: Instant,
    /// Time at which unacknowledged notices are sent again.
    next_notices: Option<Instant>,
    last_received: Instant,
    timer: Pin<Box<Sleep>>,
}

/// Delay of the first control messages. The Python client uses the same delay.
const FIRST_CONTROL: Duration = Duration::from_secs(2);

/// Interval at which ended sessions and incomplete messages are freed, and at which metrics are
/// published.
const TIDY_INTERVAL: Duration = Duration::from_secs(5);

/// Upper bound on all intervals: one year. The timer would overflow with a much longer interval.
const MAX_INTERVAL: Duration = Duration::from_secs(365 * 24 * 3600);

impl Clock {
    fn new(keep_alive: Option<KeepAlive>) -> Self {
        let now = Instant::now();
        let keep_alive = keep_alive.unwrap_or(KeepAlive {
            ping_interval: Duration::ZERO,
            ping_timeout: Duration::ZERO,
            token_refresh_interval: Duration::ZERO,
        });
        let keep_alive = KeepAlive {
            ping_interval: keep_alive.ping_interval.min(MAX_INTERVAL),
            ping_timeout: keep_alive.ping_timeout.min(MAX_INTERVAL),
            token_refresh_interval: keep_alive.token_refresh_interval.min(MAX_INTERVAL),
        };
        let first =
            |interval: Duration| (!interval.is_zero()).then(|| now + interval.min(FIRST_CONTROL));
        let mut clock = Clock {
            next_ping: first(keep_alive.ping_interval),
            next_refresh: first(keep_alive.token_refresh_interval),
            keep_alive,
            next_tidy: now + TIDY_INTERVAL,
            next_notices: None,
            last_received: now,
            timer: Box::pin(sleep_until(now)),
        };
        clock.rearm();
        clock
    }

    /// Returns the time at which the server counts as lost if it sends nothing. Returns `None` if
    /// pings are off, because an idle server then sends nothing.
    fn receive_deadline(&self) -> Option<Instant> {
        self.next_ping?;
        Some(self.last_received + self.keep_alive.ping_interval + self.keep_alive.ping_timeout)
    }

    /// Replaces the timer with a timer of the current runtime. The old timer may belong to a
    /// blocked runtime, and would then not fire.
    fn move_here(&mut self) {
        self.timer = Box::pin(sleep_until(self.timer.deadline()));
    }

    /// Sets the timer to the earliest time in this clock.
    fn rearm(&mut self) {
        let others = [
            self.next_ping,
            self.next_refresh,
            self.next_notices,
            self.receive_deadline(),
        ];
        let next = others
            .into_iter()
            .flatten()
            .fold(self.next_tidy, Instant::min);
        self.timer.as_mut().reset(next);
    }
}

impl<'a, H: Handlers> Driver<'a, H> {
    pub(super) fn new(
        link: BoxLink,
        queue: &'a mut Queue,
        engine: Arc<Engine<H>>,
        keep_alive: Option<KeepAlive>,
    ) -> Self {
        Driver {
            link,
            queue,
            engine,
            dirty: false,
            clock: Clock::new(keep_alive),
            runtime: RuntimeTracker::new(),
            last_error: None,
        }
    }

    /// Runs until the link ends or the connection is closed.
    pub(super) async fn run(mut self) -> Ended {
        let mut state = self.engine.lifecycle.subscribe();
        let engine = Arc::clone(&self.engine);
        let lost = tokio::select! {
            ended = std::future::poll_fn(|cx| self.poll(cx)) => Some(ended),
            () = engine.lifecycle.link_dropped() => {
                Some(Ended::Lost("Connection lost: the server has forgotten this client".into()))
            }
            _ = state.wait_for(|state| state.is_closed()) => None,
        };
        match lost {
            Some(ended) => ended,
            None => {
                // Ignore errors and the timeout, because the driver closes the link in any case.
                let _ = timeout(CLOSE_TIMEOUT, self.close_gracefully()).await;
                Ended::Closed
            }
        }
    }

    /// Sends the remaining frames and a close frame, and waits for the close frame of the server.
    /// Without this wait, the server might not receive the last frames.
    async fn close_gracefully(&mut self) -> Result<(), LinkError> {
        while let Some(outgoing) = self.queue.last().await {
            self.link.feed(outgoing.frame).await?;
        }
        while let Some(posted) = self.engine.outbound.take_posted() {
            self.link.feed(posted.frame).await?;
        }
        self.link
            .feed(Frame::Close(Some((1000, String::new()))))
            .await?;
        self.link.flush().await?;
        while let Some(Ok(frame)) = self.link.next().await {
            if matches!(frame, Frame::Close(_)) {
                break;
            }
        }
        self.link.close().await
    }

    /// Reads frames, checks the clock and writes frames. Each of these happens once per poll.
    /// Returns `Ready` when the link has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.runtime.has_changed() {
            self.clock.move_here();
        }
        let mut again = false;
        for turn in 0.. {
            if turn == BURST {
                again = true;
                break;
            }
            match self.link.poll_next_unpin(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(ended) = self.take(frame) {
                        return Poll::Ready(ended);
                    }
                }
                Poll::Ready(end) => return Poll::Ready(self.ended(end)),
            }
        }
        if let Some(reason) = self.poll_clock(cx) {
            return Poll::Ready(Ended::Lost(reason.into()));
        }
        match self.poll_send(cx) {
            Ok(more) => again |= more,
            Err(e) => return Poll::Ready(self.ended(Some(Err(e)))),
        }
        if again {
            // Wake this task again instead of continuing the loop, so that other tasks on this
            // thread can run.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Handles one received frame. If the frame ends the link, returns the reason.
    fn take(&mut self, frame: Frame) -> Option<Ended> {
        self.clock.last_received = Instant::now();
        match frame {
            Frame::Binary(data) => self.engine.receive(data),
            Frame::Text(text) => self.control(&text),
            // The WebSocket library answers pings. `last_received` was set above, so pings and
            // pongs also show that the server is alive.
            Frame::Ping | Frame::Pong => {}
            Frame::Close(Some((_, text))) if text.starts_with(REPLACED) => {
                return Some(Ended::Replaced);
            }
            Frame::Close(reason) => {
                let reason = match (self.last_error.take(), reason) {
                    (Some(error), _) => format!(": {error}"),
                    (None, Some((code, text))) => format!(": {code} {text}").trim_end().into(),
                    (None, None) => String::new(),
                };
                let reason = format!("Connection closed by the server{reason}");
                return Some(Ended::Lost(reason.into()));
            }
        }
        None
    }

    /// Handles a control message. Ignores messages of unknown types, because newer servers may send
    /// such messages.
    fn control(&mut self, text: &str) {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(text) else {
            return tracing::debug!("the server sent a text frame that is not JSON");
        };
        let field = |name: &str| {
            message
                .get(name)
                .and_then(|v| v.as_str())
                .map(str::to_owned)
        };
        match message.get("type").and_then(|t| t.as_str()) {
            Some("pong") => {}
            Some("reconnection_token") => {
                if let Some(token) = field("reconnection_token") {
                    self.engine.membership.set_reconnection_token(token);
                }
            }
            Some("error") => {
                let error = field("message").unwrap_or_default();
                tracing::warn!("the server reports: {error}");
                self.last_error = Some(error);
            }
            other => tracing::debug!("unknown control message {other:?}"),
        }
    }

    /// Returns the reason why a link ended without a close frame. If the server has sent an error
    /// message, the reason is that message, because it contains more information than the error of
    /// the socket.
    fn ended(&mut self, end: Option<Result<Frame, LinkError>>) -> Ended {
        Ended::Lost(match (end, self.last_error.take()) {
            (_, Some(error)) => format!("Connection closed by the server: {error}").into(),
            (Some(Err(e)), None) => e.context("Connection lost"),
            _ => "Connection lost".into(),
        })
    }

    /// Writes the queued frames. Returns `true` if there may be more frames.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<bool, LinkError> {
        let mut more = false;
        for turn in 0.. {
            if turn == BURST {
                more = true;
                break;
            }
            match self.link.poll_ready_unpin(cx) {
                Poll::Pending => break,
                Poll::Ready(ready) => ready?,
            }
            // Send one posted frame at the start of each call of this function. Otherwise, posted
            // frames would never be sent if the queue is never empty.
            let posted = (turn == 0).then(|| self.engine.outbound.take_posted());
            let next = match posted.flatten() {
                Some(posted) => Some(posted),
                None => match self.queue.poll(&self.engine.sessions, cx) {
                    Poll::Ready(Some(outgoing)) => Some(outgoing),
                    Poll::Pending | Poll::Ready(None) => self.engine.outbound.take_posted(),
                },
            };
            match next {
                None => break,
                Some(outgoing) => {
                    if let Frame::Binary(data) = &outgoing.frame {
                        count(&self.engine.counters.frames_sent);
                        add(&self.engine.counters.bytes_sent, data.len());
                    }
                    self.link.start_send_unpin(outgoing.frame)?;
                    self.dirty = true;
                }
            }
        }
        if self.dirty {
            match self.link.poll_flush_unpin(cx) {
                Poll::Ready(Ok(())) => self.dirty = false,
                Poll::Ready(Err(e)) => return Err(e),
                Poll::Pending => {}
            }
        }
        Ok(more)
    }

    /// Returns the time at which the next unacknowledged notice is sent again.
    fn notices_due(&self) -> Option<Instant> {
        let due = self.engine.notices.due()?;
        Some(self.engine.clock.at(due))
    }

    /// Sends the control messages that are due. If the server counts as lost, returns the reason.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Option<String> {
        let due = self.notices_due();
        if due != self.clock.next_notices {
            self.clock.next_notices = due;
            self.clock.rearm();
        }
        let clock = &mut self.clock;
        while clock.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if clock.receive_deadline().is_some_and(|end| end <= now) {
                return Some("Connection lost: the server does not answer".into());
            }
            let mut due = |next: &mut Option<Instant>, interval, frame: Frame| {
                if next.is_some_and(|at| at <= now) {
                    *next = Some(now + interval);
                    // A link that accepts no frame is busy sending, so no ping is necessary. If
                    // sending fails here, the next read or flush reports the failure with its
                    // cause.
                    if matches!(self.link.poll_ready_unpin(cx), Poll::Ready(Ok(()))) {
                        let _ = self.link.start_send_unpin(frame);
                        self.dirty = true;
                    }
                }
            };
            let KeepAlive {
                ping_interval,
                token_refresh_interval,
                ..
            } = clock.keep_alive;
            let text = |text: &str| Frame::Text(text.to_owned());
            let also_below = clock.next_ping.is_some_and(|at| at <= now);
            due(
                &mut clock.next_ping,
                ping_interval,
                text(r#"{"type":"ping"}"#),
            );
            if also_below {
                due(&mut Some(now), ping_interval, Frame::Ping);
            }
            due(
                &mut clock.next_refresh,
                token_refresh_interval,
                text(r#"{"type":"refresh_token"}"#),
            );
            if clock.next_tidy <= now {
                clock.next_tidy = now + TIDY_INTERVAL;
                self.engine.tidy();
            }
            if clock.next_notices.is_some_and(|at| at <= now) {
                self.engine.repeat_notices();
                let due = self.engine.notices.due();
                clock.next_notices = due.map(|due| self.engine.clock.at(due));
            }
            clock.rearm();
        }
        None
    }
}
