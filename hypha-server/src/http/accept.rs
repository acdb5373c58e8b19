//! Parses the header `Accept`, in which a client lists the media types that it accepts in a
//! response.

use axum::http::{HeaderMap, header};

/// The header `Accept` of a request.
pub(super) struct Accept {
    /// Type, subtype and quality in thousandths. `*` stands for any type or subtype.
    ranges: Vec<(String, String, u16)>,
}

impl Accept {
    /// Parses the header. Returns `None` if the request has no header `Accept`, or if no range in
    /// the header can be parsed.
    pub(super) fn of(headers: &HeaderMap) -> Option<Accept> {
        let lines = headers.get_all(header::ACCEPT).iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        let ranges: Vec<_> = lines
            .flat_map(|line| line.split(','))
            .filter_map(range)
            .collect();
        (!ranges.is_empty()).then_some(Accept { ranges })
    }

    /// Returns the quality of a media type, in thousandths; 0 if the client does not accept the
    /// type. If several ranges match, the most specific range counts.
    pub(super) fn quality(&self, media_type: &str) -> u16 {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let (kind, subtype) = essence.split_once('/').unwrap_or((essence, ""));
        let matching = self.ranges.iter().filter_map(|(range, sub, quality)| {
            let rank = match (range.as_str(), sub.as_str()) {
                ("*", "*") => 0,
                (range, "*") if range.eq_ignore_ascii_case(kind) => 1,
                (range, sub)
                    if range.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) =>
                {
                    2
                }
                _ => return None,
            };
            Some((rank, *quality))
        });
        matching.max().map_or(0, |(_, quality)| quality)
    }

    /// Returns the first candidate with the highest quality, or `None` if all qualities are 0.
    pub(super) fn best<T>(candidates: impl IntoIterator<Item = (T, u16)>) -> Option<T> {
        let mut best: Option<(T, u16)> = None;
        for (form, quality) in candidates {
            if quality > best.as_ref().map_or(0, |(_, quality)| *quality) {
                best = Some((form, quality));
            }
        }
        best.map(|(form, _)| form)
    }
}

/// Reads one range, such as `image/*;q=0.8`. Parameters other than `q` are ignored.
fn range(text: &str) -> Option<(String, String, u16)> {
    let mut parts = text.split(';');
    let (kind, subtype) = parts.next()?.trim().split_once('/')?;
    let quality = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("q")
            .then_some(value.trim())
    });
    let quality = match quality {
        Some(quality) => quality.parse::<f32>().ok()?.clamp(0.0, 1.0),
        None => 1.0,
    };
    let thousandths = (quality * 1000.0).round() as u16;
    Some((kind.to_owned(), subtype.to_owned(), thousandths))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Accept> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, text.parse().unwrap());
        Accept::of(&headers)
    }

    #[test]
    fn the_most_specific_range_counts() {
        let accept = of("image/*;q=0.8, IMAGE/png , */*; q=0.1,image/gif;q=0").unwrap();
        assert_eq!(accept.quality("image/png"), 1000);
        assert_eq!(accept.quality("image/jpeg"), 800);
        assert_eq!(accept.quality("text/plain; charset=utf-8"), 100);
        assert_eq!(accept.quality("image/gif"), 0);
        let formats = ["image/gif", "text/plain", "image/jpeg", "image/webp"];
        let best = |accept: &Accept| Accept::best(formats.map(|form| (form, accept.quality(form))));
        assert_eq!(best(&accept), Some("image/jpeg"));
        assert_eq!(best(&of("audio/ogg").unwrap()), None);
        assert_eq!(best(&of("*/*").unwrap()), Some("image/gif"));
    }

    #[test]
    fn a_header_without_ranges_is_none() {
        assert!(Accept::of(&HeaderMap::new()).is_none());
        for text in ["", "png", "image/png;q=high"] {
            assert!(of(text).is_none(), "{text}");
        }
    }
}
