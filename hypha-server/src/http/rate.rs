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
const TRUST: f64 = 10.0;
/// Bound on the token buckets in each map.
const COUNTED_MAX: usize = 20_000;
/// Paths for monitoring, and those that are limited elsewhere.
const EXEMPT: [&str; 4] = ["/health", "/health/", "/metrics", "/ws"];

/// The rates by address and by token.
pub(crate) struct HttpRates {
    strangers: Rates<IpAddr>,
    users: Rates<TokenHash>,
}

struct Rates<K> {
    per_second: f64,
    burst: f64,
    counted: Mutex<HashMap<K, RateLimit>>,
}

impl HttpRates {
    pub(crate) fn new(limits: &Limits) -> HttpRates {
        let (rate, burst) = (limits.http_per_second, limits.http_burst);
        HttpRates {
            strangers: Rates::new(rate, burst),
            users: Rates::new(rate * TRUST, burst * TRUST),
        }
    }
}

impl<K: Eq + Hash> Rates<K> {
    fn new(per_second: f64, burst: f64) -> Rates<K> {
        Rates {
            per_second,
            burst,
            counted: Mutex::default(),
        }
    }

    fn with<T>(&self, key: K, look: impl FnOnce(&mut RateLimit) -> T) -> T {
        let mut counted = self.counted.lock();
        if counted.len() >= COUNTED_MAX && !counted.contains_key(&key) {
            // A full bucket is equal to a new one.
            counted.retain(|_, rate| !rate.is_rested());
            if counted.len() >= COUNTED_MAX {
                counted.clear();
            }
        }
        let fresh = || RateLimit::new(self.per_second, self.burst);
        look(counted.entry(key).or_insert_with(fresh))
    }

    /// Count one; false if it is one too many.
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
    let spent = |address| strangers.with(address, |rate| rate.is_spent());
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
fn address(state: &State, remote: &Remote, headers: &HeaderMap) -> IpAddr {
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
        for key in 0..COUNTED_MAX + 10 {
            assert!(rates.admit(key));
        }
        assert!(rates.counted.lock().len() <= COUNTED_MAX);
        assert!(rates.admit(COUNTED_MAX + 9));
        assert!(!rates.admit(COUNTED_MAX + 9));
    }
}
