//! The attacking process: many connections that do the same thing again and again.

use std::collections::{BTreeMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use clap::Args;
use futures_util::future::BoxFuture;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::OnceCell;
use tokio::time::sleep;

use crate::peer::{Peer, Reply};

/// Pause of a connection between two attempts, after one that failed.
const PAUSE: Duration = Duration::from_millis(100);
/// Different outcomes that are counted; further ones are counted together.
const OUTCOMES: usize = 24;
/// Longest text of an outcome, in characters.
const OUTCOME: usize = 70;

/// Printed when every connection has done its work at least once, or was refused.
pub const READY: &str = "READY";
/// Printed at the end, before the outcomes as JSON.
pub const OUTCOMES_PREFIX: &str = "OUTCOMES ";

/// Where and how much.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address of the server.
    #[arg(long)]
    pub server: SocketAddr,
    /// RPC address of an honest client.
    #[arg(long)]
    pub victim: String,
    /// Connections that attack at the same time.
    #[arg(long)]
    pub connections: usize,
    /// Size of what each of them sends, in bytes.
    #[arg(long)]
    pub bytes: usize,
    /// IP addresses that the connections come from.
    #[arg(long)]
    pub addresses: usize,
}

/// An attack under way, shared by its connections.
#[derive(Debug)]
pub struct Attack {
    /// Where and how much.
    pub options: Options,
    payload: OnceCell<Bytes>,
    desk: OnceCell<String>,
    login: OnceCell<String>,
    outcomes: Mutex<BTreeMap<String, usize>>,
    reached: Mutex<HashSet<usize>>,
}

impl Attack {
    /// The loopback address of a connection.
    pub fn address(&self, n: usize) -> Ipv4Addr {
        let place = n % self.options.addresses.max(1);
        Ipv4Addr::new(127, 1, (place / 250) as u8, 1 + (place % 250) as u8)
    }

    /// Connects as a client.
    pub async fn enter(&self, n: usize) -> Result<Peer> {
        Peer::enter(self.address(n), self.options.server).await
    }

    /// Bytes that all connections send, made once.
    pub async fn payload(&self, make: impl FnOnce(usize) -> Vec<u8>) -> Bytes {
        let make = async || make(self.options.bytes).into();
        self.payload.get_or_init(make).await.clone()
    }

    /// The path of a service of the attackers, made once.
    pub async fn desk(
        &self,
        kind: &str,
        replies: impl FnOnce(usize) -> Vec<(&'static str, Reply)>,
    ) -> Result<String> {
        let offer = async || {
            let address = Ipv4Addr::new(127, 2, 0, 1);
            let mut host = Peer::enter(address, self.options.server).await?;
            host.replies = replies(self.options.bytes).into_iter().collect();
            let path = host.offer(kind).await?;
            tokio::spawn(host.serve());
            anyhow::Ok(path)
        };
        self.desk.get_or_try_init(offer).await.cloned()
    }

    /// The address of the client that offers the login service.
    pub async fn login(&self, peer: &mut Peer) -> Result<String> {
        let find = async || {
            let info = peer
                .ask("get_service_info", &[&crate::wire::pack(&LOGIN.into())])
                .await?;
            let id = info["id"].as_str().unwrap_or_default();
            let client = id.rsplit_once(':').map_or(id, |(client, _)| client);
            let client = client.rsplit('/').next().unwrap_or_default();
            anyhow::Ok(format!("public/{client}"))
        };
        self.login.get_or_try_init(find).await.cloned()
    }

    /// Counts an outcome.
    pub fn count(&self, outcome: &str) {
        // Numbers differ from attempt to attempt, but a status tells something.
        let mut text: String = outcome.chars().take(OUTCOME).collect();
        if text.len() > 3 {
            let digit = |c: char| if c.is_ascii_digit() { '#' } else { c };
            text = text.chars().map(digit).collect();
        }
        let mut outcomes = self.outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        if outcomes.len() >= OUTCOMES && !outcomes.contains_key(&text) {
            text = "others".into();
        }
        *outcomes.entry(text).or_default() += 1;
    }

    /// Notes that a connection is where it wants to be.
    pub fn reached(&self, n: usize) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if reached.insert(n) && reached.len() == self.options.connections {
            println!("{READY}");
        }
    }

    /// Counts a connection that now waits.
    pub fn held(&self, n: usize) {
        self.count("held");
        self.reached(n);
    }
}

/// The public name of the login service.
const LOGIN: &str = "public/hypha-login";

/// One round of a connection, which is repeated; returns its end.
pub type Attempt = fn(Arc<Attack>, usize) -> BoxFuture<'static, Result<String>>;

/// Attacks until SIGTERM, then prints the outcomes.
pub async fn run(attempt: Attempt, options: Options) -> Result<()> {
    let mut stop = signal(SignalKind::terminate())?;
    let attack = Arc::new(Attack {
        options,
        payload: OnceCell::new(),
        desk: OnceCell::new(),
        login: OnceCell::new(),
        outcomes: Mutex::default(),
        reached: Mutex::default(),
    });
    for n in 0..attack.options.connections {
        let attack = attack.clone();
        tokio::spawn(async move {
            loop {
                let outcome = attempt(attack.clone(), n).await;
                attack.reached(n);
                match outcome {
                    Ok(outcome) => attack.count(&outcome),
                    Err(error) => {
                        attack.count(&format!("{error:#}"));
                        sleep(PAUSE).await;
                    }
                }
                tokio::task::yield_now().await;
            }
        });
    }
    stop.recv().await;
    let outcomes = attack
        .outcomes
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    println!("{OUTCOMES_PREFIX}{}", serde_json::to_string(&*outcomes)?);
    #[expect(clippy::exit, reason = "tasks of the attack never end by themselves")]
    std::process::exit(0)
}
