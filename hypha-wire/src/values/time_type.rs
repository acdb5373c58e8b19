//! The time types of the standard library, as serde describes them.

/// Type of the standard library that serde converts to a struct.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Time {
    Duration,
    SystemTime,
}

impl Time {
    /// Returns the type that serializes as a struct of this name and number of fields.
    pub(super) fn named(name: &str, len: usize) -> Option<Time> {
        match (len, name) {
            (2, "Duration") => Some(Time::Duration),
            (2, "SystemTime") => Some(Time::SystemTime),
            _ => None,
        }
    }

    /// Returns the type that deserializes from a struct of this name and these fields.
    pub(super) fn of_fields(name: &str, fields: &[&str]) -> Option<Time> {
        Time::named(name, fields.len()).filter(|time| time.fields()[..] == *fields)
    }

    /// Returns the type from serde's description of an expected type, such as `struct Duration`.
    pub(super) fn expected(text: &str) -> Option<Time> {
        Time::named(text.strip_prefix("struct ")?, 2)
    }

    /// Returns the names of the fields of the struct.
    pub(super) fn fields(self) -> [&'static str; 2] {
        match self {
            Time::Duration => ["secs", "nanos"],
            Time::SystemTime => ["secs_since_epoch", "nanos_since_epoch"],
        }
    }
}
