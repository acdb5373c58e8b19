//! Limits the rates of HTTP requests, by IP address and by token.
//!
//! A request without a token counts against its address. A request with a token counts against the
//! token, because many users may share an address. If the token is invalid, the request also counts
//! against the address, so that guessing tokens is limited.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::credentials::Links;
use super::problem::problem;
use super::{Front, Remote, credentials};
use crate::auth::{self, TokenHash};
use crate::rate_limit::RateLimit;
use crate::settings::Limits;
use crate::state::State;

/// Rate limit of a token divided by the rate limit of an IP address.
const USER_FACTOR: f64 = 10.0;
/// Maximum delay of a request above the rate. A request that would wait longer is refused.
const MAX_DELAY: Duration = Duration::from_secs(5);
/// Maximum number of token buckets in each map.
const BUCKETS_MAX: usize = 20_000;
/// Paths without a rate limit: the monitoring paths, and the path of the WebSocket. The module
/// `session` limits WebSocket connections.
const EXEMPT: [&str; 4] = ["/health", "/health/", "/metrics", "/ws"];

/// The token buckets of all requesters, or `None` if there is no limit.
pub(crate) struct HttpRates(Option<Both>);

struct Both {
    /// Buckets of IP addresses, for requests without a token or with an invalid token.
    strangers: Rates<IpAddr>,
    /// Buckets of tokens. The key is a hash, so that no tokens are stored in memory.
    users: Rates<TokenHash>,
}

/// Token buckets by key, at most [`BUCKETS_MAX`]. One lock guards all buckets. The lock is held
/// only for arithmetic.
struct Rates<K> {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<K, RateLimit>>,
}

impl HttpRates {
    /// Creates the buckets for the limits of the settings. A rate of 0 means no limit.
    pub(crate) fn new(limits: &Limits) -> HttpRates {
        let (rate, burst) = (limits.http_per_second, limits.http_burst);
        HttpRates((rate > 0.0).then(|| Both {
            strangers: Rates::new(rate, burst),
            users: Rates::new(rate * USER_FACTOR, burst * USER_FACTOR),
        }))
    }
}

impl<K: Eq + Hash> Rates<K> {
    fn new(per_second: f64, burst: f64) -> Rates<K> {
        Rates {
            per_second,
            burst,
            buckets: Mutex::default(),
        }
    }

    /// Calls `change` with the token bucket of `key`. Creates a full bucket if there is none.
    fn with<T>(&self, key: K, change: impl FnOnce(&mut RateLimit) -> T) -> T {
        let mut buckets = self.buckets.lock();
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(&key) {
            // A full bucket is equal to a new bucket, so full buckets are dropped. If no bucket is
            // full, all buckets are dropped: with so many addresses, the limit on memory takes
            // precedence over the rate limits.
            buckets.retain(|_, rate| !rate.is_full());
            if buckets.len() >= BUCKETS_MAX {
                buckets.clear();
            }
        }
        let fresh = || RateLimit::new(self.per_second, self.burst);
        change(buckets.entry(key).or_insert_with(fresh))
    }

    /// Takes a token from the bucket of `key`. Returns how long the request must wait for the
    /// token.
    ///
    /// # Errors
    ///
    /// If the wait would exceed [`MAX_DELAY`], takes no token and returns the wait as an error.
    fn reserve(&self, key: K) -> Result<Duration, Duration> {
        self.with(key, |rate| rate.reserve(MAX_DELAY))
    }

    /// Returns the time until the bucket of `key` has a token. Takes no token.
    ///
    /// # Errors
    ///
    /// Returns the time as an error if the time exceeds [`MAX_DELAY`].
    fn check(&self, key: K) -> Result<Duration, Duration> {
        let wait = self.with(key, |rate| rate.until(1.0));
        if wait > MAX_DELAY {
            Err(wait)
        } else {
            Ok(wait)
        }
    }
}

/// Middleware that delays requests above the limits, and refuses requests that would wait for too
/// long.
///
/// A request with a token also waits for the bucket of its IP address. That bucket is in debt if
/// other requests from the address had invalid tokens. Such a request charges the bucket of the
/// address only if the response has the status 401.
pub(super) async fn limit(
    Shared(front): Shared<Front>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let state = &*front.state;
    let Some(rates) = &front.rates.0 else {
        return next.run(request).await;
    };
    let path = request.uri().path();
    let message = path == "/rpc" && request.method() == Method::POST;
    // Messages to `/rpc` count against the rate limits of their connection.
    let exempt = EXEMPT.contains(&path) || path.starts_with("/health/");
    if message || exempt {
        return next.run(request).await;
    }
    let remote = request.extensions().get::<Remote>();
    let address = remote.map(|remote| address(state, remote, request.headers()));
    let token = match credentials::token(state, request.headers(), Links::OpenPages) {
        Ok(token) => token,
        Err(problem) => return problem.into_response(),
    };
    let wait = match (&token, address) {
        (Some(token), Some(address)) => rates.strangers.check(address).and_then(|wait| {
            let own = rates.users.reserve(auth::token_hash(token))?;
            Ok(wait.max(own))
        }),
        (Some(token), None) => rates.users.reserve(auth::token_hash(token)),
        (None, Some(address)) => rates.strangers.reserve(address),
        (None, None) => Ok(Duration::ZERO),
    };
    match wait {
        Ok(Duration::ZERO) => {}
        Ok(wait) => {
            state.counters.slowed_rate.add();
            let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            state.counters.slowed_rate_milliseconds.add_many(millis);
            sleep(wait).await;
        }
        Err(wait) => {
            state.counters.refused_rate.add();
            return too_much(wait);
        }
    }
    let response = next.run(request).await;
    if token.is_some()
        && response.status() == StatusCode::UNAUTHORIZED
        && let Some(address) = address
    {
        rates.strangers.with(address, |rate| rate.take(1.0));
    }
    response
}

/// Returns the response with status 429 for a request that would have to wait for `wait`. The
/// header `Retry-After` contains this time.
fn too_much(wait: Duration) -> Response {
    let text = "Rate limit exceeded. Please slow down.";
    let mut response = problem(StatusCode::TOO_MANY_REQUESTS, text).into_response();
    let seconds = HeaderValue::from(wait.as_secs().saturating_add(1));
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

/// Returns the IP address of the client of a request. With `behind_proxy`, this is the last address
/// in `X-Forwarded-For`, which the proxy has added. The other addresses come from the client and
/// may be forged.
pub(super) fn address(state: &State, remote: &Remote, headers: &HeaderMap) -> IpAddr {
    let forwarded = || {
        let value = headers.get_all("x-forwarded-for").iter().next_back()?;
        value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
    };
    let said = state.settings.behind_proxy.then(forwarded).flatten();
    said.unwrap_or(remote.0.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_buckets_is_limited() {
        let rates = Rates::new(0.001, 2.0);
        for key in 0..BUCKETS_MAX + 10 {
            assert!(rates.reserve(key).is_ok());
        }
        assert!(rates.buckets.lock().len() <= BUCKETS_MAX);
        assert!(rates.reserve(BUCKETS_MAX + 9).is_ok());
        assert!(rates.reserve(BUCKETS_MAX + 9).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_if_the_wait_is_short() {
        let rates = Rates::new(1.0, 1.0);
        let seconds = |wait: Result<Duration, Duration>| wait.map(|wait| wait.as_secs());
        let waits: Vec<_> = (0..7).map(|_| seconds(rates.reserve(1))).collect();
        let refused = Err(Duration::from_secs(6));
        assert_eq!(waits, [Ok(0), Ok(1), Ok(2), Ok(3), Ok(4), Ok(5), refused]);
        assert_eq!(seconds(rates.check(1)), refused);
        assert_eq!(seconds(rates.check(2)), Ok(0));
    }
}
