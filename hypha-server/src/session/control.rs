//! The control messages after the handshake: text frames, or single maps over HTTP.

use serde_json::{Value, json};

use super::Peer;
use crate::state::State;

/// Longer text frames are ignored, even if they make sense.
const MAX_LENGTH: usize = 1000;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    Ping,
    RefreshToken,
}

/// Read a text frame. What is not understood is ignored.
pub(super) fn read(text: &str) -> Option<Control> {
    if text.chars().nth(MAX_LENGTH).is_some() {
        return None;
    }
    named(
        serde_json::from_str::<Value>(text)
            .ok()?
            .get("type")?
            .as_str()?,
    )
}

/// The control message of this type.
pub(super) fn named(kind: &str) -> Option<Control> {
    match kind {
        "ping" => Some(Control::Ping),
        "refresh_token" => Some(Control::RefreshToken),
        _ => None,
    }
}

/// Give a client what it asks for.
pub(super) async fn answer(state: &State, peer: &Peer, request: Control) {
    let answer = match request {
        Control::Ping => json!({"type": "pong"}),
        Control::RefreshToken => {
            let life = state.reconnection_life;
            let issuing =
                state
                    .issuer
                    .reconnection_token(&peer.user, &peer.workspace, &peer.client_id, life);
            match issuing.await {
                Ok(token) => json!({"type": "reconnection_token", "reconnection_token": token}),
                Err(error) => return tracing::error!(%error, "no reconnection token can be made"),
            }
        }
    };
    let _ = peer.outbox.push_text(answer.to_string());
}

/// The reason of a close frame has room for so many bytes.
const REASON_BYTES: usize = 123;

/// As much of the text as fits into a close frame.
pub(super) fn reason(text: &str) -> &str {
    let mut end = text.len().min(REASON_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_objects_with_a_known_type_count() {
        assert_eq!(read(r#"{"type":"ping"}"#), Some(Control::Ping));
        assert_eq!(
            read(r#"{"type":"refresh_token","x":1}"#),
            Some(Control::RefreshToken)
        );
        for text in [
            "",
            "nonsense",
            "[]",
            r#"["ping"]"#,
            "null",
            "3",
            r#"{"type":"x"}"#,
            r#"{"type":3}"#,
            "{}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let long = format!(r#"{{"type":"ping","x":"{}"}}"#, "y".repeat(1000));
        assert_eq!(read(&long), None);
    }

    #[test]
    fn reasons_are_cut_between_characters() {
        assert_eq!(reason("short"), "short");
        assert_eq!(reason(&"x".repeat(200)).len(), 123);
        let umlauts = "ü".repeat(100);
        assert_eq!(reason(&umlauts).len(), 122);
    }
}
