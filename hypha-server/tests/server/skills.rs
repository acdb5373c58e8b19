//! Tests the documents for agents.

use anyhow::Result;
use hypha_rpc::prelude::*;
use hypha_server::{Builder, Settings};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value as Json, json};

use crate::support::{self, server};

struct Adder;

/// Adds.
#[hypha_service(id = "adder")]
impl Adder {
    /// Adds two numbers.
    pub(crate) async fn add(
        &self,
        /// The first.
        a: f64,
        #[hypha(default = 1.0)] b: f64,
    ) -> f64 {
        a + b
    }
}

async fn answer(request: RequestBuilder) -> Result<(StatusCode, String, String)> {
    let response = request.send().await?;
    let kind = response.headers().get("content-type");
    let kind = kind.and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_owned();
    Ok((response.status(), kind, response.text().await?))
}

#[tokio::test]
async fn agents_read_what_services_there_are() -> Result<()> {
    let server = server().await?;
    let owner = hypha_rpc::connect(server.url()).await?;
    owner.register_service(Adder).await?;
    let token = owner.manager().await?.generate_token(None).await?;
    let place = format!("{}/{}/agent-skills", server.url(), owner.workspace());
    let get = |path: &str| support::http().get(format!("{place}/{path}"));

    let (status, _, body) = answer(get("SKILL.md")).await?;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{body}");
    let body: Json = serde_json::from_str(&body)?;
    assert_eq!(body["error"], "Authentication required");

    let (status, _, index) = answer(get("").bearer_auth(&token)).await?;
    assert_eq!(status, StatusCode::OK, "{index}");
    let index: Json = serde_json::from_str(&index)?;
    assert_eq!(index["name"], "hypha");
    assert_eq!(
        index["enabled_services"],
        json!(["workspace-manager", "queue"])
    );
    assert_eq!(index["dynamic_services"], json!(["adder"]));
    for file in index["files"].as_array().into_iter().flatten() {
        let file = file.as_str().unwrap_or_default();
        let (status, kind, text) = answer(get(file).bearer_auth(&token)).await?;
        assert_eq!(
            (status, &*kind),
            (StatusCode::OK, "text/markdown; charset=utf-8")
        );
        assert!(text.contains('#') && !text.contains("{{"), "{file}: {text}");
    }
    let reference = get("REFERENCE/adder.md").bearer_auth(&token);
    let (_, _, reference) = answer(reference).await?;
    for part in [
        "### add",
        "Adds two numbers.",
        "- `a` (number) *(required)*: The first.",
    ] {
        assert!(reference.contains(part), "{part}: {reference}");
    }
    let (_, _, manager) = answer(get("REFERENCE/workspace-manager.md").bearer_auth(&token)).await?;
    assert!(manager.contains("### list_services"), "{manager}");

    let (status, _, text) = answer(get("REFERENCE/nothing.md").bearer_auth(&token)).await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(text.ends_with("workspace-manager, queue, adder"), "{text}");
    let archive = get("create-zip-file").bearer_auth(&token).send().await?;
    assert_eq!(archive.headers()["content-type"], "application/zip");
    assert!(archive.bytes().await?.starts_with(b"PK"));

    // Another user sees only public services.
    let other = hypha_rpc::connect(server.url()).await?;
    let token = other.manager().await?.generate_token(None).await?;
    let (status, _, text) = answer(get("SKILL.md").bearer_auth(&token)).await?;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(!text.contains("adder"), "{text}");
    Ok(())
}

#[tokio::test]
async fn documents_without_a_workspace_need_no_token() -> Result<()> {
    let server = server().await?;
    for place in ["ws", "public"] {
        let url = format!("{}/{place}/agent-skills/SKILL.md", server.url());
        let (status, kind, text) = answer(support::http().get(url)).await?;
        assert_eq!(status, StatusCode::OK, "{text}");
        assert!(kind.starts_with("text/markdown"), "{kind}");
        assert!(text.starts_with("---\nname: hypha\n"), "{text}");
    }
    let missing = support::http().get(format!("{}/ws/agent-skills/x.md", server.url()));
    let (status, _, body) = answer(missing).await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(body, r#"{"error":"File not found: x.md"}"#);
    // Requests a page through the service.
    let page = format!("{}/public/apps/agent-skills/EXAMPLES.md", server.url());
    let (status, _, text) = answer(support::http().get(page)).await?;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(text.starts_with("# Hypha Code Examples"), "{text}");
    Ok(())
}

#[tokio::test]
async fn the_documents_can_be_turned_off() -> Result<()> {
    let mut settings = Settings::default();
    settings.disable_agent_skills = true;
    let server = Builder::from(settings).bind("127.0.0.1:0");
    let server = server.start().await?;
    for path in ["ws/agent-skills/", "public/apps/agent-skills/"] {
        let page = support::http().get(format!("{}/{path}", server.url()));
        assert_eq!(answer(page).await?.0, StatusCode::NOT_FOUND);
    }
    Ok(())
}
