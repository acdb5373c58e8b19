//! Requests that are served at the same time, and the work that must not hold up the others.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use hypha_rpc::Client;
use hypha_rpc::client::KnownManager;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::problem::{Problem, failed, problem};
use crate::memory::Charge;
use crate::metrics::Counters;
use crate::seats::{Turn, Turns};
use crate::settings::Limits;

/// Bytes above which a body is checked or converted outside of the threads that serve connections.
const LARGE: usize = 1024 * 1024;

/// The pace of refused bodies: 64 MB in a second.
const DISCARDED: usize = 256 * 1024;
const PAUSE: Duration = Duration::from_millis(4);

/// Counts the requests of each user, and lends the threads for large bodies.
pub(crate) struct Visits {
    turns: Arc<Turns>,
    wait: Duration,
    /// Fewer than there are processors: the others serve the connections.
    large: Arc<Semaphore>,
    /// Bytes of refused bodies that may be read before the next pause.
    discards: tokio::sync::Mutex<usize>,
    manager: Mutex<Option<KnownManager>>,
}

/// One request that is being served. Dropping it lets the next one in.
pub(super) struct Visit {
    _turn: Turn,
    /// The charge for what each request needs.
    pub(super) standing: Option<Charge>,
    counters: Arc<Counters>,
}

impl Visits {
    pub(crate) fn new(limits: &Limits) -> Arc<Visits> {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Arc::new(Visits {
            turns: Turns::new(limits.http_concurrent_requests),
            wait: limits.http_queue_timeout,
            large: Arc::new(Semaphore::new((processors / 2).max(1))),
            discards: tokio::sync::Mutex::default(),
            manager: Mutex::default(),
        })
    }

    /// Waits until a request of `owner`, a user or an address, may be served.
    pub(super) async fn enter(
        &self,
        owner: &str,
        counters: &Arc<Counters>,
    ) -> Result<Visit, Problem> {
        let Some(turn) = self.turns.wait(owner, self.wait).await else {
            counters.http_refused_busy.add();
            return Err(problem(
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "{} requests of `{owner}` are being served at the same time, which is the \
                     limit (http_concurrent_requests)",
                    self.turns.limit()
                ),
            ));
        };
        counters.http_requests_open.add();
        Ok(Visit {
            _turn: turn,
            standing: None,
            counters: counters.clone(),
        })
    }

    /// Waits after `bytes` of a refused body, so that all of them together are read at
    /// [`DISCARDED`] bytes for each [`PAUSE`]. They wait in turns.
    pub(super) async fn discarded(&self, bytes: usize) {
        let mut read = self.discards.lock().await;
        *read += bytes;
        while *read >= DISCARDED {
            *read -= DISCARDED;
            sleep(PAUSE).await;
        }
    }

    /// Runs `work` on `bytes` bytes: at once if they are few, else in a thread of its own.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        if bytes <= LARGE {
            return Ok(work());
        }
        let permit = self.large.clone().acquire_owned().await.map_err(failed)?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(failed)
    }

    /// Gives `client` the methods of the workspace manager, which are fetched once for all: they
    /// are the largest part of a client.
    pub(super) async fn introduce(&self, client: &Client) -> Result<(), hypha_rpc::Error> {
        let known = self.manager.lock().clone();
        if let Some(known) = known {
            client.adopt_manager(&known);
            return Ok(());
        }
        client.manager().await?;
        if let Some(known) = client.known_manager() {
            client.adopt_manager(&known);
            *self.manager.lock() = Some(known);
        }
        Ok(())
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.counters.http_requests_open.sub();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_beyond_the_limit_wait_and_are_refused_in_the_end() {
        let limits = Limits {
            http_concurrent_requests: 2,
            ..Limits::default()
        };
        let (visits, counters) = (Visits::new(&limits), Arc::new(Counters::default()));
        let first = visits.enter("ann", &counters).await.unwrap();
        let _second = visits.enter("ann", &counters).await.unwrap();
        let bob = visits.enter("bob", &counters).await.unwrap();
        assert!(visits.enter("ann", &counters).await.is_err());
        assert_eq!(counters.http_refused_busy.get(), 1);
        let (third, ()) = tokio::join!(visits.enter("ann", &counters), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(first);
        });
        assert!(third.is_ok());
        drop(bob);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_bodies_share_one_pace() {
        let visits = Visits::new(&Limits::default());
        let begun = tokio::time::Instant::now();
        let read = async || {
            for _ in 0..100 {
                visits.discarded(64 * 1024).await;
            }
        };
        tokio::join!(read(), read());
        assert_eq!(begun.elapsed(), 200 * 64 * 1024 / DISCARDED as u32 * PAUSE);
    }

    #[tokio::test]
    async fn large_work_runs_in_another_thread() {
        let visits = Visits::new(&Limits::default());
        let here = std::thread::current().id();
        let thread = || std::thread::current().id();
        assert_eq!(visits.run(LARGE, thread).await.unwrap(), here);
        assert_ne!(visits.run(LARGE + 1, thread).await.unwrap(), here);
    }
}
