//! Tests the errors of the client when TLS fails. An environment variable sets the trusted CA. This
//! variable must exist before the process starts, so the tests run in a child process.

use std::process::Command;
use std::sync::Arc;

use hypha_rpc::error::{ConnectError, ConnectErrorKind, TlsFailure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use super::{find, over_each, servers, tls};

/// Environment variable of the child process. Contains the private key of the trusted CA.
const KEY: &str = "HYPHA_TEST_AUTHORITY_KEY";

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority(key: KeyPair) -> Authority {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "an authority for tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, key).expect("a certificate")
}

fn config(certificate: CertificateDer<'static>, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = builder.with_no_client_auth();
    Arc::new(
        builder
            .with_single_cert(vec![certificate], key)
            .expect("fits"),
    )
}

/// Returns the configuration of a server with a new certificate. The CA `by` signs the certificate.
/// If `by` is `None`, the certificate is self-signed.
pub(crate) fn signed(params: CertificateParams, by: Option<&Authority>) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key");
    let certificate = match by {
        Some(authority) => params.signed_by(&key, authority),
        None => params.self_signed(&key),
    };
    config(certificate.expect("a certificate").der().clone(), &key)
}

pub(crate) fn names(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).expect("names")
}

fn certificate_error(error: &ConnectError) -> bool {
    matches!(find(error), Some(rustls::Error::InvalidCertificate(_)))
}

#[test]
fn tls_failures_are_distinguished() {
    let key = KeyPair::generate().expect("a key");
    let trusted = authority(KeyPair::from_pem(&key.serialize_pem()).expect("a key"));
    let folder = std::env::temp_dir().join(format!("hypha-authority-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("authority.pem");
    std::fs::write(&file, trusted.pem()).expect("written");
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args([
            "--exact",
            "tls::with_an_authority",
            "--ignored",
            "--nocapture",
        ])
        .env("SSL_CERT_FILE", &file)
        .env_remove("SSL_CERT_DIR")
        .env(KEY, key.serialize_pem())
        .output()
        .expect("runs");
    let _ = std::fs::remove_dir_all(&folder);
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}");
}

#[tokio::test]
#[ignore = "`tls_failures_are_distinguished` runs it with an authority of its own"]
async fn with_an_authority() {
    // Installs a useless default cryptography provider for the process. The client must use the
    // provider that the client itself selects.
    let useless = rustls::crypto::CryptoProvider {
        cipher_suites: Vec::new(),
        kx_groups: Vec::new(),
        ..rustls::crypto::ring::default_provider()
    };
    assert!(useless.install_default().is_ok());
    let key = std::env::var(KEY).expect("the key of the authority");
    let trusted = authority(KeyPair::from_pem(&key).expect("a key"));
    let kinds = [
        (
            signed(names(&["localhost"]), None),
            TlsFailure::UnknownIssuer,
        ),
        (
            signed(names(&["elsewhere.example"]), Some(&trusted)),
            TlsFailure::NameMismatch,
        ),
        (
            {
                let mut params = names(&["localhost"]);
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = date_time_ymd(2021, 1, 1);
                signed(params, Some(&trusted))
            },
            TlsFailure::Expired,
        ),
    ];
    for (config, failure) in kinds {
        let server = servers::encrypted(config).await;
        let base = format!("https://localhost:{}", server.port);
        over_each(&base, tls(failure), false, certificate_error).await;
    }

    let server = servers::plain_to_tls().await;
    let base = format!("https://127.0.0.1:{}", server.port);
    over_each(&base, tls(TlsFailure::NotTls), false, |error| {
        matches!(find(error), Some(rustls::Error::InvalidMessage(_)))
    })
    .await;

    // The certificate is valid, but the server is not a Hypha server.
    let server = servers::encrypted(signed(names(&["localhost"]), Some(&trusted))).await;
    let base = format!("https://localhost:{}", server.port);
    over_each(&base, ConnectErrorKind::HttpStatus(404), false, |_| true).await;
}

/// The server requires TLS, but the URL is an `http://` URL. The error suggests `https://`.
#[tokio::test]
async fn plain_http_to_a_tls_server_suggests_https() {
    let server = servers::encrypted(signed(names(&["localhost"]), None)).await;
    let base = format!("http://localhost:{}", server.port);
    over_each(&base, ConnectErrorKind::NotHypha, false, |error| {
        error.to_string().contains("https://")
    })
    .await;
}
