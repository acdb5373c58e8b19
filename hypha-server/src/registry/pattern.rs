//! Matches services by the parts of their ids and by their properties.

use super::Record;

/// A pattern for services. In every part, `*` matches any number of characters. There are no other
/// wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServicePattern {
    pub(crate) workspace: String,
    pub(crate) client: String,
    /// Last part of the id, without `@app`.
    pub(crate) name: String,
    /// App of the service. A service without an app has the app `*`.
    pub(crate) app_id: String,
    /// `public`, `unlisted` or `protected`.
    pub(crate) visibility: String,
    /// Type of the service.
    pub(crate) kind: String,
}

/// The default matches every service.
impl Default for ServicePattern {
    fn default() -> Self {
        let any = || "*".to_owned();
        ServicePattern {
            workspace: any(),
            client: any(),
            name: any(),
            app_id: any(),
            visibility: any(),
            kind: any(),
        }
    }
}

impl ServicePattern {
    /// Returns whether the pattern matches a service.
    pub(crate) fn matches(&self, record: &Record) -> bool {
        let Some(key) = record.key() else {
            return false;
        };
        glob(&self.workspace, key.workspace)
            && glob(&self.client, key.client)
            && glob(&self.name, key.name)
            && glob(&self.app_id, record.app_id.as_deref().unwrap_or("*"))
            && glob(&self.visibility, record.visibility.as_str())
            && glob(&self.kind, record.kind.as_deref().unwrap_or("*"))
    }
}

/// Returns whether `text` matches `pattern`, in which `*` matches any number of characters.
///
/// Matches each piece between stars at its first occurrence, which is correct because a later
/// occurrence leaves less of `text` for the remaining pieces. The time is at most the product of
/// both lengths. Patterns come from clients, and a matcher that tries all occurrences would take
/// exponential time.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    // `text` must start with the piece before the first star. If there is no star, `text` must
    // equal that piece.
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "abc"),
            ("a*", "a"),
            ("a*c", "abc"),
            ("*b*", "abc"),
            ("a*b*c", "axbbc"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("abc", "ab"),
            ("a*", "ba"),
            ("a*a", "a"),
            ("*b*", "ac"),
            ("a*b*c", "acb"),
        ] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }
}
