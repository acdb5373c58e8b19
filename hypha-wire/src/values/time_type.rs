//! Recognizes the time types of the standard library by the descriptions that serde provides.

/// Type of the standard library that serde converts to a struct.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Time {
    Duration,
    SystemTime,
}

impl Time {
    /// Returns the time type that serializes as a struct with this name and number of fields.
    pub(super) fn named(name: &str, len: usize) -> Option<Time> {
        match (len, name) {
            (2, "Duration") => Some(Time::Duration),
            (2, "SystemTime") => Some(Time::SystemTime),
            _ => None,
        }
    }

    /// Returns the time type that deserializes from a struct with this name and these fields.
    pub(super) fn of_fields(name: &str, fields: &[&str]) -> Option<Time> {
        Time::named(name, fields.len()).filter(|time| time.fields()[..] == *fields)
    }

    /// Returns the time type that serde's description of an expected type names, such as `struct
    /// Duration`.
    pub(super) fn expected(text: &str) -> Option<Time> {
        Time::named(text.strip_prefix("struct ")?, 2)
    }

    /// Returns the protocol's name of the values from which the type is decoded.
    pub(super) fn description(self) -> &'static str {
        match self {
            Time::Duration => "a number of seconds",
            Time::SystemTime => "a timestamp, or seconds since 1970",
        }
    }

    /// Returns the names of the fields of the struct.
    pub(super) fn fields(self) -> [&'static str; 2] {
        match self {
            Time::Duration => ["secs", "nanos"],
            Time::SystemTime => ["secs_since_epoch", "nanos_since_epoch"],
        }
    }
}
