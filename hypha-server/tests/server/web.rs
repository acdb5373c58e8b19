//! Tests HTTP applications of Rust programs, which register an axum router as a service.

use std::future::pending;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, Query, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use hypha_rpc::Client;
use hypha_rpc::web;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::{self, server};

const LIMIT: Duration = Duration::from_secs(20);

fn router(left: mpsc::Sender<()>) -> Router {
    let endless = move || {
        let left = left.clone();
        async move {
            // The stream, which holds `left`, is dropped when the visitor has disconnected.
            let pieces = stream::iter(["first"]).chain(stream::pending());
            let pieces = pieces.map(move |piece| {
                let _held = &left;
                Ok::<_, std::io::Error>(piece)
            });
            Body::from_stream(pieces)
        }
    };
    Router::new()
        .route("/", get(async || "the index"))
        .route(
            "/items/{name}",
            get(
                async |Path(name): Path<String>,
                       Query(query): Query<Vec<(String, String)>>,
                       headers: HeaderMap| {
                    let own = headers.get("x-own").and_then(|value| value.to_str().ok());
                    let own = own.unwrap_or_default().to_owned();
                    (
                        StatusCode::CREATED,
                        [("x-answer", own)],
                        format!("{name} {query:?}"),
                    )
                },
            ),
        )
        .route("/echo", post(async |request: Request| request.into_body()))
        .route("/length", post(async |body: Bytes| body.len().to_string()))
        .route(
            "/who",
            get(async |Extension(context): Extension<hypha_rpc::Context>| {
                context.workspace().to_owned()
            }),
        )
        .route("/endless", get(endless))
}

/// Reports when a handler is dropped.
struct Guard(mpsc::UnboundedSender<String>, &'static str);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.send(format!("{} dropped", self.1));
    }
}

/// Returns handlers that never respond, and report their start and their end.
fn silent(reports: &mpsc::UnboundedSender<String>) -> Router {
    let begin = {
        let reports = reports.clone();
        move |name| {
            let _ = reports.send(format!("{name} began"));
            Guard(reports.clone(), name)
        }
    };
    let (ignores, reads, drops, holds) = (begin.clone(), begin.clone(), begin.clone(), begin);
    let (waits, starts) = (reports.clone(), reports.clone());
    Router::new()
        .route(
            "/ignores",
            get(async move || {
                let _guard = ignores("ignores");
                pending::<()>().await;
            }),
        )
        .route(
            "/reads",
            post(async move |body: Bytes| {
                let _guard = reads("reads");
                pending::<()>().await;
                body
            }),
        )
        .route(
            "/drops",
            post(async move || {
                let _guard = drops("drops");
                pending::<()>().await;
            }),
        )
        .route(
            "/holds",
            post(async move |request: Request| {
                let _guard = holds("holds");
                pending::<()>().await;
                request.into_body()
            }),
        )
        .route(
            "/waits",
            get(
                async move |Extension(context): Extension<hypha_rpc::Context>| {
                    let _ = waits.send("waits began".to_owned());
                    context.cancellation().cancelled().await;
                    let _ = waits.send("waits told".to_owned());
                },
            ),
        )
        .route(
            "/starts",
            get(
                async move |Extension(context): Extension<hypha_rpc::Context>| {
                    let _ = starts.send("starts began".to_owned());
                    tokio::spawn(async move {
                        context.cancellation().cancelled().await;
                        let _ = starts.send("starts told".to_owned());
                    });
                    pending::<()>().await;
                },
            ),
        )
}

async fn offered(client: &Client, server: &str) -> Result<(String, mpsc::Receiver<()>)> {
    let (sender, left) = mpsc::channel(1);
    client
        .register_service(web::app("dashboard", router(sender)))
        .await?;
    Ok((
        format!("{server}/{}/apps/dashboard", client.workspace()),
        left,
    ))
}

#[tokio::test]
async fn a_router_is_an_application_of_the_workspace() -> Result<()> {
    let server = server().await?;
    let client = hypha_rpc::connect(server.url()).await?;
    let (url, _left) = offered(&client, server.url()).await?;
    let http = support::http();
    let index = http.get(format!("{url}/")).send().await?;
    assert_eq!(index.text().await?, "the index");

    let item = http.get(format!("{url}/items/a%20b%C3%BC?x=1&y=%2F"));
    let item = item.header("x-own", "mine").send().await?;
    assert_eq!(item.status().as_u16(), 201);
    assert_eq!(item.headers().get("x-answer").context("a header")?, "mine");
    assert_eq!(item.text().await?, r#"a bü [("x", "1"), ("y", "/")]"#);

    let missing = http.get(format!("{url}/nothing")).send().await?;
    assert_eq!(missing.status().as_u16(), 404);

    let data = Bytes::from(vec![7; 3 << 20]);
    let length = http
        .post(format!("{url}/length"))
        .body(data.slice(..1 << 20))
        .send()
        .await?;
    assert_eq!(length.text().await?, (1 << 20).to_string());
    let echo = http
        .post(format!("{url}/echo"))
        .body(data.clone())
        .send()
        .await?;
    assert_eq!(echo.bytes().await?, data);

    let who = http.get(format!("{url}/who")).send().await?;
    assert!(who.status().is_success(), "{who:?}");
    Ok(())
}

#[tokio::test]
async fn a_response_ends_when_its_visitor_disconnects() -> Result<()> {
    let server = server().await?;
    let client = hypha_rpc::connect(server.url()).await?;
    let (url, mut left) = offered(&client, server.url()).await?;
    let response = support::http().get(format!("{url}/endless")).send().await?;
    let mut pieces = response.bytes_stream();
    let first = timeout(LIMIT, pieces.next()).await?.context("a piece")??;
    assert_eq!(first, "first");
    // The service also holds a sender. Unregister the service, so that only the response holds a
    // sender.
    client.unregister_service("dashboard").await?;
    drop(pieces);
    assert!(timeout(LIMIT, left.recv()).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_visitor_disconnects_before_the_response() -> Result<()> {
    let server = server().await?;
    let client = hypha_rpc::connect(server.url()).await?;
    let (sender, mut reports) = mpsc::unbounded_channel();
    client
        .register_service(web::app("silent", silent(&sender)))
        .await?;
    let url = format!("{}/{}/apps/silent", server.url(), client.workspace());
    let http = support::http();
    let requests = [
        ("ignores", "dropped", None),
        ("waits", "told", None),
        ("starts", "told", None),
        ("reads", "dropped", Some(10)),
        ("reads", "dropped", Some(1 << 20)),
        ("drops", "dropped", Some(1 << 20)),
        ("holds", "dropped", Some(0)),
        ("holds", "dropped", Some(10)),
    ];
    let mut expected = requests.map(|(name, _, _)| format!("{name} began"));
    let visits = requests.map(|(name, _, body)| {
        tokio::spawn(match body {
            None => http.get(format!("{url}/{name}")).send(),
            Some(len) => {
                let post = http.post(format!("{url}/{name}"));
                post.body(vec![7; len]).send()
            }
        })
    });
    assert_eq!(&next(&mut reports).await?, sorted(&mut expected));
    for visit in visits {
        visit.abort();
    }
    let mut expected = requests.map(|(name, end, _)| format!("{name} {end}"));
    assert_eq!(&next(&mut reports).await?, sorted(&mut expected));
    Ok(())
}

fn sorted(reports: &mut [String; 8]) -> &[String; 8] {
    reports.sort();
    reports
}

/// Returns the next reports in alphabetical order.
async fn next(reports: &mut mpsc::UnboundedReceiver<String>) -> Result<[String; 8]> {
    let mut next = [const { String::new() }; 8];
    for report in &mut next {
        *report = timeout(LIMIT, reports.recv()).await?.context("a report")?;
    }
    next.sort();
    Ok(next)
}

#[tokio::test]
async fn a_slow_handler_still_reads_its_body_and_responds() -> Result<()> {
    let server = server().await?;
    let client = hypha_rpc::connect(server.url()).await?;
    // After one second, the library reads pieces of the body in advance. No other event shows this.
    let late = async |request: Request| {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        request.into_body()
    };
    let router = Router::new().route("/late", post(late));
    client.register_service(web::app("late", router)).await?;
    let url = format!("{}/{}/apps/late/late", server.url(), client.workspace());
    let requests = [0, 10, 3 << 20].map(|len| {
        let url = url.clone();
        async move {
            let data = Bytes::from(vec![7; len]);
            let echo = support::http().post(url).body(data.clone()).send().await?;
            anyhow::ensure!(echo.bytes().await? == data, "{len}");
            Ok(())
        }
    });
    futures_util::future::try_join_all(requests).await?;
    Ok(())
}
