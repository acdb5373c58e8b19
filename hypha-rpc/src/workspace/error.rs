//! Errors of the workspace manager. They have the class names of the Python server, because clients
//! compare these names.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! manager_errors {
    ($($(#[$doc:meta])* $variant:ident = $class:literal),+ $(,)?) => {
        /// Error of the workspace manager.
        ///
        /// The error is sent as one line, `Class: message`, with the class names of the Python
        /// server. [`WorkspaceManagerProxy`](crate::workspace::WorkspaceManagerProxy) returns this
        /// line as [`Error::Service`](crate::Error::Service).
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, crate::RemoteError)]
        // Omit the error classes from the schema. Each client decodes the record of the manager
        // when it connects, and the error classes would make up most of the record.
        #[remote_error(crate = crate, described = false)]
        #[non_exhaustive]
        pub enum ManagerError {
            $($(#[$doc])* #[remote_error(name = $class, class = $class)] $variant(String)),+
        }

        impl ManagerError {
            /// Returns the class name that messages contain for this error.
            pub fn class(&self) -> &'static str {
                match self { $(ManagerError::$variant(_) => $class),+ }
            }

            /// Returns the message without the class name.
            pub fn message(&self) -> &str {
                match self { $(ManagerError::$variant(message) => message),+ }
            }
        }
    };
}

manager_errors! {
    /// The requested object does not exist.
    Key = "KeyError",
    /// The caller lacks the permission.
    Permission = "PermissionError",
    /// An argument has an invalid value.
    Value = "ValueError",
    /// The request is contradictory or ambiguous.
    Assertion = "AssertionError",
    /// The server cannot do this, or not at this time.
    Runtime = "RuntimeError",
    /// An argument is missing, unknown or of the wrong type.
    Type = "TypeError",
    /// A peer did not respond in time.
    Timeout = "TimeoutError",
    /// A peer has disconnected.
    Connection = "ConnectionError",
    /// Any other error.
    Other = "Exception",
}

impl fmt::Display for ManagerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Python prints the message of a `KeyError` in quotes, and clients compare the whole
            // line.
            ManagerError::Key(message) => write!(f, "KeyError: {}", quoted(message)),
            other => write!(f, "{}: {}", other.class(), other.message()),
        }
    }
}

impl std::error::Error for ManagerError {}

/// Quotes a string like Python's `repr`. The quotes are double quotes if the string contains a
/// single quote and no double quote. Otherwise, they are single quotes.
fn quoted(message: &str) -> String {
    let mark = if message.contains('\'') && !message.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut text = String::from(mark);
    for character in message.chars() {
        match character {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c.is_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => {
                if c == mark || c == '\\' {
                    text.push('\\');
                }
                text.push(c);
            }
        }
    }
    text.push(mark);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ServiceError;
    use hypha_wire::WireError;

    fn wire(message: &str) -> WireError {
        WireError::new(message)
    }

    #[test]
    fn errors_are_one_line_with_the_class_name() {
        let missing = ManagerError::Key("Service not found: w/*:s@*".into());
        assert_eq!(
            missing.to_string(),
            "KeyError: 'Service not found: w/*:s@*'"
        );
        assert_eq!(
            ManagerError::from_wire(&missing.clone().to_wire()),
            Some(missing.clone())
        );
        // Clients in other languages get only this message.
        let sent = missing.to_wire();
        assert_eq!(
            (sent.trace.as_str(), sent.name.as_deref()),
            ("", Some("KeyError"))
        );
        assert_eq!(
            ManagerError::from_wire(&wire(&sent.message)),
            Some(ManagerError::Key("Service not found: w/*:s@*".into()))
        );
        let env = ManagerError::Key("Environment variable 'K' not found in workspace w".into());
        assert_eq!(
            env.to_string(),
            "KeyError: \"Environment variable 'K' not found in workspace w\""
        );
        assert_eq!(ManagerError::from_wire(&env.clone().to_wire()), Some(env));
        let escaped = ManagerError::Key("a\\b's \"c\"\n\u{1b}".into());
        assert_eq!(escaped.to_string(), r#"KeyError: 'a\\b\'s "c"\n\x1b'"#);
        assert_eq!(
            ManagerError::from_wire(&wire(&escaped.to_string())),
            Some(escaped)
        );
    }

    #[test]
    fn reads_the_last_line_of_a_traceback() {
        let text = "Traceback (most recent call last):\n  File \"x\"\n\
                    PermissionError: Permission denied for workspace w\n";
        assert_eq!(
            ManagerError::from_wire(&wire(text)),
            Some(ManagerError::Permission(
                "Permission denied for workspace w".into()
            ))
        );
        assert_eq!(ManagerError::from_wire(&wire("something else")), None);
    }
}
