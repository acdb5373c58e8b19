//! Tests a service that is built from closures, and an axum application. A Python client calls both
//! on both servers.

use anyhow::{Result, ensure};
use axum::body::Bytes;
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::routing::{get, post};
use hypha_rpc::prelude::*;
use hypha_rpc::web;
use hypha_rpc_tests::conformance::{Language, passed_checks};
use hypha_rpc_tests::peers::python_program;
use hypha_rpc_tests::process::Process;
use hypha_rpc_tests::servers::{Kind, Server};

fn lab() -> Service {
    Service::new("lab")
        .method(method!("add", |a: f64, b: f64| async move { a + b }))
        .method(method!(
            /// Divides one number by another.
            "divide",
            |a: f64,
             /// The divisor.
             b: Option<f64>| async move {
                match b.unwrap_or(1.0) {
                    0.0 => Err("division by zero".to_owned()),
                    b => Ok(a / b),
                }
            }
        ))
        .method(method!("who", |ctx: Context| async move {
            ctx.from().to_owned()
        }))
}

async fn item(
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> impl axum::response::IntoResponse {
    let text = format!("{name} {}", query.unwrap_or_default());
    (StatusCode::CREATED, [("x-lab", "yes")], text)
}

fn dashboard() -> axum::Router {
    axum::Router::new()
        .route("/", get(async || "the index"))
        .route("/items/{name}", get(item))
        .route("/length", post(async |body: Bytes| body.len().to_string()))
}

async fn called_from_python(server: &Server) -> Result<()> {
    let owner = hypha_rpc::connect(&server.url).client_id("owner").await?;
    owner.register_service(lab()).await?;
    owner
        .register_service(web::app("dashboard", dashboard()))
        .await?;
    let token = owner.manager().await?.generate_token(None).await?;
    let mut command = python_program("closures_peer.py")?;
    command
        .args([
            "--server-url",
            &server.url,
            "--workspace",
            &owner.workspace(),
        ])
        .args(["--token", &token, "--host", "owner"]);
    let process = Process::start("the Python caller", &command)?;
    let passed = tokio::task::spawn_blocking(move || passed_checks(&process)).await??;
    ensure!(passed == 4, "{passed} checks");
    owner.disconnect().await;
    Ok(())
}

fn on(kind: Kind) {
    hypha_rpc_tests::cases::run(kind, &[Language::Python], called_from_python);
}

#[test]
fn on_our_server() {
    on(Kind::Ours);
}

#[test]
fn on_the_python_server() {
    on(Kind::Python);
}
