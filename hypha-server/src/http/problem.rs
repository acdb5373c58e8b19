//! Builds error responses.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::session::{Refusal, RefusalKind};

/// An error response, sent as the JSON `{"success": false, "detail": …}`.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
}

/// An error response in plain text. Pages of applications use plain text, because a browser shows
/// the text to the user.
pub(super) struct PlainProblem(Problem);

/// Returns an error response with a detail text for the client.
pub(super) fn problem(status: StatusCode, detail: impl Into<String>) -> Problem {
    Problem {
        status,
        detail: detail.into(),
    }
}

/// Returns the response with status 500 for a failure of the server itself.
pub(super) fn failed(error: impl std::fmt::Display) -> Problem {
    problem(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind {
            RefusalKind::Undecodable => StatusCode::BAD_REQUEST,
            RefusalKind::Credentials | RefusalKind::Revoked => StatusCode::UNAUTHORIZED,
            RefusalKind::Denied => StatusCode::FORBIDDEN,
            RefusalKind::Taken => StatusCode::CONFLICT,
            RefusalKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
            RefusalKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
            RefusalKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        problem(status, refusal.message)
    }
}

impl From<Problem> for PlainProblem {
    fn from(problem: Problem) -> Self {
        PlainProblem(problem)
    }
}

/// Adds `Retry-After: 1` to responses with status 429 and 503, because a later request may succeed.
fn with_retry(status: StatusCode, mut response: Response) -> Response {
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        let soon = HeaderValue::from_static("1");
        response.headers_mut().insert(header::RETRY_AFTER, soon);
    }
    response
}

impl Problem {
    #[cfg(any(
        feature = "a2a",
        feature = "console",
        feature = "mcp",
        feature = "skills"
    ))]
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the status and the detail.
    #[cfg(feature = "console")]
    pub(super) fn into_parts(self) -> (StatusCode, String) {
        (self.status, self.detail)
    }

    /// Responds with the detail in a body of this type.
    pub(super) fn respond(self, form: impl FnOnce(String) -> serde_json::Value) -> Response {
        let body = Json(form(self.detail));
        with_retry(self.status, (self.status, body).into_response())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.respond(|detail| json!({"success": false, "detail": detail}))
    }
}

impl IntoResponse for PlainProblem {
    fn into_response(self) -> Response {
        let Problem { status, detail } = self.0;
        with_retry(status, (status, detail).into_response())
    }
}
