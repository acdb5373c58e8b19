//! Tests HTTP applications of Rust programs, which register an axum router as a service.

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
