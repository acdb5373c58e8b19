//! The parts of a session description (SDP, RFC 8866) that this client reads and changes before it
//! passes a description to the library.

use crate::error::{ConnectError, ConnectErrorKind};

/// Maximum size of a description of a peer, in bytes. Descriptions of browsers with media have
/// about 10 KiB.
const MAX_BYTES: usize = 64 << 10;

/// Maximum number of candidates of a peer. Each candidate is paired with each address of this
/// machine, and each pair causes packets.
const MAX_CANDIDATES: usize = 32;

/// Maximum message size of a peer whose description has none (RFC 8841, section 6.1).
const DEFAULT_MAX_MESSAGE: usize = 64 << 10;

/// Maximum size of a message that the library can receive, in bytes.
pub(super) const MAX_RECEIVED: usize = 256 << 10;

/// Smallest accepted maximum message size of a peer. With less, the fields of a chunk would need
/// more space than its data.
const LEAST_MAX_MESSAGE: usize = 4 << 10;

const CANDIDATE: &str = "a=candidate:";
const RELATED_ADDRESS: &str = " raddr ";
const MAX_MESSAGE_SIZE: &str = "a=max-message-size:";
const MEDIA: &str = "m=";
const CHANNELS: &str = "m=application ";

/// Protocol of data channels in an early draft of RFC 8841, with the SCTP port behind it. The
/// Python client makes offers of this form, which the library does not know.
const EARLY_PROTOCOL: &str = " DTLS/SCTP ";
const EARLY_ATTRIBUTE: &str = "a=sctpmap:";

/// Description of a peer.
#[derive(Debug, PartialEq)]
pub(super) struct RemoteDescription {
    /// Description for the library.
    pub(super) sdp: String,
    /// Maximum size of a message that the peer accepts, in bytes.
    pub(super) max_message: usize,
}

impl RemoteDescription {
    /// Checks the description of a peer, and changes it for the library:
    ///
    /// * Data channels of the early draft become those of the RFC.
    /// * The maximum message size becomes that of this client. The library would otherwise receive
    ///   no message larger than the peer's own maximum, but the Python client sends such messages.
    /// * Candidates with a host name are left out. Browsers hide the addresses of their machine
    ///   behind such names, which only multicast DNS could resolve. The address of the browser is
    ///   learned from its first packet instead.
    /// * Candidates beyond the maximum number are left out.
    pub(super) fn parse(sdp: &str) -> Result<Self, ConnectError> {
        if sdp.len() > MAX_BYTES {
            let fault = format!("has {} bytes; at most {MAX_BYTES} are accepted", sdp.len());
            return Err(invalid(&fault));
        }
        let mut max_message = DEFAULT_MAX_MESSAGE;
        let mut candidates = 0;
        let mut kept = String::with_capacity(sdp.len());
        // Attributes to add to the section of the data channels. Attributes must be the last lines
        // of a section.
        let mut added = String::new();
        for line in sdp.lines() {
            if let Some(size) = line.strip_prefix(MAX_MESSAGE_SIZE) {
                max_message = message_size(size)?;
                continue;
            }
            if line.starts_with(EARLY_ATTRIBUTE) {
                continue;
            }
            if let Some(candidate) = line.strip_prefix(CANDIDATE) {
                if is_named(candidate) || candidates == MAX_CANDIDATES {
                    continue;
                }
                candidates += 1;
            }
            if line.starts_with("a=") || line.starts_with(MEDIA) {
                kept.push_str(&std::mem::take(&mut added));
            }
            match line.split_once(EARLY_PROTOCOL) {
                Some((media, port)) if media.starts_with(CHANNELS) => {
                    kept.push_str(&format!("{media} UDP/DTLS/SCTP webrtc-datachannel\r\n"));
                    added = format!("a=sctp-port:{port}\r\n");
                }
                _ => {
                    kept.push_str(line);
                    kept.push_str("\r\n");
                }
            }
            if line.starts_with(CHANNELS) {
                added.push_str(&format!("{MAX_MESSAGE_SIZE}{MAX_RECEIVED}\r\n"));
            }
        }
        kept.push_str(&added);
        if max_message < LEAST_MAX_MESSAGE {
            return Err(invalid(&format!(
                "accepts messages of at most {max_message} bytes; {LEAST_MAX_MESSAGE} are needed"
            )));
        }
        Ok(RemoteDescription {
            sdp: kept,
            max_message,
        })
    }
}

/// Replaces the addresses of this machine in a description with relay candidates. Each candidate
/// contains the address of its socket. Returns `None` if there are no candidates.
pub(super) fn without_own_addresses(sdp: &str) -> Option<String> {
    let mut changed = String::with_capacity(sdp.len());
    let mut has_candidates = false;
    for line in sdp.lines() {
        let is_candidate = line.starts_with(CANDIDATE);
        has_candidates |= is_candidate;
        match line.split_once(RELATED_ADDRESS) {
            Some((relay, _)) if is_candidate => {
                changed.push_str(relay);
                changed.push_str(RELATED_ADDRESS);
                changed.push_str("0.0.0.0 rport 0");
            }
            _ => changed.push_str(line),
        }
        changed.push_str("\r\n");
    }
    has_candidates.then_some(changed)
}

/// Parses the maximum message size of a peer. Zero stands for any size.
fn message_size(text: &str) -> Result<usize, ConnectError> {
    match text.trim().parse::<u64>() {
        Ok(0) => Ok(usize::MAX),
        Ok(size) => Ok(usize::try_from(size).unwrap_or(usize::MAX)),
        Err(_) => Err(invalid("has an invalid maximum message size")),
    }
}

/// Returns whether the address of a candidate is a host name of multicast DNS.
fn is_named(candidate: &str) -> bool {
    let address = candidate.split(' ').nth(4);
    address.is_some_and(|address| address.ends_with(".local"))
}

fn invalid(fault: &str) -> ConnectError {
    let detail = format!("the peer's session description {fault}");
    ConnectError::new(ConnectErrorKind::PeerConnection, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str =
        "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n";

    #[test]
    fn the_maximum_message_size_is_that_of_the_peer() {
        let parse = |line| RemoteDescription::parse(&format!("{START}a=sctp-port:5000\r\n{line}"));
        for (line, size) in [
            ("a=max-message-size:262144\r\n", 262_144),
            ("a=max-message-size:65536\n", 65_536),
            ("a=max-message-size:0\r\n", usize::MAX),
            ("", 65_536),
        ] {
            let parsed = parse(line).unwrap();
            assert_eq!(parsed.max_message, size, "{line}");
            let sdp = format!("{START}a=max-message-size:262144\r\na=sctp-port:5000\r\n");
            assert_eq!(parsed.sdp, sdp, "{line}");
        }
        for line in ["a=max-message-size:100\r\n", "a=max-message-size:much\r\n"] {
            parse(line).unwrap_err();
        }
    }

    #[test]
    fn channels_of_the_early_draft_become_those_of_the_rfc() {
        let early = "v=0\r\nm=application 9 DTLS/SCTP 5000\r\nc=IN IP4 0.0.0.0\r\n\
                     a=mid:0\r\na=sctpmap:5000 webrtc-datachannel 65535\r\n\
                     a=max-message-size:65536\r\n";
        let parsed = RemoteDescription::parse(early).unwrap();
        let sdp = "a=sctp-port:5000\r\na=max-message-size:262144\r\na=mid:0\r\n";
        assert_eq!(parsed.sdp, format!("{START}{sdp}"));
        assert_eq!(parsed.max_message, 65_536);
    }

    #[test]
    fn relay_candidates_show_no_own_address() {
        let relay = "a=candidate:1 1 udp 16777215 203.0.113.1 60255 typ relay raddr";
        let sdp = format!("{START}{relay} 192.0.2.2 rport 39029\r\na=end-of-candidates\r\n");
        let shown = format!("{START}{relay} 0.0.0.0 rport 0\r\na=end-of-candidates\r\n");
        assert_eq!(without_own_addresses(&sdp), Some(shown));
        assert_eq!(without_own_addresses(START), None);
    }

    #[test]
    fn candidates_are_limited() {
        let address = "a=candidate:1 1 UDP 2130706431 127.0.0.1 5000 typ host\r\n";
        let named = "a=candidate:1 1 UDP 2130706431 f00-1.local 5000 typ host\r\n";
        let sdp = format!("v=0\r\n{}{}", named.repeat(9), address.repeat(1000));
        let parsed = RemoteDescription::parse(&sdp).unwrap();
        let kept = address.repeat(MAX_CANDIDATES);
        assert_eq!(parsed.sdp, format!("v=0\r\n{kept}"));
        let error = RemoteDescription::parse(&sdp.repeat(2)).unwrap_err();
        assert!(error.to_string().contains("bytes"), "{error}");
    }
}
