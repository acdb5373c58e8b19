//! Which answers are made smaller on the way, for those who say that they can read them so, and requests
//! that came so.

use axum::http::header;
use hyper::body::Body;
use tower_http::CompressionLevel;
use tower_http::compression::{CompressionLayer, Predicate};
use tower_http::decompression::RequestDecompressionLayer;

/// Read requests that come in gzip; others get 415.
pub(super) fn requests() -> RequestDecompressionLayer {
    RequestDecompressionLayer::new()
}

/// What is smaller is not worth the work.
const WORTH_IT: u64 = 1000;
/// A little smaller at more than twice the time is no bargain while somebody waits.
const LEVEL: CompressionLevel = CompressionLevel::Precise(4);

/// Compress what is worth it, with the best of zstd, brotli and gzip that the client reads.
pub(super) fn layer() -> CompressionLayer<Worth> {
    CompressionLayer::new().quality(LEVEL).compress_when(Worth)
}

/// Whether an answer is worth compressing: known to be large, and text.
///
/// What comes piece by piece, of no known size, is left alone: a piece must not wait in the compressor
/// for the next one.
#[derive(Clone, Copy)]
pub(super) struct Worth;

impl Predicate for Worth {
    fn should_compress<B: Body>(&self, response: &axum::http::Response<B>) -> bool {
        let size = response.body().size_hint().exact();
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok());
        size.is_some_and(|size| size >= WORTH_IT) && kind.is_some_and(is_text)
    }
}

/// Of what the server itself answers. Streams of events are text as well, but have no size.
fn is_text(content_type: &str) -> bool {
    content_type.starts_with("text/") || content_type.starts_with("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_and_text_is_compressed() {
        use axum::body::Body;
        let of = |kind: &str, body: Body| {
            let mut response = axum::http::Response::new(body);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            Worth.should_compress(&response)
        };
        let sized = |size: usize| Body::from("x".repeat(size));
        let pieces = || Body::from_stream(futures_util::stream::empty::<Result<String, String>>());
        assert!(of("application/json", sized(1000)));
        assert!(of("text/plain; charset=utf-8", sized(1000)));
        assert!(!of("application/json", sized(999)));
        assert!(!of("application/msgpack", sized(1000)));
        assert!(!of("text/event-stream", pieces()));
        assert!(!of("application/x-msgpack-stream", pieces()));
    }
}
