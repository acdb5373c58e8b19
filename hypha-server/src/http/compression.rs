//! Which answers are made smaller on the way, for those who say that they can read them so.

use axum::http::{HeaderMap, StatusCode, header};
use hyper::body::Body;
use tower_http::CompressionLevel;
use tower_http::compression::{CompressionLayer, Predicate};

/// What is smaller is not worth the work.
const WORTH_IT: u64 = 1000;
/// A little smaller at more than twice the time is no bargain while somebody waits.
const LEVEL: CompressionLevel = CompressionLevel::Precise(4);
/// Types besides text in which there is much to find twice.
const REPETITIVE: [&str; 17] = [
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/otf",
    "application/protobuf",
    "application/ttf",
    "application/wasm",
    "application/x-javascript",
    "application/x-protobuf",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
    "multipart/mixed",
];

/// Compress what is worth it, with the best of zstd, brotli and gzip that the client reads.
pub(super) fn layer() -> CompressionLayer<Worth> {
    CompressionLayer::new().quality(LEVEL).compress_when(Worth)
}

/// Whether an answer is worth compressing: known to be large, and of a type that gets smaller.
///
/// What comes piece by piece, of no known size, is left alone: a piece must not wait in the compressor
/// for the next one.
#[derive(Clone, Copy)]
pub(super) struct Worth;

impl Predicate for Worth {
    fn should_compress<B: Body>(&self, response: &axum::http::Response<B>) -> bool {
        let headers = response.headers();
        let empty = [
            StatusCode::NO_CONTENT,
            StatusCode::RESET_CONTENT,
            StatusCode::NOT_MODIFIED,
        ];
        let size = response.body().size_hint().exact();
        size.or_else(|| announced(headers))
            .is_some_and(|size| size >= WORTH_IT)
            && !empty.contains(&response.status())
            && text(headers, header::CONTENT_TYPE).is_some_and(gets_smaller)
    }
}

/// The size that an application gives its own answer.
fn announced(headers: &HeaderMap) -> Option<u64> {
    text(headers, header::CONTENT_LENGTH)?.parse().ok()
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn gets_smaller(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    let text = essence.starts_with("text/") && essence != "text/event-stream";
    text || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || REPETITIVE.contains(&essence.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_already_is_not_tried_again() {
        for kind in [
            "text/html; charset=utf-8",
            "Application/JSON",
            "application/geo+json",
            "image/svg+xml",
            "font/ttf",
        ] {
            assert!(gets_smaller(kind), "{kind}");
        }
        for kind in [
            "text/event-stream",
            "application/msgpack",
            "application/x-msgpack-stream",
            "application/octet-stream",
            "application/zip",
            "font/woff2",
            "image/png",
            "",
        ] {
            assert!(!gets_smaller(kind), "{kind}");
        }
    }

    #[test]
    fn sizes_are_known_or_nothing_is_done() {
        use axum::body::Body;
        let of = |status: u16, length: Option<&str>, body: Body| {
            let mut response = axum::http::Response::new(body);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
            if let Some(length) = length {
                headers.insert(header::CONTENT_LENGTH, length.parse().unwrap());
            }
            Worth.should_compress(&response)
        };
        let pieces = || Body::from_stream(futures_util::stream::empty::<Result<String, String>>());
        assert!(of(200, None, Body::from("x".repeat(1000))));
        assert!(!of(200, None, Body::from("x".repeat(999))));
        assert!(!of(200, None, pieces()));
        assert!(of(404, Some("1000"), pieces()));
        assert!(!of(200, Some("999"), pieces()));
        assert!(!of(200, Some("many"), pieces()));
        assert!(!of(304, Some("1000"), Body::empty()));
    }
}
