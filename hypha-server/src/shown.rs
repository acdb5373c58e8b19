//! Shortens names that error texts repeat.

use std::fmt;

/// Maximum length of a name in an error text, in bytes.
const SHOWN_MAX: usize = 128;

/// A name in an error text. Shows the beginning and the length of a name that is too long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a>(&'a str);

/// Returns a name that came from a client, for an error text. Without a limit, a request with a
/// long name would cause an error of a multiple of its length.
pub(crate) fn shown(name: &(impl AsRef<str> + ?Sized)) -> Shown<'_> {
    Shown(name.as_ref())
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(name) = self;
        if name.len() <= SHOWN_MAX {
            return out.write_str(name);
        }
        // The last index up to the maximum that is not inside a character.
        let start = (0..=SHOWN_MAX).rev().find_map(|end| name.get(..end));
        write!(out, "{}… ({} bytes)", start.unwrap_or_default(), name.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(shown("desk").to_string(), "desk");
        let whole = "x".repeat(SHOWN_MAX);
        assert_eq!(shown(&whole).to_string(), whole);
        let long = format!("{}{}", "x".repeat(SHOWN_MAX - 1), "é".repeat(5000));
        let expected = format!("{}… ({} bytes)", "x".repeat(SHOWN_MAX - 1), long.len());
        assert_eq!(shown(&long).to_string(), expected);
    }
}
