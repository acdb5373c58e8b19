//! Measures the load of a server from its public metrics, for `hypha watch --metrics`.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, future, stream};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};

use crate::failure::Failure;

/// Maximum size of the metrics, in bytes. Those of both servers take about 20 KB.
const SIZE_MAX: usize = 4 * 1024 * 1024;
/// Minimum interval between two requests.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The load of a server between two readings of its metrics. The Python server does not count the
/// calls over HTTP.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Rates {
    connections: f64,
    messages_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<HttpRates>,
}

#[derive(Debug, PartialEq, Serialize)]
struct HttpRates {
    calls_per_second: f64,
    failed_per_second: f64,
    /// Absent if no call was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_ms: Option<f64>,
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (connections, messages) = (self.connections, self.messages_per_second);
        write!(f, "{connections} connections, {messages:.1} messages/s")?;
        let Some(http) = &self.http else {
            return Ok(());
        };
        let (calls, failed) = (http.calls_per_second, http.failed_per_second);
        write!(f, ", {calls:.1} HTTP calls/s, {failed:.1} failed/s")?;
        match http.mean_ms {
            Some(ms) => write!(f, ", {ms:.1} ms"),
            None => Ok(()),
        }
    }
}

/// The load of a server at an interval.
pub(super) type Readings = BoxStream<'static, Result<Rates>>;

/// Returns the load of a server at each interval, measured since the reading before. A reading that
/// fails is an error, and does not end the stream.
///
/// # Errors
///
/// Fails if the interval is too short, or if TLS cannot be set up.
pub(super) fn load(server_url: &str, interval: Duration) -> Result<Readings> {
    if interval < INTERVAL_MIN {
        let text = format!("--metrics: the interval must be at least {INTERVAL_MIN:?}");
        return Err(Failure::Usage(text).into());
    }
    let (client, url) = (http_client()?, url(server_url));
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let readings = stream::unfold((ticks, None), move |(mut ticks, last)| {
        let (client, url) = (client.clone(), url.clone());
        async move {
            ticks.tick().await;
            let metrics = read(&client, &url).await;
            let metrics = metrics.with_context(|| format!("cannot read {url}"));
            let now = Instant::now();
            let (rates, last) = match (metrics, last) {
                (Ok(metrics), Some((before, last))) => {
                    let rates = rates(&last, &metrics, now - before);
                    (Some(Ok(rates)), Some((now, metrics)))
                }
                (Ok(metrics), None) => (None, Some((now, metrics))),
                (Err(error), last) => (Some(Err(error)), last),
            };
            Some((rates, (ticks, last)))
        }
    });
    // The first reading has nothing to compare with.
    Ok(readings.filter_map(future::ready).boxed())
}

/// Requests the metrics.
async fn read(client: &reqwest::Client, url: &str) -> Result<Metrics> {
    let response = client.get(url).send().await?;
    let mut response = response.error_for_status()?;
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > SIZE_MAX {
            bail!("the metrics have more than {SIZE_MAX} bytes");
        }
        body.extend_from_slice(&part);
    }
    let metrics = parse(&String::from_utf8_lossy(&body));
    if !metrics.contains_key("websocket_connections") {
        bail!("the response has no metrics of a Hypha server");
    }
    Ok(metrics)
}

/// Metrics by name. A metric with labels is the sum of its series.
type Metrics = HashMap<String, f64>;

/// Parses the text format of Prometheus.
fn parse(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.find(['{', ' ']).map(|end| &line[..end]);
        // Labels may contain spaces, and the brace that ends them is the last one of the line.
        let value = match line.rfind('}') {
            Some(end) => &line[end + 1..],
            None => line.split_once(' ').map_or("", |(_, value)| value),
        };
        let value = value.split_whitespace().next().map(str::parse::<f64>);
        if let (Some(name), Some(Ok(value))) = (name, value)
            && value.is_finite()
        {
            *metrics.entry(name.to_owned()).or_default() += value;
        }
    }
    metrics
}

fn rates(last: &Metrics, now: &Metrics, time: Duration) -> Rates {
    let increase = |name: &str| {
        let (before, after) = (last.get(name)?, now.get(name)?);
        // A counter that has decreased began at 0 again, because the server was restarted.
        Some(if after < before {
            *after
        } else {
            after - before
        })
    };
    let per_second = |count: f64| count / time.as_secs_f64();
    let http = |name: &str| increase(&format!("hypha_server_http_{name}_total"));
    let calls = http("calls");
    Rates {
        connections: now.get("websocket_connections").copied().unwrap_or(0.0),
        messages_per_second: per_second(increase("client_requests_total").unwrap_or(0.0)),
        http: calls.map(|calls| HttpRates {
            calls_per_second: per_second(calls),
            failed_per_second: per_second(http("calls_failed").unwrap_or(0.0)),
            mean_ms: http("call_milliseconds")
                .filter(|_| calls > 0.0)
                .map(|milliseconds| milliseconds / calls),
        }),
    }
}

/// Returns the URL of the metrics of the server at `server_url`, which may be the URL of its
/// WebSocket.
fn url(server_url: &str) -> String {
    let url = server_url.trim().trim_end_matches('/');
    let url = match url.strip_prefix("ws") {
        Some(rest) if rest.starts_with("://") || rest.starts_with("s://") => {
            let rest = rest.strip_suffix("/ws").unwrap_or(rest);
            format!("http{rest}")
        }
        _ => url.to_owned(),
    };
    format!("{url}/metrics")
}

/// Returns a client that trusts the certificates of this machine, as the connections of `hypha` do.
fn http_client() -> Result<reqwest::Client> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    // An explicit provider, because rustls panics if a program links two.
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls);
    Ok(builder.timeout(TIMEOUT).build()?)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn rates_are_those_of_the_interval() {
        let last = parse(
            "# HELP client_requests_total Messages\nclient_requests_total 10\n\
             hypha_server_http_calls_total 1\nhypha_server_http_calls_failed_total 0\n\
             hypha_server_http_call_milliseconds_total 5\nwebsocket_connections 2.0\n",
        );
        let now = parse(
            "client_requests_total{a=\"x } y\"} 20 1700000000\nclient_requests_total{a=\"z\"} 4\n\
             hypha_server_http_calls_total 5\nhypha_server_http_calls_failed_total 1\n\
             hypha_server_http_call_milliseconds_total 11\nwebsocket_connections 3.0\nbroken\n",
        );
        let found = rates(&last, &now, Duration::from_secs(2));
        let text = "3 connections, 7.0 messages/s, 2.0 HTTP calls/s, 0.5 failed/s, 1.5 ms";
        assert_eq!(found.to_string(), text);
        // The server was restarted.
        let found = rates(&now, &last, Duration::from_secs(1));
        assert_eq!(found.messages_per_second, 10.0);
        // The metrics of the Python server.
        let python = parse("client_requests_total 7.0\nwebsocket_connections 1.0\n");
        let found = rates(&python, &python, Duration::from_secs(1));
        assert_eq!(found.to_string(), "1 connections, 0.0 messages/s");
    }

    /// Starts a server that answers each request with the next page, and returns its URL.
    async fn serve(pages: &'static [(&'static str, &'static str)]) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async move {
            for (status, page) in pages {
                let (mut connection, _) = listener.accept().await?;
                let mut lines = BufReader::new(&mut connection).lines();
                while lines
                    .next_line()
                    .await?
                    .is_some_and(|line| !line.is_empty())
                {}
                let len = page.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n");
                let response = format!("{head}Connection: close\r\n\r\n{page}");
                connection.write_all(response.as_bytes()).await?;
            }
            std::io::Result::Ok(())
        });
        Ok(url)
    }

    #[tokio::test]
    async fn readings_continue_after_errors_and_restarts() -> Result<()> {
        let url = serve(&[
            (
                "200 OK",
                "websocket_connections 9\nclient_requests_total 70\n",
            ),
            ("200 OK", "a page of another server"),
            ("503 Service Unavailable", ""),
            (
                "200 OK",
                "websocket_connections 2\nclient_requests_total 0\n",
            ),
        ]);
        let url = url.await?;
        let readings = load(&url, INTERVAL_MIN)?.take(4);
        let readings: Vec<_> = readings.collect().await;
        let error = |index: usize| format!("{:#}", readings[index].as_ref().unwrap_err());
        let page = format!("cannot read {url}/metrics: ");
        assert_eq!(
            error(0),
            format!("{page}the response has no metrics of a Hypha server")
        );
        assert!(error(1).contains("503 Service Unavailable"), "{}", error(1));
        let rates = readings[2].as_ref().unwrap();
        assert_eq!(rates.to_string(), "2 connections, 0.0 messages/s");
        // The server has ended.
        assert!(error(3).starts_with(&page), "{}", error(3));
        Ok(())
    }

    #[test]
    fn metrics_are_below_the_url_of_the_server() {
        for (server, metrics) in [
            ("http://lab:9527/", "http://lab:9527/metrics"),
            ("wss://lab/base/ws", "https://lab/base/metrics"),
            ("ws://lab:9527", "http://lab:9527/metrics"),
            ("https://ws.org/ws", "https://ws.org/ws/metrics"),
        ] {
            assert_eq!(url(server), metrics);
        }
    }
}
