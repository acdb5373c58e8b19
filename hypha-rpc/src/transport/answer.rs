//! Errors for responses that do not open a connection.

use crate::error::{ConnectError, ConnectErrorKind};

/// Returns the [`ConnectError`] for an unexpected HTTP response.
pub(super) fn unexpected(url: &str, status: u16, detail: &str) -> ConnectError {
    // A Hypha server responds with JSON, and other servers respond with text or HTML.
    let said = self::detail(detail);
    let said = first_line(said.as_deref().unwrap_or(detail));
    ConnectError::new(ConnectErrorKind::HttpStatus(status), said).with_url(url)
}

/// Returns the reason in the body of an error response, `{"detail": ..}`.
pub(super) fn detail(body: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(body).ok()?;
    match json.get("detail")? {
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Returns the first line of a response body, for the error message. Returns an empty string for
/// HTML, which is meant for browsers.
fn first_line(text: &str) -> String {
    const MOST: usize = 200;
    let text = text.trim();
    match text.lines().next() {
        Some(line) if !line.starts_with('<') => line.chars().take(MOST).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unexpected_answer_says_its_reason_only() {
        for (body, expected) in [
            (r#"{"detail":"Not Found"}"#, "Not Found"),
            (r#"{"detail":{"code":3}}"#, r#"{"code":3}"#),
            (r#"{"other":1}"#, r#"{"other":1}"#),
            ("gone\nfor good", "gone"),
            ("<html>", ""),
        ] {
            let error = unexpected("ws://host/ws", 404, body).to_string();
            let said = match expected {
                "" => "status 404:".to_owned(),
                expected => format!("status 404 ({expected}):"),
            };
            assert!(error.contains(&said), "{error}");
        }
    }
}
