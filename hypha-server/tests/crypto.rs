//! Tests that the server uses its own cryptographic provider. The embedding program may choose
//! another provider for the process, which the server must not use.
//!
//! Each case runs in a separate process, which installs its own cryptographic provider.

mod support;

use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hypha_server::{Server, TokenSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use support::{Raw, refused};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Environment variable with the name of the test case, for the child process.
const CASE: &str = "HYPHA_TEST_CRYPTO";
/// Environment variable with the private key of the CA, in PEM.
const KEY: &str = "HYPHA_TEST_AUTHORITY";
const KEYS: &str = include_str!("server/data/jwks.json");
const PRIVATE_KEY: &[u8] = include_bytes!("server/data/rsa_test_key.der");
const ISSUER: &str = "https://provider.example.org/";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(key: KeyPair) -> Result<Authority> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, key)?)
}

/// Runs the test `in_a_process_of_its_own` in a child process. `case` is the name of the test case.
fn run(case: &str) -> Result<()> {
    let key = KeyPair::generate()?.serialize_pem();
    let folder = std::env::temp_dir().join(format!("hypha-crypto-{case}-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("authority.pem");
    std::fs::write(&file, authority(KeyPair::from_pem(&key)?)?.pem())?;
    let output = Command::new(std::env::current_exe()?)
        .args([
            "--exact",
            "in_a_process_of_its_own",
            "--ignored",
            "--nocapture",
        ])
        .env("SSL_CERT_FILE", &file)
        .env_remove("SSL_CERT_DIR")
        .env(CASE, case)
        .env(KEY, key)
        .output();
    let _ = std::fs::remove_dir_all(&folder);
    let output = output?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{text}\n{errors}");
    ensure!(text.contains("1 passed"), "{text}");
    Ok(())
}

#[test]
fn no_cryptography_of_the_process_is_needed_or_set() -> Result<()> {
    run("none")
}

#[test]
fn unusable_cryptography_of_the_process_does_no_harm() -> Result<()> {
    run("other")
}

/// Installs process-wide cryptography that panics on use.
fn install_useless() {
    use jsonwebtoken::crypto::{CryptoProvider as Tokens, KeyUtils};
    static USELESS: Tokens = Tokens {
        signer_factory: |_, _| panic!("the server signs with the cryptography of the process"),
        verifier_factory: |_, _| panic!("the server checks with the cryptography of the process"),
        key_utils: KeyUtils::new_unimplemented(),
    };
    assert!(USELESS.install_default().is_ok());
    let useless = CryptoProvider {
        cipher_suites: Vec::new(),
        kx_groups: Vec::new(),
        ..default_provider()
    };
    assert!(useless.install_default().is_ok());
}

/// Starts an identity provider over HTTPS. Returns the URL of its keys.
async fn provider() -> Result<String> {
    let authority = authority(KeyPair::from_pem(&std::env::var(KEY)?)?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["localhost".to_owned()])?;
    let certificate = certificate.signed_by(&key, &authority)?.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("localhost:0").await?;
    let url = format!("https://localhost:{}/keys", listener.local_addr()?.port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let length = KEYS.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{KEYS}"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    Ok(url)
}

/// Signs a token of the identity provider with `ring`, because the JWT library of the process is
/// unusable here.
fn sign() -> Result<String> {
    let end = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let claims = json!({
        "iss": ISSUER, "aud": TokenSettings::default().audience, "sub": "auth0|ann",
        "exp": end.as_secs() + 60, "scope": "openid profile",
    });
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": "test-key"});
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let key = ring::signature::RsaKeyPair::from_der(PRIVATE_KEY).ok();
    let key = key.context("no RSA key")?;
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &ring::signature::RSA_PKCS1_SHA256,
        &ring::rand::SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .ok()
    .context("not signed")?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

#[tokio::test]
#[ignore = "the other tests run it, each in another process"]
async fn in_a_process_of_its_own() -> Result<()> {
    let case = std::env::var(CASE)?;
    if case == "other" {
        install_useless();
    }
    let mut settings = TokenSettings::default();
    settings.jwks_url = Some(provider().await?);
    settings.jwks_issuer = Some(ISSUER.into());
    let builder = Server::builder().bind("127.0.0.1:0").tokens(settings);
    let server = builder.start().await?;

    // The client connects with a token of the identity provider. The server's response contains a
    // token of the server itself.
    let token = sign()?;
    let hello = json!({"client_id": "c", "token": token});
    let mut client = Raw::connect(&server, hello).await?;
    ensure!(client.workspace() == "ws-user-auth0|ann");
    let mut colleague = client.colleague(&server, "d", "read").await?;
    ensure!(
        colleague.ask("echo", json!([1])).await.is_err(),
        "the client may only read"
    );
    // The client disconnects, and reconnects with its reconnection token.
    let hello = json!({
        "client_id": "c", "workspace": client.workspace(),
        "reconnection_token": client.info["reconnection_token"],
    });
    drop(client);
    let again = Raw::connect(&server, hello).await?;
    ensure!(again.workspace() == "ws-user-auth0|ann");
    // The forged signature differs in the first character, because some bits of the last character
    // are unused.
    let (content, signature) = token.rsplit_once('.').context("no signature")?;
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{content}.{first}{}", &signature[1..]);
    let end = refused(&server, json!({"client_id": "e", "token": forged})).await?;
    ensure!(
        end.error
            .is_some_and(|error| error.contains("Signature verification failed"))
    );
    if case == "none" {
        ensure!(
            CryptoProvider::get_default().is_none(),
            "the server has installed a cryptographic provider"
        );
    }
    Ok(())
}
