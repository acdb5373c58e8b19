//! Completes and checks agent cards. An agent describes itself in its agent card.
//!
//! The protocol defines the names of the members of a card. A service may write these names in
//! camel case, as in the JSON of the protocol, or in snake case, as in the Python library of the
//! protocol.

use hypha_rpc::{RemoteService, Value};
use serde_json::{Map, Value as Json, json};

/// Memory charged for the members that the server adds to a card, in bytes.
pub(super) const ROOM: usize = 8 * 1024;

/// Members of a card that contain objects, or lists of objects. The protocol defines the member
/// names of these objects.
const NESTED: [&str; 6] = [
    "additionalInterfaces",
    "capabilities",
    "extensions",
    "provider",
    "securitySchemes",
    "skills",
];
/// Members of a card that must be strings.
const TEXTS: [&str; 4] = ["description", "name", "url", "version"];
/// Members of a skill that must be strings.
const SKILL_TEXTS: [&str; 3] = ["description", "id", "name"];

/// The card of an agent. The card contains a value for each member that the protocol requires.
pub(super) struct Card {
    /// The card with the member names that the service wrote, in camel or snake case.
    written: Map<String, Json>,
    /// The card in the format of the protocol.
    served: Json,
}

/// Returns the name of the service's member that contains the agent card. Prefers the card for all
/// clients to the card for clients with a token.
pub(super) fn member(service: &RemoteService) -> Option<&'static str> {
    let mut names = ["agent_card", "extended_agent_card"].into_iter();
    names.find(|name| has(service, name))
}

/// Returns whether a service has the member `name`, as a value or as a method.
pub(super) fn has(service: &RemoteService, name: &str) -> bool {
    let value = || service.get(name).is_some_and(|value| *value != Value::Null);
    service.has_method(name) || value()
}

impl Card {
    /// Completes the card `given`. Missing members get a value from the service's record, or the
    /// value that the Python server uses.
    ///
    /// # Errors
    ///
    /// Returns an error text that names the first member with a type that violates the protocol.
    pub(super) fn of(
        given: Option<Map<String, Json>>,
        service: &RemoteService,
        url: &str,
    ) -> Result<Card, String> {
        let id = service.id();
        let text = |key: &str| service.get(key).and_then(Value::as_str);
        let mut written = given.unwrap_or_default();
        let chat = json!({
            "id": "chat",
            "name": "Chat",
            "description": "Chat with the agent",
            "tags": ["chat"],
            "examples": ["hello", "help"],
        });
        let described = text("description").map(str::to_owned);
        let described = described.unwrap_or_else(|| format!("A2A agent for Hypha service {id}"));
        let capabilities = json!({
            "streaming": true,
            "push_notifications": false,
            "state_transition_history": false,
        });
        let members = [
            ("protocol_version", json!("0.3.0")),
            ("name", json!(id)),
            ("description", json!(described)),
            ("url", json!(url)),
            ("version", json!("1.0.0")),
            ("capabilities", capabilities),
            ("default_input_modes", json!(["text"])),
            ("default_output_modes", json!(["text"])),
            ("skills", json!([chat])),
        ];
        for (name, value) in members {
            let is_absent = |name: &str| written.get(name).is_none_or(Json::is_null);
            if is_absent(name) && is_absent(&camel(name)) {
                written.insert(name.to_owned(), value);
            }
        }
        Card::checked(written)
    }

    /// Checks a card that has all members without a fixed default.
    fn checked(written: Map<String, Json>) -> Result<Card, String> {
        let mut card = renamed(&written);
        let preferred = card.entry("preferredTransport");
        preferred.or_insert_with(|| "JSONRPC".into());
        let wrong = |name: &str, expected: &str| {
            Err(format!("`{name}` of the agent card: expected {expected}"))
        };
        for name in TEXTS {
            if !card[name].is_string() {
                return wrong(name, "a string");
            }
        }
        if !card["capabilities"].is_object() {
            return wrong("capabilities", "a map");
        }
        for name in ["defaultInputModes", "defaultOutputModes"] {
            let modes = card[name].as_array();
            if !modes.is_some_and(|modes| modes.iter().all(Json::is_string)) {
                return wrong(name, "a list of strings");
            }
        }
        let Some(Json::Array(skills)) = card.get_mut("skills") else {
            return wrong("skills", "a list of maps");
        };
        for skill in skills {
            let Json::Object(skill) = skill else {
                return wrong("skills", "a list of maps");
            };
            skill.entry("tags").or_insert_with(|| json!(["chat"]));
            let of = |name: &&str| skill.get(*name).is_some_and(Json::is_string);
            if let Some(name) = SKILL_TEXTS.iter().find(|name| !of(name)) {
                return wrong(&format!("skills[].{name}"), "a string");
            }
        }
        Ok(Card {
            written,
            served: Json::Object(card),
        })
    }

    /// Returns the card as the service wrote it, as the Python server shows it to people.
    pub(super) fn written(&self) -> &Map<String, Json> {
        &self.written
    }

    /// Returns the card in the format of the protocol.
    pub(super) fn served(&self) -> &Json {
        &self.served
    }

    /// Returns whether the agent supports `message/stream`.
    pub(super) fn streams(&self) -> bool {
        self.can("streaming")
    }

    /// Returns whether the card declares push notifications.
    pub(super) fn pushes(&self) -> bool {
        self.can("pushNotifications")
    }

    fn can(&self, name: &str) -> bool {
        self.served["capabilities"][name] == true
    }

    /// Returns whether the card declares that the agent has another card for clients with a token.
    pub(super) fn has_extended(&self) -> bool {
        self.served["supportsAuthenticatedExtendedCard"] == true
    }
}

/// Returns the object with its member names converted to camel case, as in the protocol. Omits
/// members that are null, because the protocol does not allow null.
fn renamed(object: &Map<String, Json>) -> Map<String, Json> {
    let members = object.iter().filter(|(_, value)| !value.is_null());
    let members = members.map(|(name, value)| {
        let name = camel(name);
        let value = if NESTED.contains(&name.as_str()) {
            renamed_within(value)
        } else {
            value.clone()
        };
        (name, value)
    });
    members.collect()
}

fn renamed_within(value: &Json) -> Json {
    match value {
        Json::Array(items) => items.iter().map(renamed_within).collect(),
        Json::Object(object) => Json::Object(renamed(object)),
        other => other.clone(),
    }
}

/// Converts a name in snake case to camel case.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let mut whole = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        whole.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        whole.push_str(letters.as_str());
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(given: Json) -> Result<Card, String> {
        let Json::Object(given) = given else {
            panic!("no card")
        };
        Card::checked(given)
    }

    fn whole() -> Json {
        json!({
            "name": "a", "description": "b", "url": "c", "version": "d",
            "capabilities": {"push_notifications": true, "streaming": null},
            "default_input_modes": ["text"], "defaultOutputModes": [],
            "skills": [{"id": "s", "name": "S", "description": "", "input_modes": ["x"]}],
            "security": [{"my_key": []}], "icon_url": null,
        })
    }

    #[test]
    fn names_are_those_of_the_protocol() {
        let card = card(whole()).unwrap();
        let expected = json!({
            "name": "a", "description": "b", "url": "c", "version": "d",
            "capabilities": {"pushNotifications": true},
            "defaultInputModes": ["text"], "defaultOutputModes": [],
            "preferredTransport": "JSONRPC",
            "skills": [
                {"id": "s", "name": "S", "description": "", "inputModes": ["x"], "tags": ["chat"]}
            ],
            "security": [{"my_key": []}],
        });
        assert!(card.pushes() && !card.streams() && !card.has_extended());
        assert_eq!(card.served, expected);
        assert_eq!(Json::Object(card.written), whole());
    }

    #[test]
    fn wrong_members_are_named() {
        for (name, value, text) in [
            (
                "name",
                json!(5),
                "`name` of the agent card: expected a string",
            ),
            (
                "skills",
                json!({}),
                "`skills` of the agent card: expected a list of maps",
            ),
            (
                "skills",
                json!([{}]),
                "`skills[].description` of the agent card: expected a string",
            ),
            (
                "capabilities",
                json!([]),
                "`capabilities` of the agent card: expected a map",
            ),
            (
                "defaultOutputModes",
                json!([1]),
                "`defaultOutputModes` of the agent card: expected a list of strings",
            ),
        ] {
            let mut shown = whole();
            shown[name] = value;
            assert_eq!(card(shown).err(), Some(text.to_owned()));
        }
    }
}
