//! Patterns over services.

use super::Record;

/// A pattern for services. In every part `*` matches any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServicePattern {
    pub(crate) workspace: String,
    pub(crate) client: String,
    pub(crate) name: String,
    pub(crate) app_id: String,
    pub(crate) visibility: String,
    pub(crate) kind: String,
}

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

/// Returns whether `text` matches `pattern`, in which `*` stands for any characters.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    // The piece before the first star is the start of the text; without a star it is all of it.
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
