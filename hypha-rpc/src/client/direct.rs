//! Automatic direct connections (`docs/protocol/06-webrtc.md#s9`). The calls of a service that was
//! found through the manager use a direct connection to its provider while there is one, and
//! otherwise pass through the server.
//!
//! Connections are opened by lookups and by calls, never on a timer: a program that calls nothing
//! causes no attempts. A connection closes with the connection to the server, or some time after
//! the last service that was found at its provider is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Client, CloseReason, PeerConnection, RtcOptions, Upgrade};
use crate::backoff::Doubling;
use crate::call::Direct;
use crate::error::{Error, report};
use crate::runtime::{Instant, timeout};
use crate::service::Connection;

/// Maximum time that a lookup waits for a direct connection. If it takes longer, the first calls
/// pass through the server.
const LOOKUP_WAIT: Duration = Duration::from_secs(3);

/// Pauses between two attempts to open a connection.
const PAUSES: Doubling = Doubling {
    first: Duration::from_secs(5),
    longest: Duration::from_secs(300),
};

/// Minimum duration of a connection that counts as a success. A shorter one counts as a failed
/// attempt, so that connections that break at once are not opened again and again.
const STABLE: Duration = Duration::from_secs(60);

/// Time between two checks whether a connection is still in use. A connection outlives its services
/// for up to this time, because a program that looks up a service for each call must not open a
/// connection each time.
const IDLE_CHECK: Duration = Duration::from_secs(60);

/// Function that opens a connection to the client at an address. `None` if that client does not
/// accept automatic connections.
type Open = dyn Fn(Client, String) -> BoxFuture<'static, Result<Option<PeerConnection>, Error>>
    + Send
    + Sync;

/// Returns the function with which lookups of a client open direct connections.
pub(super) fn upgrade(options: RtcOptions) -> Upgrade {
    let open = move |client: Client, provider: String| {
        let options = options.clone();
        async move { client.open_automatically(&provider, options).await }.boxed()
    };
    upgrade_with(Arc::new(open))
}

fn upgrade_with(open: Arc<Open>) -> Upgrade {
    let routes = Arc::new(Routes {
        open,
        providers: Mutex::default(),
    });
    Box::new(move |client, provider| {
        // A connection of the program must close although a service found with it still exists.
        let client = client.unowned();
        let (routes, provider) = (Arc::clone(&routes), routes.provider(provider));
        async move {
            if let Some(mut opening) = provider.start(&client) {
                // An error means that the connection to the server was closed.
                let _ = timeout(LOOKUP_WAIT, opening.changed()).await;
            }
            let route = Route {
                client,
                routes,
                provider: Mutex::new(provider),
            };
            Arc::new(move |address: &str| route.connection(address)) as Direct
        }
        .boxed()
    })
}

/// Path of one service to its provider.
struct Route {
    client: Client,
    routes: Arc<Routes>,
    provider: Mutex<Arc<Provider>>,
}

impl Route {
    fn connection(&self, address: &str) -> Option<(Connection, String)> {
        let mut provider = self.provider.lock();
        if provider.address != address {
            // The service has moved.
            *provider = self.routes.provider(address);
        }
        provider.connection(&self.client)
    }
}

/// Direct connections of one client.
struct Routes {
    open: Arc<Open>,
    /// Weak, because the services of a provider and the task of its connection own it.
    providers: Mutex<HashMap<String, Weak<Provider>>>,
}

impl Routes {
    fn provider(&self, address: &str) -> Arc<Provider> {
        let mut providers = self.providers.lock();
        providers.retain(|_, provider| provider.strong_count() > 0);
        let known = providers.get(address).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let provider = Arc::new(Provider {
                address: address.to_owned(),
                open: Arc::clone(&self.open),
                state: Mutex::default(),
            });
            providers.insert(address.to_owned(), Arc::downgrade(&provider));
            provider
        })
    }
}

/// Client that provides services, and the connection to it.
struct Provider {
    address: String,
    open: Arc<Open>,
    state: Mutex<ProviderState>,
}

#[derive(Default)]
struct ProviderState {
    /// The connection, and the time at which it was opened.
    peer: Option<(PeerConnection, Instant)>,
    /// Changes at the end of the running attempt to open a connection.
    opening: Option<watch::Receiver<()>>,
    /// Number of consecutive failed attempts.
    failures: u32,
    /// Time before which no connection is opened.
    retry_at: Option<Instant>,
}

impl ProviderState {
    /// Returns the open connection. Removes a closed one.
    fn open_peer(&mut self) -> Option<&PeerConnection> {
        let is_lost = |(peer, _): &mut (PeerConnection, Instant)| !peer.is_open();
        if let Some((_, opened)) = self.peer.take_if(is_lost) {
            self.failures = match opened.elapsed() < STABLE {
                true => self.failures.saturating_add(1),
                false => 1,
            };
            self.pause();
        }
        self.peer.as_ref().map(|(peer, _)| peer)
    }

    /// Starts a pause, and returns its duration.
    fn pause(&mut self) -> Duration {
        let pause = PAUSES.pause(self.failures.saturating_sub(1), rand::random());
        self.retry_at = Some(Instant::now() + pause);
        pause
    }
}

impl Provider {
    /// Returns the connection, and the address of the provider on it. If there is none, starts to
    /// open one.
    fn connection(self: &Arc<Self>, client: &Client) -> Option<(Connection, String)> {
        if let Some(peer) = self.state.lock().open_peer() {
            return Some(peer.route());
        }
        self.start(client);
        None
    }

    /// Starts to open a connection, unless there is one, or the last attempt failed just now.
    /// Returns a receiver that changes at the end of the attempt.
    fn start(self: &Arc<Self>, client: &Client) -> Option<watch::Receiver<()>> {
        if *self.address == client.engine().identity().address() {
            return None;
        }
        let mut state = self.state.lock();
        if state.open_peer().is_some() {
            return None;
        }
        if state.opening.is_some() {
            return state.opening.clone();
        }
        if state.retry_at.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        let (ended, opening) = watch::channel(());
        state.opening = Some(opening.clone());
        drop(state);
        let (provider, client) = (Arc::clone(self), client.clone());
        let engine = Arc::clone(client.engine());
        engine.spawn(async move {
            let opened = (provider.open)(client, provider.address.clone()).await;
            let opened = provider.opened(opened);
            ended.send_replace(());
            match opened {
                Ok(connection) => provider.keep(&connection).await,
                // Until then, lookups must know of the failure, even if they drop the services.
                Err(pause) => crate::runtime::sleep(pause).await,
            }
        });
        Some(opening)
    }

    /// Waits until the connection is closed or no longer used.
    async fn keep(self: Arc<Self>, Closing(client): &Closing) {
        while timeout(IDLE_CHECK, client.closed()).await.is_err() {
            if Arc::strong_count(&self) == 1 {
                return;
            }
        }
    }

    /// Stores the outcome of an attempt. Returns a guard of the new connection, or the pause until
    /// the next attempt.
    fn opened(&self, outcome: Result<Option<PeerConnection>, Error>) -> Result<Closing, Duration> {
        let peer = outcome.unwrap_or_else(|error| {
            let (provider, error) = (&self.address, report(&error));
            tracing::info!("no direct connection to {provider}: {error}");
            None
        });
        let mut state = self.state.lock();
        state.opening = None;
        let Some(peer) = peer else {
            state.failures = state.failures.saturating_add(1);
            return Err(state.pause());
        };
        tracing::info!("the direct connection to {} is open", self.address);
        let closing = Closing(peer.unowned_client());
        state.peer = Some((peer, Instant::now()));
        Ok(closing)
    }
}

/// Guard that closes a direct connection. The tasks of the connection to the server own it, so that
/// both connections end together.
struct Closing(Client);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.engine().close(CloseReason::Requested);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::{Identity, Settings};
    use super::*;
    use crate::args;
    use crate::call::RemoteService;
    use crate::error::Lost;
    use crate::service::{IncomingCall, Method, Service, Visibility};
    use crate::transport::memory;

    const PROVIDER: &str = "ws/host";

    /// A host, a caller, and a service of the host that the caller found.
    struct Fixture {
        host: Client,
        caller: Client,
        service: RemoteService,
        /// Whether attempts to open a connection succeed.
        works: Arc<Mutex<bool>>,
        attempts: Arc<AtomicUsize>,
        /// The host's ends of the connections.
        channels: Arc<Mutex<Vec<Client>>>,
        upgrade: Upgrade,
    }

    impl Fixture {
        async fn new(works: bool) -> Self {
            let (ours, theirs) = memory::pair(16);
            let client = |link, id| {
                Client::from_link(
                    Box::new(link),
                    Identity::new("ws", id),
                    Settings::in_process(),
                )
            };
            let (host, caller) = (client(ours, "host"), client(theirs, "caller"));
            let service = Service::new("where")
                .visibility(Visibility::Public)
                .require_context(true)
                .method(Method::new("link", |call: IncomingCall| async move {
                    call.reply(call.context().connection_type())
                }))
                .method(Method::new("wait", |call: IncomingCall| async move {
                    if call.context().connection_type() == "webrtc" {
                        std::future::pending::<()>().await;
                    }
                    call.reply("done")
                }));
            host.register_service(service).await.expect("registers");
            let works = Arc::new(Mutex::new(works));
            let (attempts, channels) = <(Arc<AtomicUsize>, Arc<Mutex<Vec<Client>>>)>::default();
            let open = {
                let (host, works) = (host.unowned(), Arc::clone(&works));
                let (attempts, channels) = (Arc::clone(&attempts), Arc::clone(&channels));
                move |_: Client, provider: String| {
                    assert_eq!(provider, PROVIDER);
                    attempts.fetch_add(1, Ordering::Relaxed);
                    let works = *works.lock();
                    let opened = works.then(|| {
                        let (ours, theirs) = memory::pair(16);
                        channels.lock().push(PeerConnection::served(ours, &host));
                        PeerConnection::over(client(theirs, "channel-caller"), "ws/channel")
                    });
                    async move { Ok(opened) }.boxed()
                }
            };
            let upgrade = upgrade_with(Arc::new(open));
            let fetched = caller.get_remote_service("ws/host:where").await;
            let fetched = fetched.expect("is registered").description();
            let direct = upgrade(&caller, PROVIDER).await;
            let find = |_| async { Err(Error::Invalid("not found".into())) }.boxed();
            let connection = caller.connection.clone();
            let service = RemoteService::found(connection, Box::new(find), Some(direct), fetched);
            Fixture {
                host,
                caller,
                service,
                works,
                attempts,
                channels,
                upgrade,
            }
        }

        /// Returns the type of the link over which a call passes.
        async fn link(&self) -> String {
            let link = self.service.call("link", args!()).await;
            link.expect("every call succeeds")
        }

        fn attempts(&self) -> usize {
            self.attempts.load(Ordering::Relaxed)
        }

        /// Closes the connections, and waits until the caller has noticed it.
        async fn lose(&self) {
            let lost = std::mem::take(&mut *self.channels.lock());
            for channel in lost {
                channel.engine().close(CloseReason::Requested);
            }
            // The paused clock advances when all tasks are idle.
            crate::runtime::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_pass_through_the_server_after_failures() {
        let fixture = Fixture::new(false).await;
        for _ in 0..20 {
            assert_ne!(fixture.link().await, "webrtc");
        }
        assert_eq!(fixture.attempts(), 1);
        // The pauses double from 5 s to 300 s, with a random factor from 0.5 to 1.5.
        let mut longest = 7.5;
        for attempt in 2..9 {
            let begin = Instant::now();
            while fixture.attempts() < attempt {
                assert_ne!(fixture.link().await, "webrtc");
                crate::runtime::sleep(Duration::from_millis(100)).await;
            }
            let pause = begin.elapsed().as_secs_f64();
            assert!(
                pause >= longest / 3.0 - 0.2 && pause <= longest + 0.2,
                "{pause}"
            );
            longest = (2.0 * longest).min(450.0);
        }
        *fixture.works.lock() = true;
        crate::runtime::sleep(Duration::from_secs(450)).await;
        // The call that starts the attempt passes through the server, and later ones do not.
        assert_ne!(fixture.link().await, "webrtc");
        crate::runtime::sleep(Duration::from_millis(1)).await;
        assert_eq!(fixture.link().await, "webrtc");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_is_replaced() {
        let fixture = Fixture::new(true).await;
        assert_eq!(fixture.link().await, "webrtc");
        let wait = || fixture.service.call::<String>("wait", args!());
        let (waiting, repeated) = (tokio::spawn(wait()), tokio::spawn(wait().idempotent()));
        crate::runtime::sleep(Duration::from_millis(1)).await;
        fixture.lose().await;
        // The method may have run, so that only the idempotent call is repeated.
        match waiting.await.expect("does not panic") {
            Err(Error::Disconnected(lost)) => {
                assert!(lost.may_have_run && lost.lost == Lost::Connection, "{lost}");
                assert_eq!(lost.call.peer, PROVIDER);
            }
            other => panic!("{other:?}"),
        }
        let repeated = repeated.await.expect("does not panic");
        assert_eq!(repeated.expect("passes through the server"), "done");
        assert_ne!(fixture.link().await, "webrtc");
        assert_eq!(fixture.attempts(), 1);
        crate::runtime::sleep(Duration::from_secs(8)).await;
        assert_ne!(fixture.link().await, "webrtc");
        crate::runtime::sleep(Duration::from_millis(1)).await;
        assert_eq!(fixture.link().await, "webrtc");
        assert_eq!(fixture.attempts(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_did_not_run_is_sent_through_the_server() {
        let fixture = Fixture::new(true).await;
        assert_eq!(fixture.link().await, "webrtc");
        // The host rejects calls on its end of the connection.
        for channel in &*fixture.channels.lock() {
            channel.engine().admission.leave();
        }
        assert_ne!(fixture.link().await, "webrtc");
        fixture
            .service
            .call::<()>("link", args!())
            .send()
            .await
            .expect("is sent");
        assert_eq!(fixture.attempts(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_outlives_its_services_for_a_minute() {
        let fixture = Fixture::new(true).await;
        let channel = fixture.channels.lock().pop().expect("is open");
        // Lookups share one connection.
        let other = (fixture.upgrade)(&fixture.caller, PROVIDER).await;
        drop(fixture.service);
        crate::runtime::sleep(2 * IDLE_CHECK).await;
        assert!(!channel.engine().lifecycle.is_closed());
        drop(other);
        let begin = Instant::now();
        channel.closed().await;
        assert!(begin.elapsed() <= IDLE_CHECK, "{:?}", begin.elapsed());
        // Another lookup opens another connection.
        let _direct = (fixture.upgrade)(&fixture.caller, PROVIDER).await;
        assert_eq!(fixture.attempts.load(Ordering::Relaxed), 2);
        // It ends with the connection to the server.
        let channel = fixture.channels.lock().pop().expect("is open");
        fixture.caller.disconnect().await;
        channel.closed().await;
        drop(fixture.host);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lookup_waits_for_a_limited_time() {
        let fixture = Fixture::new(false).await;
        let begin = Instant::now();
        let upgrade = upgrade_with(Arc::new(|_, _| std::future::pending().boxed()));
        let direct = upgrade(&fixture.caller, PROVIDER).await;
        assert_eq!(begin.elapsed(), LOOKUP_WAIT);
        assert!(direct(PROVIDER).is_none());
        // A client is no provider of itself.
        let begin = Instant::now();
        let _direct = upgrade(&fixture.caller, "ws/caller").await;
        assert!(begin.elapsed().is_zero());
    }
}
