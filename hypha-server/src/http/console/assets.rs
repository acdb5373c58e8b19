//! Serves the style sheet and the scripts of the console, which are part of the binary.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

const SCRIPT: &str = "text/javascript; charset=utf-8";
/// Name, content type and content of each file.
const FILES: [(&str, &str, &str); 4] = [
    (
        "console.css",
        "text/css; charset=utf-8",
        include_str!("console.css"),
    ),
    ("console.js", SCRIPT, include_str!("console.js")),
    ("values.js", SCRIPT, include_str!("values.js")),
    ("code.js", SCRIPT, include_str!("code.js")),
];

/// Serves a file, or responds with 304 if the browser has the file.
pub(super) async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some((_, kind, content)) = FILES.iter().find(|(file, ..)| *file == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = tag(content);
    let known = headers.get(header::IF_NONE_MATCH);
    let headers = [
        (header::ETAG, tag.as_str()),
        // The browser must revalidate the file on each use, so that a new server does not run with
        // old scripts.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    // A proxy that compresses the response changes the tag to a weak tag (`W/"..."`).
    if known.is_some_and(|known| {
        known
            .to_str()
            .is_ok_and(|known| known.split(',').any(|it| it.trim().ends_with(&tag)))
    }) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let more = [
        (header::CONTENT_TYPE, *kind),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, more, *content).into_response()
}

/// Returns the entity tag of a content.
fn tag(content: &str) -> String {
    let hash = Sha256::digest(content);
    let hash: String = hash
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{hash}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_small() {
        let total: usize = FILES.iter().map(|(.., content)| content.len()).sum();
        assert!(total < 150_000, "{total} bytes");
    }
}
