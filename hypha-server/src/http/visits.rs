//! Limits the number of concurrent requests, and moves expensive work to blocking threads, away
//! from the threads that serve connections.

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

/// Size above which a body is checked or converted on a blocking thread, in bytes. Below this size,
/// the work takes less time than its transfer to another thread.
const LARGE: usize = 1024 * 1024;

/// Bytes of refused bodies that are read before each [`PAUSE`]: 64 MB per second, over all
/// requests.
const DISCARDED: usize = 256 * 1024;
/// Pause after [`DISCARDED`] bytes of refused bodies.
const PAUSE: Duration = Duration::from_millis(4);

/// Slots for the requests of each user, and permits for work on large bodies.
pub(crate) struct Visits {
    turns: Arc<Turns>,
    /// Maximum time to wait for a slot.
    wait: Duration,
    /// Permits for threads that work on large bodies: half the number of processors, so that the
    /// other half serves the connections.
    large: Arc<Semaphore>,
    /// Bytes of refused bodies that were read since the last pause.
    discards: tokio::sync::Mutex<usize>,
    /// The methods of the manager, shared by the clients of all requests.
    manager: Mutex<Option<KnownManager>>,
}

/// A request that is being served. Dropping the value frees the slot of the request.
pub(super) struct Visit {
    _turn: Turn,
    /// The charge for the memory that each request needs.
    pub(super) standing: Option<Charge>,
    counters: Arc<Counters>,
}

impl Visits {
    /// Creates the slots for the limits of the settings.
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

    /// Waits for a slot among the slots for requests of `owner`, which is a user or an IP address.
    ///
    /// # Errors
    ///
    /// Fails with 503 if no slot becomes free within `http_queue_timeout`.
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

    /// Counts `bytes` of a refused body and pauses if necessary, so that all refused bodies
    /// together are read at [`DISCARDED`] bytes per [`PAUSE`].
    pub(super) async fn discarded(&self, bytes: usize) {
        // This lock is held during the pauses, so that all other refused bodies wait too.
        let mut read = self.discards.lock().await;
        *read += bytes;
        while *read >= DISCARDED {
            *read -= DISCARDED;
            sleep(PAUSE).await;
        }
    }

    /// Runs `work`, which processes `bytes` bytes. Runs small work directly. Runs larger work on a
    /// blocking thread as soon as a permit is free.
    ///
    /// # Errors
    ///
    /// Fails if the work panics or the server shuts down.
    ///
    /// # Cancellation
    ///
    /// Work that has started on a thread continues if the future is dropped.
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

    /// Gives `client` the methods of the workspace manager. The methods take most of the memory of
    /// a request's client, so they are fetched once and shared by the clients of all requests.
    ///
    /// # Errors
    ///
    /// Fails if the manager does not respond.
    pub(super) async fn introduce(&self, client: &Client) -> Result<(), hypha_rpc::Error> {
        // Concurrent requests may each find no cached methods and fetch them. The last result is
        // kept; all results are equal.
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
    async fn requests_above_the_limit_wait_and_are_then_refused() {
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
    async fn refused_bodies_share_one_rate_limit() {
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
