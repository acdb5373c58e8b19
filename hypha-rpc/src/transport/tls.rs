//! Configures TLS: rustls with the provider ring and the root certificates of this machine.

use std::error::Error;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsOptions;
use crate::error::{ConnectError, ConnectErrorKind};

type Builder = rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>;

/// This machine has no trusted root certificates.
#[derive(Debug, thiserror::Error)]
#[error("no root certificates on this machine")]
struct NoRoots {
    /// The first error that occurred while the certificates were read.
    source: Option<rustls_native_certs::Error>,
}

/// Returns the [`ConnectError`] for a program that cannot use TLS.
fn unusable(error: impl Into<Box<dyn Error + Send + Sync>>) -> ConnectError {
    ConnectError::new(ConnectErrorKind::InvalidUrl, "TLS cannot be set up").with_source(error)
}

/// Returns a configuration builder and its provider. If a program links two providers, rustls
/// panics at the first connection unless the provider is set explicitly.
fn builder() -> Result<(Builder, Arc<rustls::crypto::CryptoProvider>), ConnectError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions();
    Ok((builder.map_err(unusable)?, provider))
}

/// Returns a configuration that trusts no certificate. An HTTP library that requires a
/// configuration even for unencrypted connections uses this configuration. Does not read the
/// certificates of this machine.
#[cfg(feature = "http")]
pub(super) fn trusting_nobody() -> Result<rustls::ClientConfig, ConnectError> {
    let roots = rustls::RootCertStore::empty();
    Ok(builder()?
        .0
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Returns the [`ConnectError`] for an option that contains an unusable certificate or key.
fn invalid(option: &str, fault: &str) -> ConnectError {
    ConnectError::new(
        ConnectErrorKind::InvalidOption,
        format!("`{option}`: {fault}"),
    )
}

/// Returns the certificates in a PEM string. Fails if the string contains no certificate.
fn certificates(pem: &[u8], option: &str) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read =
        read.map_err(|e| invalid(option, "the certificate is not in PEM format").with_source(e))?;
    if read.is_empty() {
        return Err(invalid(
            option,
            "no certificate in PEM format, which begins with `-----BEGIN CERTIFICATE-----`",
        ));
    }
    Ok(read)
}

/// Returns the TLS configuration of a client.
pub(super) fn config(options: &TlsOptions) -> Result<rustls::ClientConfig, ConnectError> {
    let (builder, provider) = builder()?;
    let builder = if options.accept_invalid_certificates {
        tracing::warn!("certificates of the server are not checked");
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
    } else {
        let mut roots = rustls::RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        for pem in &options.authorities {
            for certificate in certificates(pem, "ca_certificate")? {
                let added = roots.add(certificate);
                let fault = "the certificate cannot be used as an authority";
                added.map_err(|e| invalid("ca_certificate", fault).with_source(e))?;
            }
        }
        if roots.is_empty() {
            let source = found.errors.into_iter().next();
            return Err(unusable(NoRoots { source }));
        }
        builder.with_root_certificates(roots)
    };
    let Some((chain, key)) = &options.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(chain, "identity")?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|e| invalid("identity", "no private key in PEM format").with_source(e))?;
    let fault = "certificate and private key do not belong together or cannot be used";
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|e| invalid("identity", fault).with_source(e))
}

/// Accepts every certificate. Signatures are still checked against the certificate of the server.
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
