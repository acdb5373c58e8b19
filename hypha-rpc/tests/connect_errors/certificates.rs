//! Tests trusted CA certificates, client certificates, and IPv6 addresses.

use std::sync::Arc;

use hypha_rpc::error::{ConnectErrorKind, TlsFailure};
use hypha_rpc::transport::Transport;
use rcgen::{CertificateParams, KeyPair};
use tokio::net::TcpListener;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use super::hypha::{self, connected};
use super::{TRANSPORTS, refused, servers, tls};

const BOTH: [Transport; 2] = [Transport::WebSocket, Transport::Http];

/// Returns the configuration of a server that requires a client certificate.
fn requires_client_certificate(authority: &tls::Authority) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key");
    let signed = tls::names(&["localhost"]).signed_by(&key, authority);
    let chain = vec![signed.expect("a certificate").der().clone()];
    let key = key.serialize_der().try_into().expect("a key");
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .expect("a verifier");
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier);
    Arc::new(builder.with_single_cert(chain, key).expect("fits"))
}

#[tokio::test]
async fn valid_certificates_are_used() {
    let authority = tls::authority(KeyPair::generate().expect("a key"));
    let server = hypha::encrypted(requires_client_certificate(&authority)).await;
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["microscope".to_owned()]).expect("names");
    let chain = params.signed_by(&key, &authority).expect("a certificate");
    for transport in BOTH {
        let base = format!("https://localhost:{}", server.port);
        let connect = || hypha_rpc::connect(&base).transport(transport);
        let trusting = || connect().ca_certificate(authority.pem());
        connected(trusting().identity(chain.pem(), key.serialize_pem())).await;

        // One PEM string can contain both the key and the certificate.
        let both = format!("{}{}", key.serialize_pem(), chain.pem());
        connected(trusting().identity(both.clone(), both)).await;

        let error = refused(trusting()).await;
        let wanted = ConnectErrorKind::Tls(TlsFailure::CertificateRequired);
        assert_eq!(error.kind(), wanted, "{transport:?}: {error:?}");
        assert!(error.to_string().contains("`identity`"), "{error}");

        let error = refused(connect()).await;
        let wanted = ConnectErrorKind::Tls(TlsFailure::UnknownIssuer);
        assert_eq!(error.kind(), wanted, "{transport:?}: {error:?}");
        assert!(error.to_string().contains("`ca_certificate`"), "{error}");
    }
}

#[tokio::test]
async fn unusable_certificates_are_invalid_options() {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["microscope".to_owned()]).expect("names");
    let chain = params.self_signed(&key).expect("a certificate").pem();
    let other = KeyPair::generate().expect("a key").serialize_pem();
    let pem = "-----BEGIN CERTIFICATE-----\nAA!\n-----END CERTIFICATE-----\n";
    for transport in TRANSPORTS {
        let connect = || hypha_rpc::connect("https://localhost").transport(transport);
        for (connect, option) in [
            (connect().ca_certificate("nonsense"), "`ca_certificate`"),
            (connect().ca_certificate(pem), "`ca_certificate`"),
            (connect().identity("", key.serialize_pem()), "`identity`"),
            (connect().identity(chain.clone(), ""), "`identity`"),
            (
                connect().identity(chain.clone(), other.clone()),
                "`identity`",
            ),
        ] {
            let error = refused(connect.no_proxy()).await;
            assert_eq!(error.kind(), ConnectErrorKind::InvalidOption, "{error:?}");
            assert!(error.to_string().contains(option), "{error}");
            assert!(!format!("{error:?}").contains("PRIVATE"), "{error:?}");
        }
    }
}

#[tokio::test]
async fn ipv6_addresses_are_hosts() {
    // Skip the test on a machine without IPv6.
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        return;
    };
    let server = servers::serve_at(listener, |mut socket| async move {
        let head = servers::request(&mut socket).await;
        hypha::accept(socket, &head).await;
    });
    let authority = tls::authority(KeyPair::generate().expect("a key"));
    let config = tls::signed(tls::names(&["::1"]), Some(&authority));
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let listener = TcpListener::bind("[::1]:0").await.expect("a port");
    let encrypted = servers::serve_at(listener, move |socket| {
        let accepting = acceptor.accept(socket);
        async move {
            if let Ok(mut socket) = accepting.await {
                let head = servers::request(&mut socket).await;
                hypha::accept(socket, &head).await;
            }
        }
    });
    for transport in BOTH {
        let connect = hypha_rpc::connect(format!("http://[::1]:{}", server.port));
        connected(connect.transport(transport)).await;
        let connect = hypha_rpc::connect(format!("https://[::1]:{}", encrypted.port));
        let connect = connect.ca_certificate(authority.pem());
        connected(connect.transport(transport)).await;
    }
}
