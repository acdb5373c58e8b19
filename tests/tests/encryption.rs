//! Tests encrypted calls between Rust, Python and JavaScript through both servers: calls,
//! callbacks, returned functions, streams, chunked messages, and trusted keys.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::stream;
use hypha_rpc::Client;
use hypha_rpc::crypto::{KeyPair, PublicKey};
use hypha_rpc::prelude::*;
use hypha_rpc_tests::conformance::Language;
use hypha_rpc_tests::peers::{javascript_program, or_skip, python_program};
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{Kind, Server};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);

/// Service with encrypted arguments and results.
#[hypha_service(id = "safe", visibility = "public")]
trait Safe {
    async fn whisper(&self, text: String, ctx: &Context) -> (String, Option<String>);
    async fn tell(&self, listener: Callback<String, String>) -> Result<String, Error>;
    async fn adder(&self, n: i64) -> Callback<i64, i64>;
    async fn stories(&self, n: u32) -> impl Stream<Item = String>;
}

struct Impl;

impl Safe for Impl {
    async fn whisper(&self, text: String, ctx: &Context) -> (String, Option<String>) {
        let key = ctx.caller_public_key().map(|key| key.to_string());
        (format!("secret {text}"), key)
    }

    async fn tell(&self, listener: Callback<String, String>) -> Result<String, Error> {
        listener.call("secret rumour".into()).await
    }

    async fn adder(&self, n: i64) -> Callback<i64, i64> {
        Callback::new(move |m| async move { n + m })
    }

    async fn stories(&self, n: u32) -> impl Stream<Item = String> {
        stream::iter((0..n).map(|n| format!("secret story {n}")))
    }
}

fn program(language: Language, url: &str) -> Result<Command> {
    let mut command = match language {
        Language::Python => python_program("encryption_peer.py")?,
        _ => javascript_program("encryption_peer.mjs")?,
    };
    command.args(["--server-url", url]);
    Ok(command)
}

async fn connect(url: &str) -> Result<Client> {
    Ok(hypha_rpc::connect(url)
        .encryption(KeyPair::generate()?)
        .await?)
}

fn own_key(client: &Client) -> Result<PublicKey> {
    client.public_key().context("the client has no key")
}

/// Tests a service in Rust. A client in `language` calls the service.
async fn serve(language: Language, url: &str) -> Result<()> {
    let client = connect(url).await?;
    let info = client.register_service(SafeService::new(Impl)).await?;
    let mut command = program(language, url)?;
    command.args([
        "--service",
        &info.id,
        "--key",
        &own_key(&client)?.to_string(),
    ]);
    let process = Process::start("the caller", &command)?;
    let status = process.wait(LIMIT)?;
    ensure!(status.success(), "{status}\n{}", process.transcript(0));
    let lines = process.stdout();
    let said = lines.iter().find(|line| line.starts_with('{'));
    let said: serde_json::Value = serde_json::from_str(said.context("it said nothing")?)?;
    let wanted = json!({
        "key": said["key"],
        "whisper": ["secret word", said["key"]],
        "tell": "heard secret rumour",
        "adder": 3,
        "stories": ["secret story 0", "secret story 1", "secret story 2"],
        "long": 800_007,
        "plain": ["secret word", null],
    });
    ensure!(said == wanted, "{said}");
    client.disconnect().await;
    Ok(())
}

/// Tests a service in `language`. A Rust client calls the service.
async fn call(language: Language, url: &str) -> Result<()> {
    let client = connect(url).await?;
    let own = own_key(&client)?;
    let process = Process::start("the host", &program(language, url)?)?;
    let ready = process.wait_for_prefix(LIMIT, "READY ")?;
    let (id, key) = ready.split_once(' ').context("no key")?;
    let key: PublicKey = key.parse()?;

    let safe: SafeProxy = client.proxy(id).encryption_public_key(key).await?;
    let said = safe.whisper("word".into()).await?;
    ensure!(
        said == ("secret word".into(), Some(own.to_string())),
        "{said:?}"
    );
    let listener = Callback::new(|text: String| async move { format!("heard {text}") });
    let told = safe
        .tell(listener)
        .await
        .map_err(Error::untyped::<std::convert::Infallible>)?;
    ensure!(told == "heard secret rumour", "{told}");
    ensure!(safe.adder(1).await?.call(2).await? == 3);
    let mut stories = safe.stories(3).await?;
    let mut heard = Vec::new();
    while let Some(story) = stories.try_next().await? {
        heard.push(story);
    }
    ensure!(heard == ["secret story 0", "secret story 1", "secret story 2"]);
    let (long, _) = safe.whisper("word".repeat(200_000)).await?;
    ensure!(long.len() == 800_007);
    let plain: SafeProxy = client.proxy(id).await?;
    let said = plain.whisper("word".into()).await?;
    ensure!(said == ("secret word".into(), None), "{said:?}");
    process.terminate()?;
    client.disconnect().await;
    Ok(())
}

/// Tests a service in `language` that accepts only callers with a trusted key.
async fn trust(language: Language, url: &str) -> Result<()> {
    let client = connect(url).await?;
    let mut command = program(language, url)?;
    command.args(["--trusted-key", &own_key(&client)?.to_string()]);
    let process = Process::start("the host", &command)?;
    let ready = process.wait_for_prefix(LIMIT, "READY ")?;
    let (id, key) = ready.split_once(' ').context("no key")?;
    let key: PublicKey = key.parse()?;

    let safe: SafeProxy = client.proxy(id).encryption_public_key(key).await?;
    safe.whisper("word".into()).await?;
    let plain: SafeProxy = client.proxy(id).await?;
    let error = plain
        .whisper("word".into())
        .await
        .err()
        .context("trusted without a key")?;
    ensure!(error.to_string().contains("Encryption required"), "{error}");
    let stranger = connect(url).await?;
    let safe: SafeProxy = stranger.proxy(id).encryption_public_key(key).await?;
    let error = safe
        .whisper("word".into())
        .await
        .err()
        .context("a stranger was trusted")?;
    ensure!(
        error.to_string().contains("not in the trusted keys list"),
        "{error}"
    );
    process.terminate()?;
    stranger.disconnect().await;
    client.disconnect().await;
    Ok(())
}

fn check(language: Language, work: impl AsyncFn(Language, &str) -> Result<()>) {
    if or_skip(language.installed()).is_none() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for kind in [Kind::Python, Kind::Ours] {
        let Some(server) = Server::shared(kind) else {
            continue;
        };
        if let Err(error) = runtime.block_on(work(language, &server.url)) {
            panic!("{language:?} through {}: {error:#}", server.kind);
        }
    }
}

#[test]
fn python_calls_rust() {
    check(Language::Python, serve);
}

#[test]
fn javascript_calls_rust() {
    check(Language::JavaScript, serve);
}

#[test]
fn rust_calls_python() {
    check(Language::Python, call);
}

#[test]
fn rust_calls_javascript() {
    check(Language::JavaScript, call);
}

#[test]
fn python_trusts_keys() {
    check(Language::Python, trust);
}

#[test]
fn javascript_trusts_keys() {
    check(Language::JavaScript, trust);
}
