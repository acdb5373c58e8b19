//! Rate limits of HTTP requests, by IP address and by token.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::problem::problem;
use super::{Front, Remote, credentials};
use crate::auth::{self, TokenHash};
use crate::rate_limit::RateLimit;
use crate::settings::Limits;
use crate::state::State;

/// Factor by which the limits of a user exceed those of an IP address.
const USER_FACTOR: f64 = 10.0;
/// Bound on the token buckets in each map.
const BUCKETS_MAX: usize = 20_000;
/// Paths for monitoring, and those that are limited elsewhere.
const EXEMPT: [&str; 4] = ["/health", "/health/", "/metrics", "/ws"];

/// The token buckets of all callers.
pub(crate) struct HttpRates {
    /// Requests without credentials, and those whose token is invalid.
    strangers: Rates<IpAddr>,
    users: Rates<TokenHash>,
}

/// Token buckets by key, at most [`BUCKETS_MAX`].
struct Rates<K> {
    per_second: f64,
    burst: f64,
    buckets: Mutex<HashMap<K, RateLimit>>,
}

impl HttpRates {
    pub(crate) fn new(limits: &Limits) -> HttpRates {
        let (rate, burst) = (limits.http_per_second, limits.http_burst);
        HttpRates {
            strangers: Rates::new(rate, burst),
            users: Rates::new(rate * USER_FACTOR, burst * USER_FACTOR),
        }
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

    fn with<T>(&self, key: K, change: impl FnOnce(&mut RateLimit) -> T) -> T {
        let mut buckets = self.buckets.lock();
        if buckets.len() >= BUCKETS_MAX && !buckets.contains_key(&key) {
            // A full bucket is equal to a new one.
            buckets.retain(|_, rate| !rate.is_full());
            if buckets.len() >= BUCKETS_MAX {
                buckets.clear();
            }
        }
        let fresh = || RateLimit::new(self.per_second, self.burst);
        change(buckets.entry(key).or_insert_with(fresh))
    }

    /// Takes a token from the bucket of `key`. Returns false if there is none.
    fn admit(&self, key: K) -> bool {
        self.with(key, |rate| rate.admit(Instant::now()))
    }
}

/// Refuses requests beyond the limits. A request whose token is invalid counts for the address that
/// it comes from.
pub(super) async fn limit(
    Shared(front): Shared<Front>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let state = &*front.state;
    let path = request.uri().path();
    let message = path == "/rpc" && request.method() == Method::POST;
    let exempt = EXEMPT.contains(&path) || path.starts_with("/health/");
    if message || exempt || request.method() == Method::OPTIONS {
        return next.run(request).await;
    }
    let remote = request.extensions().get::<Remote>();
    let address = remote.map(|remote| address(state, remote, request.headers()));
    let strangers = &front.rates.strangers;
    let too_much = || {
        let text = "Rate limit exceeded. Please slow down.";
        problem(StatusCode::TOO_MANY_REQUESTS, text).into_response()
    };
    let token = match credentials::token(state, request.headers()) {
        Ok(token) => token,
        Err(problem) => return problem.into_response(),
    };
    let Some(token) = token else {
        if address.is_some_and(|address| !strangers.admit(address)) {
            return too_much();
        }
        return next.run(request).await;
    };
    let spent = |address| strangers.with(address, |rate| rate.is_empty());
    if address.is_some_and(spent) || !front.rates.users.admit(auth::token_hash(&token)) {
        return too_much();
    }
    let response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED
        && let Some(address) = address
    {
        strangers.admit(address);
    }
    response
}

/// Returns the address that a request comes from; behind a proxy, the one in its header.
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
    fn the_counts_do_not_grow_without_end() {
        let rates = Rates::new(0.001, 2.0);
        for key in 0..BUCKETS_MAX + 10 {
            assert!(rates.admit(key));
        }
        assert!(rates.buckets.lock().len() <= BUCKETS_MAX);
        assert!(rates.admit(BUCKETS_MAX + 9));
        assert!(!rates.admit(BUCKETS_MAX + 9));
    }
}
