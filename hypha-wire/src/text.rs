//! Characters that change how a text looks.

/// Returns whether `c` separates lines or changes the direction of the text around it. A name with
/// such characters can look like another name, and code with them like other code.
#[must_use]
pub fn is_direction(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}
