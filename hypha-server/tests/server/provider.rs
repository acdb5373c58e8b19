//! Tests tokens of an identity provider, which publishes its keys as a JWKS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use hypha_server::{Server, TokenSettings};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Raw, refused};

const KEYS: &str = include_str!("data/jwks.json");
const PRIVATE_KEY: &[u8] = include_bytes!("data/rsa_test_key.der");
const ISSUER: &str = "https://provider.example.org/";

/// Starts an HTTP server that serves the provider's JWKS. Returns the URL of the JWKS, and a
/// counter of the requests.
async fn provider() -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/keys", listener.local_addr()?);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = stream.read(&mut [0; 4096]).await;
            let length = KEYS.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{KEYS}"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Ok((url, asked))
}

async fn server(url: &str) -> Result<Server> {
    let mut settings = TokenSettings::default();
    settings.jwks_url = Some(url.to_owned());
    settings.jwks_issuer = Some(ISSUER.into());
    let builder = Server::builder().bind("127.0.0.1:0");
    Ok(builder.tokens(settings).start().await?)
}

fn claims() -> Value {
    let end = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let end = end
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    json!({
        "iss": ISSUER, "aud": TokenSettings::default().audience, "sub": "auth0|ann",
        "exp": end.as_secs(), "scope": "openid profile",
        "https://amun.ai/email": "ann@example.org", "https://amun.ai/roles": [],
    })
}

fn sign(key_id: &str, claims: &Value) -> Result<String> {
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some(key_id.into());
    let key = EncodingKey::from_rsa_der(PRIVATE_KEY);
    Ok(jsonwebtoken::encode(&header, claims, &key)?)
}

#[tokio::test]
async fn users_of_the_identity_provider_are_admitted() -> Result<()> {
    let (url, asked) = provider().await?;
    let server = server(&url).await?;
    let token = sign("test-key", &claims())?;
    let mut client = Raw::connect(&server, json!({"client_id": "c", "token": token})).await?;
    assert_eq!(client.workspace(), "ws-user-auth0|ann");
    assert_eq!(client.info["user"]["email"], "ann@example.org");
    assert_eq!(client.info["user"]["is_anonymous"], false);
    // Tokens issued by the server itself are still valid.
    let _colleague = client.colleague(&server, "d", "read").await?;
    assert_eq!(
        asked.load(Ordering::Relaxed),
        1,
        "the keys are requested once"
    );
    client.ask("revoke_token", json!([token])).await?;
    let end = refused(&server, json!({"client_id": "e", "token": token})).await?;
    assert!(end.error.is_some_and(|error| error.contains("revoked")));
    Ok(())
}

#[tokio::test]
async fn tokens_of_other_issuers_are_refused() -> Result<()> {
    let (url, asked) = provider().await?;
    let server = server(&url).await?;
    let mut other = claims();
    other["iss"] = json!("https://amun.ai/");
    let mut over = claims();
    over["exp"] = json!(1000);
    // This token is signed with the public key of the provider as the secret of another algorithm.
    let keys: Value = serde_json::from_str(KEYS)?;
    let modulus = keys["keys"][0]["n"].as_str().unwrap_or_default();
    let mut header = Header::new(Algorithm::HS256);
    header.kid = Some("test-key".into());
    let secret = EncodingKey::from_secret(modulus.as_bytes());
    let confused = jsonwebtoken::encode(&header, &claims(), &secret)?;
    for (what, token) in [
        ("another issuer", sign("test-key", &other)?),
        ("expired", sign("test-key", &over)?),
        ("unknown key", sign("other-key", &claims())?),
        ("still unknown", sign("third-key", &claims())?),
        ("another algorithm", confused),
    ] {
        let end = refused(&server, json!({"client_id": "c", "token": token})).await?;
        assert_eq!(end.code, 1008, "{what}: {end:?}");
    }
    assert_eq!(
        asked.load(Ordering::Relaxed),
        1,
        "tokens with unknown keys cause no more requests"
    );
    Ok(())
}
