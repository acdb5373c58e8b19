//! Requests with reqwest: proxies, TLS, and redirects on the same host.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::{StatusCode, Url, header};

use super::{Cause, NotPosted, Opened, Response};
use crate::error::{ConnectError, ConnectErrorKind, ProxyFailure};
use crate::transport::proxy::{Protocol, Proxy};
use crate::transport::redirect::Redirects;
use crate::transport::{SocketOptions, failure, proxy};

/// Status of a redirect that is not followed.
#[derive(Debug, thiserror::Error)]
#[error("HTTP status {0}")]
struct Answer(StatusCode);

/// Sends requests to one URL. Clones share the connections to the server.
#[derive(Clone)]
pub(super) struct Requests {
    client: reqwest::Client,
    url: Url,
    proxy: Option<Proxy>,
    options: SocketOptions,
}

impl Requests {
    /// # Errors
    ///
    /// Fails for a URL or header that cannot be used, or if TLS is needed but not available.
    pub(super) fn new(url: &str, options: &SocketOptions) -> Result<Self, ConnectError> {
        let invalid = |fault: String| ConnectError::new(ConnectErrorKind::InvalidUrl, fault);
        let url = Url::parse(url).map_err(|e| invalid("it is not a URL".into()).with_source(e))?;
        let mut headers = header::HeaderMap::new();
        for (name, value) in &options.headers {
            let name: header::HeaderName = name
                .parse()
                .map_err(|_| invalid(format!("bad header name `{name}`")))?;
            let value = value
                .parse()
                .map_err(|_| invalid(format!("bad value of header `{name}`")))?;
            headers.append(name, value);
        }
        let builder = reqwest::Client::builder()
            .default_headers(headers)
            .tcp_nodelay(true)
            // Redirects are handled in `open`, because the library would follow them to other
            // servers, and would drop the token when the scheme changes.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(Resolver);
        let host = url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or_default();
        let secure = url.scheme() == "https";
        let proxy = proxy::choose(&options.proxy, secure, host, port)?;
        let through_tls = proxy
            .as_ref()
            .is_some_and(|p| p.protocol == Protocol::Https);
        let mut builder = with_tls(builder, secure || through_tls, options)?;
        let unusable = |e| invalid("it cannot be used".into()).with_source(e);
        if let Some(proxy) = &proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.url()).map_err(unusable)?);
        }
        let client = builder.build().map_err(unusable)?;
        Ok(Requests {
            client,
            url,
            proxy,
            options: options.clone(),
        })
    }

    /// Returns the proxy, without its credentials.
    pub(super) fn proxy(&self) -> Option<String> {
        self.proxy.as_ref().map(Proxy::shown)
    }

    /// Returns the URL, without a query.
    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Opens the stream with a GET request, and follows redirects.
    pub(super) async fn open(
        mut self,
        query: String,
        token: Option<String>,
    ) -> Result<Opened, ConnectError> {
        let mut redirects = Redirects::default();
        loop {
            let request = self.client.get(self.with_query(&query));
            let request = authorized(request, token.as_deref())
                .header(header::ACCEPT, "application/x-msgpack-stream")
                // A proxy that compresses the stream would hold back messages until a block is
                // full.
                .header(header::ACCEPT_ENCODING, "identity");
            let response = request.send().await.map_err(|e| {
                let (url, e) = (self.url(), e.without_url());
                match &self.proxy {
                    Some(proxy) => failure::through_proxy(proxy, url, e),
                    None => failure::connect_error(url, e),
                }
            })?;
            let status = response.status();
            if let Some(location) = redirect(&response) {
                let most = self.options.max_redirects;
                let to = redirects.follow(self.url(), location, most);
                let to = to.map_err(|why| {
                    failure::not_followed(self.url(), location, why, Answer(status))
                })?;
                self = self.redirected(&to)?;
                continue;
            }
            if let Some(proxy) = &self.proxy {
                if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
                    let text = format!("status {status}");
                    let error = proxy.failed(ProxyFailure::Credentials, &text);
                    return Err(error.with_url(self.url()));
                }
            }
            return Ok(Opened {
                response: converted(response),
                requests: self,
            });
        }
    }

    /// Posts one message.
    pub(super) async fn post(
        &self,
        query: &str,
        token: Option<&str>,
        body: Bytes,
    ) -> Result<Response, NotPosted> {
        let request = authorized(self.client.post(self.with_query(query)), token);
        let response = request.body(body).send().await.map_err(|e| NotPosted {
            maybe_accepted: !e.is_connect(),
            cause: e.without_url().into(),
        })?;
        Ok(converted(response))
    }

    fn with_query(&self, query: &str) -> Url {
        let mut url = self.url.clone();
        url.set_query(Some(query));
        url
    }

    /// Returns the requests for the target of a redirect. Omits the query, because each request has
    /// its own query.
    fn redirected(&self, to: &str) -> Result<Self, ConnectError> {
        let fault = |e| {
            ConnectError::new(ConnectErrorKind::Redirect, to)
                .with_url(self.url())
                .with_source(e)
        };
        let mut url = Url::parse(to).map_err(fault)?;
        url.set_query(None);
        Self::new(url.as_str(), &self.options).map_err(|e| e.with_url(url.as_str()))
    }
}

fn authorized(request: reqwest::RequestBuilder, token: Option<&str>) -> reqwest::RequestBuilder {
    let request = request.header(header::CONTENT_TYPE, "application/msgpack");
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

fn converted(response: reqwest::Response) -> Response {
    Response {
        status: response.status(),
        length: response.content_length(),
        failure: response
            .error_for_status_ref()
            .err()
            .map(|e| e.without_url().into()),
        body: response
            .bytes_stream()
            .map_err(|e| Cause::from(e.without_url()))
            .boxed(),
    }
}

/// Returns the target if a response is a redirect.
fn redirect(response: &reqwest::Response) -> Option<&str> {
    let location = response.headers().get(header::LOCATION)?;
    let location = location.to_str().ok()?;
    failure::is_redirect(response.status().as_u16()).then_some(location)
}

/// Resolves host names in the same way as the WebSocket, so that a DNS failure has its own kind.
#[derive(Debug)]
struct Resolver;

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(async move {
            // For a SOCKS proxy, reqwest passes the host of the URL, with the brackets of an IPv6
            // address.
            let name = name.as_str().trim_start_matches('[').trim_end_matches(']');
            // reqwest replaces this port with the port in the URL.
            let found = failure::look_up(name, 0).await?;
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// Adds the TLS configuration. reqwest cannot build a client without a TLS configuration, so `http`
/// URLs get a configuration that trusts no certificate.
#[cfg(feature = "tls")]
fn with_tls(
    builder: reqwest::ClientBuilder,
    encrypts: bool,
    options: &SocketOptions,
) -> Result<reqwest::ClientBuilder, ConnectError> {
    use crate::transport::tls;
    let config = match encrypts {
        true => tls::config(&options.tls)?,
        false => tls::trusting_nobody()?,
    };
    Ok(builder.tls_backend_preconfigured(config))
}

#[cfg(not(feature = "tls"))]
fn with_tls(
    builder: reqwest::ClientBuilder,
    encrypts: bool,
    _: &SocketOptions,
) -> Result<reqwest::ClientBuilder, ConnectError> {
    match encrypts {
        true => Err(crate::transport::no_tls()),
        false => Ok(builder),
    }
}
