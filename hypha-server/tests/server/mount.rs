//! Tests a server that is mounted in the router of another program. The server uses the listener of
//! that program.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use hypha_rpc::prelude::*;
use hypha_server::Server;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support;

/// Starts a program that serves its own page and a Hypha server.
async fn program(base: &str) -> Result<(Server, String, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let builder = Server::builder().base_path(base);
    let (server, hypha) = builder.mount(address).await?;
    let router = Router::new().route("/page", get(async || "the page"));
    let router = match base {
        "/" => router.fallback_service(hypha),
        _ => router.merge(hypha),
    };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = tokio::spawn(async move {
        let _ = axum::serve(listener, service).await;
    });
    Ok((server, format!("http://{address}"), serving))
}

#[tokio::test]
async fn a_server_shares_the_listener_of_a_program() -> Result<()> {
    for base in ["/hypha", "/"] {
        let (server, root, serving) = program(base).await?;
        let url = format!("{root}{base}");
        assert_eq!(server.url(), url.trim_end_matches('/'));
        let http = support::http();
        let page = http.get(format!("{root}/page")).send().await?;
        assert_eq!(page.text().await?, "the page");
        let health = http
            .get(format!("{}/health/liveness", server.url()))
            .send()
            .await?;
        assert!(health.status().is_success(), "{health:?}");

        let lab = Service::new("lab").method(method!("add", |a: f64, b: f64| async move { a + b }));
        let owner = hypha_rpc::connect(server.url()).reconnect(None).await?;
        let info = owner.register_service(lab).await?;
        let token = owner.manager().await?.generate_token(None).await?;
        let caller = hypha_rpc::connect(server.url())
            .workspace(owner.workspace())
            .token(token);
        let caller = caller.await?;
        let lab = caller.get_service(&info.id).await?;
        assert_eq!(lab.call::<f64>("add", args!(1, 2)).await?, 3.0);

        server.shutdown().await;
        owner.closed().await;
        // The program still serves its page.
        let page = http.get(format!("{root}/page")).send().await?;
        assert_eq!(page.text().await?, "the page");
        serving.abort();
    }
    Ok(())
}

#[tokio::test]
async fn paths_below_a_base_path_are_those_of_the_root() -> Result<()> {
    let server = Server::builder()
        .base_path("/hypha")
        .console(true)
        .start()
        .await?;
    let root = server.url().trim_end_matches("/hypha");
    let http = support::http_reader(|it| it.redirect(reqwest::redirect::Policy::none()));
    for path in ["/hypha", "/hypha/", "/hypha/?a=b"] {
        let plain = http.get(format!("{root}{path}")).send().await?;
        assert_eq!(plain.status().as_u16(), 200, "{path}");
        assert!(plain.text().await?.contains("Hypha server"), "{path}");
        let page = http.get(format!("{root}{path}"));
        let page = page.header("Accept", "text/html").send().await?;
        assert_eq!(page.status().as_u16(), 307, "{path}");
        assert_eq!(page.headers()["location"], "/hypha/console/");
    }
    for path in ["/hypha/a", "/hypha/a/b/c", "/other", "/"] {
        let missing = http.get(format!("{root}{path}")).send().await?;
        assert_eq!(missing.status().as_u16(), 404, "{path}");
        let body: serde_json::Value = missing.json().await?;
        assert_eq!(body["success"], false, "{path}: {body}");
    }
    let wrong = http.delete(format!("{root}/hypha/")).send().await?;
    assert_eq!(wrong.status().as_u16(), 405);
    Ok(())
}

#[tokio::test]
async fn a_router_without_addresses_says_what_is_missing() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (_server, hypha) = Server::builder().mount(address).await?;
    let serving = tokio::spawn(async move {
        let _ = axum::serve(listener, hypha).await;
    });
    let response = support::http()
        .get(format!("http://{address}/health"))
        .send()
        .await?;
    assert_eq!(response.status().as_u16(), 500);
    assert!(
        response
            .text()
            .await?
            .contains("into_make_service_with_connect_info")
    );
    serving.abort();
    Ok(())
}
