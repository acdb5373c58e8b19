//! Tests the blocking API with a server in this process.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hypha_rpc::blocking::{self, Client};
use hypha_rpc::client::{CloseReason, State};
use hypha_rpc::error::{ErrorKind, RejectKind};
use hypha_rpc::prelude::*;
use tokio::runtime::Runtime;

struct Desk;

/// A service whose methods are not async.
#[hypha_service(id = "desk", visibility = "public")]
impl Desk {
    /// Double a number.
    pub fn double(&self, n: i64) -> i64 {
        2 * n
    }

    /// Call a function of the caller.
    pub fn apply(&self, n: i64, run: Callback<i64, i64>) -> Result<i64, Error> {
        run.call(n).wait()
    }
}

/// A service that disconnects its own client.
struct Quitter(std::sync::Mutex<Option<Client>>);

#[hypha_service(id = "quitter")]
impl Quitter {
    /// Disconnect the client of this method.
    pub fn disconnect(&self) -> Result<bool, String> {
        let client = self.0.lock().map_err(|e| e.to_string())?.take();
        let client = client.ok_or("no client")?;
        let begin = Instant::now();
        client.disconnect().map_err(|e| e.to_string())?;
        Ok(begin.elapsed() < Duration::from_secs(1))
    }
}

struct Server {
    runtime: Runtime,
    server: Option<hypha_server::Server>,
}

impl Server {
    fn start() -> Result<Server> {
        let runtime = Runtime::new()?;
        let builder = hypha_server::Server::builder().bind("127.0.0.1:0");
        let server = Some(runtime.block_on(builder.start())?);
        Ok(Server { runtime, server })
    }

    fn url(&self) -> Result<String> {
        Ok(self.server.as_ref().context("it runs")?.url().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.shutdown());
        }
    }
}

#[test]
fn a_blocking_client_works_like_an_async_one() -> Result<()> {
    let server = Server::start()?;
    let host = blocking::connect(server.url()?)?;
    ensure!(host.state() == State::Connected);
    let mut states = host.states();
    let info = host.register_service(Desk).name("The desk").wait()?;
    ensure!(info.id == format!("{}/{}:desk", host.workspace(), host.client_id()));

    let options = hypha_rpc::connect(server.url()?).client_id("caller");
    let caller = blocking::connect(options)?;
    ensure!(caller.client_id() == "caller" && caller.identity().client_id == "caller");
    let desk: DeskProxy = caller.proxy(&info.id).wait()?;
    ensure!(desk.double(21).wait()? == 42);
    ensure!(desk.apply(3, Callback::blocking(|n| n + 1)).wait()? == 4);
    let dynamic = caller.get_service(&info.id).wait()?;
    ensure!(dynamic.call::<i64>("double", args!(2)).wait()? == 4);
    let direct = host.get_remote_service("desk").wait()?;
    ensure!(direct.has_method("double"));
    let listed = host.list_services(None).wait()?;
    ensure!(listed.iter().any(|service| service.id.ends_with(":desk")));
    let missing = caller.get_service("missing").wait();
    ensure!(
        matches!(&missing, Err(Error::Rejected(e)) if e.kind == RejectKind::UnknownService),
        "{missing:?}"
    );

    let token = host.manager()?.generate_token(None).wait()?;
    let options = hypha_rpc::connect(server.url()?)
        .workspace(host.workspace())
        .token(token);
    let colleague = blocking::connect(options)?;
    ensure!(colleague.workspace() == host.workspace());
    host.ping(&colleague.client_id(), Duration::from_secs(10))?;
    host.subscribe(["news"])?;
    let mut news = host.events("news");
    colleague.emit("news", "*", "two plates are free")?;
    let event = news.next().context("no event")??;
    ensure!(
        event.data().as_str() == Some("two plates are free"),
        "{event:?}"
    );
    ensure!(host.stats().calls_received > 0);

    host.unregister_service("desk")?;
    let error = desk.double(1).wait().expect_err("unregistered");
    ensure!(error.kind() == ErrorKind::Rejected, "{error}");
    ensure!(states.next().context("no state")?? == State::Connected);
    host.disconnect()?;
    ensure!(matches!(*host.closed()?, CloseReason::Requested));
    let closed = states.next().context("no state")??;
    ensure!(closed.is_closed() && states.next().is_none() && news.next().is_none());
    let error = host.get_service("desk").wait().expect_err("closed");
    ensure!(error.kind() == ErrorKind::Disconnected, "{error}");
    Ok(())
}

#[test]
fn errors_equal_those_of_the_async_client() -> Result<()> {
    let server = Server::start()?;
    let client = blocking::connect(server.url()?)?;
    let find = || client.get_service("nobody:missing");
    let waited = find().wait().expect_err("nobody");
    let awaited = server.runtime.block_on(async { find().await });
    ensure!(waited.to_string() == awaited.expect_err("nobody").to_string());
    // The blocking client also works on the blocking threads of an async program.
    let own = server.runtime.block_on(async {
        let client = hypha_rpc::connect(server.url()?).await?;
        client.register_service(Desk).await?;
        anyhow::Ok(Client::from(client))
    })?;
    let desk: DeskProxy = own.proxy("desk").wait()?;
    ensure!(desk.double(4).wait()? == 8);
    let refused = server.runtime.block_on(async { own.disconnect() });
    let refused = refused.expect_err("within a runtime").to_string();
    ensure!(
        refused.contains("`blocking::Client::disconnect`")
            && refused.contains("`Client::disconnect`"),
        "{refused}"
    );
    own.disconnect()?;
    Ok(())
}

#[test]
fn a_proxy_keeps_the_connection_and_a_method_may_disconnect() -> Result<()> {
    let server = Server::start()?;
    let host = blocking::connect(server.url()?)?;
    let desk: DeskProxy = {
        host.register_service(Desk).wait()?;
        let client = blocking::connect(server.url()?)?;
        client.proxy(format!("{}/desk", host.workspace())).wait()?
    };
    ensure!(desk.double(2).wait()? == 4);

    let quitter = Quitter(std::sync::Mutex::new(Some(host.clone())));
    let id = host
        .register_service(quitter)
        .visibility(Visibility::Public)
        .wait()?
        .id;
    let caller = blocking::connect(server.url()?)?;
    let quitter: QuitterProxy = caller.proxy(id).wait()?;
    ensure!(quitter.disconnect().wait()?, "it waited for itself");
    ensure!(matches!(*host.closed()?, CloseReason::Requested));
    Ok(())
}

/// Returns whether this process handles SIGTERM. The client first installs its handler for Ctrl-C
/// and then its handler for SIGTERM. Therefore, if this function returns true, the client handles
/// both signals.
#[cfg(target_os = "linux")]
fn signals_are_watched() -> Result<bool> {
    const SIGTERM: u64 = 1 << (15 - 1);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let caught = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .context("no caught signals")?;
    Ok(u64::from_str_radix(caught.trim(), 16)? & SIGTERM != 0)
}

#[test]
#[cfg(target_os = "linux")]
fn a_client_serves_until_ctrl_c() -> Result<()> {
    let server = Server::start()?;
    let client = blocking::connect(server.url()?)?;
    client.register_service(Desk).wait()?;
    let serving = client.clone();
    let serving = std::thread::spawn(move || serving.run_until_ctrl_c());
    while !signals_are_watched()? {
        ensure!(!serving.is_finished(), "{:?}", serving.join());
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut kill = std::process::Command::new("kill");
    ensure!(
        kill.args(["-INT", &std::process::id().to_string()])
            .status()?
            .success()
    );
    let ended = serving.join().ok().context("it panicked")?;
    ensure!(ended.is_ok() && client.state().is_closed(), "{ended:?}");
    Ok(())
}
