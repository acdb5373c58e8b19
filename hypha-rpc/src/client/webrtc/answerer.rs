//! The answering side: the signaling service of a client.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::accounts::{Accounts, Seat};
use super::options::RtcOptions;
use super::{WireDescription, channel_settings, identity, unopened};
use crate::client::{Client, Settings, Shared};
use crate::engine::LinkPeer;
use crate::error::{ConnectError, RejectKind, report};
use crate::runtime::{Instant, timeout};
use crate::service::{Connection, Engine, IncomingCall, refusal};
use crate::transport::webrtc::{
    ChannelLimits, Description, IceServer as Server, OpenChannel, Pending,
};
use hypha_wire::{Args, WireError, valid_client_id};

/// Time for which the answering side uses its result again, also if the call failed.
const ICE_SERVERS_AGE: Duration = Duration::from_secs(10);

/// The signaling service of a client, and the connections that were opened through it.
pub(super) struct Answerer {
    engine: Weak<Engine>,
    /// State for the calls of this client. A service must not own it.
    shared: Weak<Shared>,
    options: RtcOptions,
    accounts: Arc<Accounts>,
    recent_servers: RecentServers,
}

/// Servers of the last call of a service for ICE servers. Other clients choose the times of their
/// offers, but not the rate of the calls.
#[derive(Default)]
struct RecentServers(tokio::sync::Mutex<Option<(Instant, Vec<Server>)>>);

impl RecentServers {
    /// Returns the servers of the last call, or the outcome of `fetch` if it is too old. At most
    /// one call is in flight.
    async fn get(&self, fetch: impl Future<Output = Vec<Server>>) -> Vec<Server> {
        let mut last = self.0.lock().await;
        if let Some((at, servers)) = &*last {
            if at.elapsed() < ICE_SERVERS_AGE {
                return servers.clone();
            }
        }
        let servers = fetch.await;
        *last = Some((Instant::now(), servers.clone()));
        servers
    }
}

impl Answerer {
    pub(super) fn new(client: &Client, options: RtcOptions) -> Self {
        let engine = client.engine();
        let Settings {
            max_chunk_bytes,
            memory,
            ..
        } = &engine.settings;
        Answerer {
            engine: Arc::downgrade(engine),
            shared: Arc::downgrade(&client.shared),
            accounts: Arc::new(Accounts::new(
                options.max_connections,
                *max_chunk_bytes,
                memory.clone(),
            )),
            recent_servers: RecentServers::default(),
            options,
        }
    }

    /// Answers an offer, and starts the task that serves the connection.
    pub(super) async fn offer(&self, call: &IncomingCall) -> Result<Args, WireError> {
        let offer: WireDescription = call.args(&["params"])?.required(0)?;
        let context = call.context();
        let caller = LinkPeer {
            address: context.from().to_owned(),
            workspace: context.workspace().to_owned(),
            user: context.user().clone(),
        };
        let seat = self.accounts.seat(&caller.address);
        let seat = seat.map_err(|full| refusal(RejectKind::Busy, "RuntimeError", full))?;
        let engine = self.engine.upgrade();
        let engine = engine.ok_or_else(|| WireError::new("RPC connection closed"))?;
        let client = Client {
            connection: Connection::borrowing(Arc::clone(&engine)),
            // The state is gone if the program has dropped its client, but not all services.
            shared: self.shared.upgrade().unwrap_or_default(),
        };
        let limit = self.options.timeout;
        let answering = async {
            // An offer that is refused does not make this client call the service.
            let offer = Description::from(offer).checked_offer()?;
            let further = self.options.further_servers(&client);
            let ice = self.options.ice(self.recent_servers.get(further).await);
            Pending::answer(offer, &ice).await
        };
        let answered = timeout(limit, answering).await;
        let answered = answered
            .unwrap_or_else(|_| Err(unopened(format!("there was no answer within {limit:?}"))));
        let (pending, limits, answer) =
            answered.map_err(|e| WireError::new(report(&e.with_peer(&caller.address))))?;
        let mut answer = WireDescription::from(answer);
        answer.workspace = Some(engine.identity().workspace.clone());
        let connection = Arc::downgrade(&engine);
        engine.spawn(async move {
            let address = caller.address.clone();
            if let Err(error) = serve(connection, pending, limits, caller, limit, &seat).await {
                tracing::debug!("{}", report(&error.with_peer(&address)));
            }
        });
        call.reply(&answer)
    }
}

/// Serves a connection until it is closed.
async fn serve(
    engine: Weak<Engine>,
    pending: Pending,
    limits: ChannelLimits,
    caller: LinkPeer,
    limit: Duration,
    seat: &Seat,
) -> Result<(), ConnectError> {
    let opened = timeout(limit, pending.accept(limits)).await;
    let opened = opened
        .unwrap_or_else(|_| Err(unopened(format!("no channel was opened within {limit:?}"))))?;
    let OpenChannel { link, label, .. } = opened;
    // The label becomes a part of addresses.
    if !valid_client_id(&label) {
        let label: String = label.chars().take(64).collect();
        return Err(unopened(format!(
            "the channel label `{label}` is not valid"
        )));
    }
    let Some(shared) = engine.upgrade() else {
        return Ok(());
    };
    let settings = channel_settings(&shared, limits, caller, Some(seat.memory()));
    let identity = identity(&shared.identity().workspace, &label);
    let client = Client::sharing(link, identity, settings, Some(&shared));
    // The connection must not keep the shared one alive.
    drop(shared);
    client.closed().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn servers_are_fetched_once_in_ten_seconds() {
        let recent = RecentServers::default();
        let calls = AtomicUsize::new(0);
        let get = || {
            recent.get(async {
                calls.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(2)).await;
                Vec::new()
            })
        };
        // Only one of them calls the service.
        tokio::join!(get(), get(), get());
        get().await;
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        tokio::time::sleep(ICE_SERVERS_AGE).await;
        // A call that ends early has no effect on the others.
        let cancelled = timeout(Duration::from_secs(1), get());
        let (cancelled, _) = tokio::join!(cancelled, get());
        assert!(cancelled.is_err());
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }
}
