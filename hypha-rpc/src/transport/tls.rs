//! TLS with rustls, its ring provider and the root certificates of this machine.

use std::error::Error;
use std::sync::Arc;

use crate::error::{ConnectError, ConnectErrorKind};

type Builder = rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>;

/// This machine has no trusted root certificates.
#[derive(Debug, thiserror::Error)]
#[error("no root certificates on this machine")]
struct NoRoots {
    /// First failure to read a certificate.
    source: Option<rustls_native_certs::Error>,
}

/// Returns the [`ConnectError`] for a program that cannot use TLS.
fn unusable(error: impl Into<Box<dyn Error + Send + Sync>>) -> ConnectError {
    ConnectError::new(ConnectErrorKind::InvalidUrl, "TLS cannot be set up").with_source(error)
}

/// Returns a configuration builder, and its provider. The provider is set explicitly, because
/// rustls would otherwise panic at the first connection of a program that links two providers.
fn builder() -> Result<(Builder, Arc<rustls::crypto::CryptoProvider>), ConnectError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions();
    Ok((builder.map_err(unusable)?, provider))
}

/// Returns a configuration that accepts no certificate, for a library that requires one even for
/// unencrypted connections. Does not read the certificates of the machine.
#[cfg(feature = "http")]
pub(super) fn trusting_nobody() -> Result<rustls::ClientConfig, ConnectError> {
    let roots = rustls::RootCertStore::empty();
    Ok(builder()?
        .0
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Returns the TLS configuration of a client, with or without the check of certificates.
pub(super) fn config(
    accept_invalid_certificates: bool,
) -> Result<rustls::ClientConfig, ConnectError> {
    let (builder, provider) = builder()?;
    let config = if accept_invalid_certificates {
        tracing::warn!("certificates of the server are not checked");
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
            .with_no_client_auth()
    } else {
        let mut roots = rustls::RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let source = found.errors.into_iter().next();
            return Err(unusable(NoRoots { source }));
        }
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    Ok(config)
}

/// Accepts every certificate. Signatures are still checked against the given certificate.
#[derive(Debug)]
struct AcceptAny(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
