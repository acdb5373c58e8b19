//! Runtime of the library `webrtc`: Tokio, with two changes.
//!
//! The task of a connection repeats one round. It moves packets and messages one step on, and then
//! waits for a packet, for a message of the program or for a timer. A packet of a TURN server may
//! need four rounds: the first one takes out the content, the second one handles it, the third one
//! puts the reply into a packet for the TURN server, and the fourth one sends it. While a
//! connection opens, packets of the peer need more than one round, too. The library nevertheless
//! waits after each of them, so that a reply lies there until the next timer: up to 200 ms later
//! while paths are checked, and up to 2 s later on an open connection. [`Wait`] makes it skip three
//! waits.
//!
//! The second change is a larger receive buffer. The default of Linux has space for about 90
//! packets, but a sender has more of them under way.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use ::webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime, UdpSockRef, UdpSocketState,
};

/// Receive buffer of a socket, in bytes. The kernel may give less. As large as the receive window
/// of the library.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Number of waits that are skipped after each other one.
const EXTRA_ROUNDS: u8 = 3;

tokio::task_local! {
    /// Number of waits that the task of a connection still skips.
    static SKIPPED_WAITS: Cell<u8>;
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tokio, for the task of a connection.
#[derive(Debug)]
pub(super) struct ConnectionRuntime {
    /// Whether the task of the connection skips waits.
    pub(super) skips_waits: Arc<AtomicBool>,
}

impl Runtime for ConnectionRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(Box::pin(SKIPPED_WAITS.scope(Cell::new(0), future)))
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let reference = UdpSockRef::from(&socket);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        if let Err(error) = state.set_recv_buffer_size(reference, RECEIVE_BUFFER) {
            tracing::debug!("the receive buffer keeps its size: {error}");
        }
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        address: SocketAddr,
    ) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        TokioRuntime.connect_tcp(address)
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        TokioRuntime.resolve_host(host)
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        let sleep = TokioRuntime.sleep(duration);
        match SKIPPED_WAITS.try_with(Cell::get) {
            Ok(skipped) if self.skips_waits.load(Ordering::Relaxed) => Box::pin(Wait {
                sleep,
                skipped,
                next: EXTRA_ROUNDS,
            }),
            // Other tasks wait only for the time.
            _ => sleep,
        }
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        TokioRuntime.yield_now()
    }
}

/// Timer in a wait of a task.
struct Wait {
    sleep: Boxed<'static, ()>,
    /// Number of waits to skip, with this one. If it is not zero, the timer has elapsed at once.
    skipped: u8,
    /// Number of waits to skip after this one.
    next: u8,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.skipped.checked_sub(1) {
            Some(left) => {
                self.next = left;
                Poll::Ready(())
            }
            None => self.sleep.as_mut().poll(cx),
        }
    }
}

impl Drop for Wait {
    /// The wait has ended. Unless it was skipped, something has happened that needs all rounds.
    fn drop(&mut self) {
        // An error means that the task has ended.
        let _ = SKIPPED_WAITS.try_with(|waits| waits.set(self.next));
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::runtime::Instant;

    fn runtime(skips: bool) -> ConnectionRuntime {
        ConnectionRuntime {
            skips_waits: Arc::new(AtomicBool::new(skips)),
        }
    }

    /// Waits one second in the task of a connection for each element. Returns whether the waits
    /// were skipped. An element says whether something happens at once, so that the wait ends.
    async fn skipped<const N: usize>(skips: bool, events: [bool; N]) -> Vec<bool> {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let task = async move {
            let runtime = runtime(skips);
            for event in events {
                let begin = Instant::now();
                let wait = runtime.sleep(Duration::from_secs(1));
                match event {
                    true => drop(wait),
                    false => wait.await,
                }
                let _ = sender.send(begin.elapsed().is_zero());
            }
        };
        runtime(skips).spawn(Box::pin(task)).detach();
        let mut skipped = Vec::new();
        while let Some(wait) = receiver.recv().await {
            skipped.push(wait);
        }
        skipped
    }

    #[tokio::test(start_paused = true)]
    async fn each_event_is_followed_by_rounds_without_a_wait() {
        let waits = [false; 6];
        let expected = [false, true, true, true, false, true];
        assert_eq!(skipped(true, waits).await, expected);
        // The fourth wait would be the last one that is skipped, but something happens.
        let waits = [false, false, false, true, false, false, false, false];
        let expected = [false, true, true, true, true, true, true, false];
        assert_eq!(skipped(true, waits).await, expected);
        assert_eq!(skipped(false, [false; 3]).await, [false; 3]);
        // Only the task of a connection skips waits.
        let begin = Instant::now();
        runtime(true).sleep(Duration::from_secs(1)).await;
        assert!(!begin.elapsed().is_zero());
    }
}
