//! Compresses responses and decompresses requests.

use axum::http::header;
use hyper::body::Body;
use tower_http::CompressionLevel;
use tower_http::compression::{CompressionLayer, Predicate};
use tower_http::decompression::RequestDecompressionLayer;

/// Returns the layer that decompresses requests that are compressed with gzip. The layer refuses
/// other encodings with status 415.
pub(super) fn requests() -> RequestDecompressionLayer {
    RequestDecompressionLayer::new()
}

/// Minimum size of a response that is compressed, in bytes. Smaller responses fit into one packet
/// anyway.
const BYTES_MIN: u64 = 1000;
/// Compression level. Higher levels take more than twice the time and save only a few percent.
const LEVEL: CompressionLevel = CompressionLevel::Precise(4);

/// Returns the layer that compresses responses with the best of zstd, brotli and gzip that the
/// client accepts.
pub(super) fn layer() -> CompressionLayer<CompressText> {
    CompressionLayer::new()
        .quality(LEVEL)
        .compress_when(CompressText)
}

/// Selects the responses to compress: text of a known size of at least [`BYTES_MIN`].
///
/// A stream has no known size and is not compressed, because an item must not wait in the
/// compressor for the next item.
#[derive(Clone, Copy)]
pub(super) struct CompressText;

impl Predicate for CompressText {
    fn should_compress<B: Body>(&self, response: &axum::http::Response<B>) -> bool {
        let size = response.body().size_hint().exact();
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok());
        size.is_some_and(|size| size >= BYTES_MIN) && kind.is_some_and(is_text)
    }
}

/// Returns whether a content type that the server sends is text.
fn is_text(content_type: &str) -> bool {
    content_type.starts_with("text/") || content_type.starts_with("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_text_is_compressed() {
        use axum::body::Body;
        let of = |kind: &str, body: Body| {
            let mut response = axum::http::Response::new(body);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            CompressText.should_compress(&response)
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
