//! Reads and answers control messages after the handshake. On a WebSocket, a control message is
//! JSON in a text frame. Over HTTP, it is a MessagePack map without a target.

use serde_json::{Value, json};

use crate::peer::Peer;
use crate::state::State;

/// Maximum length of a control message, in characters. The Python server ignores longer text
/// frames, whatever they contain.
const MAX_LENGTH: usize = 1000;

/// A request in a control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// The client checks whether the connection works. The response is `pong`.
    Ping,
    /// The client requests a new reconnection token.
    RefreshToken,
}

/// Parses a text frame. Returns `None` if the frame is not a known control message. The server
/// ignores such a frame.
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

/// Returns the control message with this `type`.
pub(super) fn named(kind: &str) -> Option<Control> {
    match kind {
        "ping" => Some(Control::Ping),
        "refresh_token" => Some(Control::RefreshToken),
        _ => None,
    }
}

/// Queues the response to a control message. Never waits for room in the client's queue.
pub(super) async fn answer(state: &State, peer: &Peer, request: Control) {
    let answer = match request {
        Control::Ping => json!({"type": "pong"}),
        Control::RefreshToken => {
            let life = state.settings.reconnection_token_life.as_secs();
            let Peer {
                user,
                workspace,
                client_id,
                ..
            } = peer;
            let issuing =
                state
                    .issuer
                    .reconnection_token(user, workspace, client_id, life, &user.lineage);
            match issuing.await {
                Ok(token) => json!({"type": "reconnection_token", "reconnection_token": token}),
                Err(error) => return tracing::error!(%error, "cannot issue a reconnection token"),
            }
        }
    };
    // The result is ignored, because an error means that the client has disconnected.
    let _ = peer.outbox.push_text(answer.to_string());
}

/// Maximum length of the close reason in a close frame, in bytes: 125 for a control frame (RFC
/// 6455, section 5.5) minus two for the code.
const REASON_BYTES: usize = 123;

/// Returns the longest prefix of `text` that fits into a close frame.
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
    fn only_short_objects_of_a_known_type_are_control_messages() {
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
    fn close_reasons_are_cut_between_characters() {
        assert_eq!(reason("short"), "short");
        assert_eq!(reason(&"x".repeat(200)).len(), 123);
        let umlauts = "ü".repeat(100);
        assert_eq!(reason(&umlauts).len(), 122);
    }
}
