//! Runs an attack: opens many connections, each of which repeats the same kind of attempt.

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

/// Pause of a connection after an attempt that failed.
const PAUSE: Duration = Duration::from_millis(100);
/// Maximum number of different outcomes that are counted. All further outcomes are counted as
/// `others`.
const OUTCOMES: usize = 24;
/// Maximum length of an outcome, in characters.
const OUTCOME: usize = 70;

/// Line that is printed when every connection has reached its goal. See [`Attack::reached`].
pub const READY: &str = "READY";
/// Prefix of the last line, which contains the outcomes of the attempts as JSON.
pub const OUTCOMES_PREFIX: &str = "OUTCOMES ";

/// Target and size of an attack.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address of the server under attack.
    #[arg(long)]
    pub server: SocketAddr,
    /// RPC address of an honest client.
    #[arg(long)]
    pub victim: String,
    /// Number of concurrent connections.
    #[arg(long)]
    pub connections: usize,
    /// Number of bytes that each connection sends.
    #[arg(long)]
    pub bytes: usize,
    /// Number of IP addresses from which the connections come.
    #[arg(long)]
    pub addresses: usize,
}

/// State of a running attack. All connections share the state.
#[derive(Debug)]
pub struct Attack {
    /// Target and size.
    pub options: Options,
    payload: OnceCell<Bytes>,
    desk: OnceCell<String>,
    login: OnceCell<String>,
    outcomes: Mutex<BTreeMap<String, usize>>,
    reached: Mutex<HashSet<usize>>,
}

impl Attack {
    /// Returns the loopback address of connection `n`.
    pub fn address(&self, n: usize) -> Ipv4Addr {
        let place = n % self.options.addresses.max(1);
        Ipv4Addr::new(127, 1, (place / 250) as u8, 1 + (place % 250) as u8)
    }

    /// Connects as a client.
    pub async fn enter(&self, n: usize) -> Result<Peer> {
        Peer::enter(self.address(n), self.options.server).await
    }

    /// Returns the bytes that all connections send. The first call creates the bytes with `make`.
    pub async fn payload(&self, make: impl FnOnce(usize) -> Vec<u8>) -> Bytes {
        let make = async || make(self.options.bytes).into();
        self.payload.get_or_init(make).await.clone()
    }

    /// Returns the path of the attackers' service. The first call registers the service.
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

    /// Returns the address of the client that provides the login service.
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
        // Replace digits with `#`, because numbers differ between attempts. A string of three
        // characters is an HTTP status, so keep the digits of such a string.
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

    /// Records that a connection has reached its goal. This is the case if an attempt has
    /// succeeded, if an attempt was rejected, or if the connection waits in the middle of an
    /// attempt.
    pub fn reached(&self, n: usize) {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        if reached.insert(n) && reached.len() == self.options.connections {
            println!("{READY}");
        }
    }

    /// Records that a connection waits in the middle of an attempt. The connection has then reached
    /// its goal.
    pub fn held(&self, n: usize) {
        self.count("held");
        self.reached(n);
    }
}

/// Public name of the login service.
const LOGIN: &str = "public/hypha-login";

/// Makes one attempt and returns its outcome. Each connection repeats the attempt.
pub type Attempt = fn(Arc<Attack>, usize) -> BoxFuture<'static, Result<String>>;

/// Runs the attack until the process receives SIGTERM, and then prints the outcomes.
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
