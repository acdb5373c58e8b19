//! Determines the classes of exceptions. Peers in other languages send the class only as part of a
//! string.

use hypha_wire::WireError;

/// Splits an error into the exception class and the message.
///
/// The class is in one of three places (`docs/protocol/02-messages.md#s8`). For an asynchronous
/// method in Python, the message is a whole traceback, which contains the class. For a method in
/// JavaScript, the message is `Name: message`. For a synchronous method in Python, only the trace
/// contains the class.
///
/// A name counts as a class if it ends with a usual suffix such as `Error`, or if it is in `known`.
/// `known` contains the class names in the contract of the caller.
pub(super) fn split(error: &WireError, known: &[&str]) -> (Option<String>, String) {
    let message = error.message.trim_end();
    if message.starts_with("Traceback (most recent call last)") {
        let last = last_entry(message);
        return match prefix(last, known) {
            Some((class, rest)) => (Some(class.to_owned()), rest.to_owned()),
            // Python omits the colon if the message is empty.
            None if is_class(last, known) => (Some(last.to_owned()), String::new()),
            None => (None, last.to_owned()),
        };
    }
    if let Some((class, rest)) = prefix(message, known) {
        return (Some(class.to_owned()), rest.to_owned());
    }
    // JavaScript also omits the colon if the message is empty. A message of one word may also be no
    // class, so check that the trace begins with the same line.
    if is_class(message, known) && error.trace.lines().next() == Some(message) {
        return (Some(message.to_owned()), String::new());
    }
    let last = last_entry(error.trace.trim_end());
    let class = match message {
        "" => Some(last),
        _ => last
            .strip_suffix(message)
            .and_then(|head| head.trim_end().strip_suffix(':'))
            // In the trace of a Rust peer, the lines before the class contain causes and data.
            .and_then(|head| head.rsplit('\n').next()),
    };
    let class = class.filter(|class| is_class(class, known));
    (class.map(str::to_owned), message.to_owned())
}

/// Returns whether `name` is the name of the class `class`. `name` may omit the module of the
/// class.
pub(super) fn is_named(class: &str, name: &str) -> bool {
    class == name || class.rsplit('.').next() == Some(name)
}

/// Returns the message without the quotes around it. In Python, the message of a `KeyError` is the
/// key in quotes.
pub(super) fn unquoted(message: &str) -> &str {
    ['\'', '"']
        .into_iter()
        .find_map(|mark| message.strip_prefix(mark)?.strip_suffix(mark))
        .unwrap_or(message)
}

/// Returns the last entry of a trace. The last entry follows the stack frames of the last
/// traceback, and consists of the class and the message. The message may have several lines, and
/// some of them may be empty. If the string contains no traceback, returns the whole string.
fn last_entry(trace: &str) -> &str {
    let header = trace.rfind("Traceback (most recent call last):");
    let Some(frames) = header.and_then(|start| trace[start..].split_once('\n')) else {
        return trace.trim();
    };
    let mut rest = frames.1;
    while rest.starts_with([' ', '\t', '\r', '\n']) {
        rest = rest.split_once('\n').map_or("", |(_, after)| after);
    }
    rest.trim_end()
}

/// Splits a string of the form `Class: message`. Returns `None` if the string does not begin with a
/// class.
fn prefix<'a>(text: &'a str, known: &[&str]) -> Option<(&'a str, &'a str)> {
    let (class, rest) = text.split_once(':')?;
    is_class(class, known).then(|| (class, rest.trim_start()))
}

/// Returns whether a string is the name of an exception class.
///
/// The suffixes and the three names occur in the names of Python's built-in exceptions. The check
/// accepts only few names on purpose, because the first word of a message, such as `Note: ..`, must
/// not count as a class.
fn is_class(text: &str, known: &[&str]) -> bool {
    let last = text.rsplit('.').next().unwrap_or(text);
    let looks_so = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
        && (last.ends_with("Error")
            || last.ends_with("Exception")
            || last.ends_with("Warning")
            || matches!(last, "KeyboardInterrupt" | "SystemExit" | "StopIteration"));
    looks_so || known.iter().any(|name| is_named(text, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(message: &str, trace: &str) -> (Option<String>, String) {
        let mut error = WireError::new(message);
        error.trace = trace.into();
        split(&error, &["Timeout"])
    }

    fn of(class: &str, message: &str) -> (Option<String>, String) {
        (Some(class.to_owned()), message.to_owned())
    }

    #[test]
    fn python_synchronous_exception() {
        let head = "Traceback (most recent call last):\n  File \"x.py\", line 3\n";
        let trace = format!("{head}ZeroDivisionError: division by zero\n");
        assert_eq!(
            parts("division by zero", &trace),
            of("ZeroDivisionError", "division by zero")
        );
        let trace = format!("{head}ZeroDivisionError\n");
        assert_eq!(parts("", &trace), of("ZeroDivisionError", ""));
        assert_eq!(parts("", ""), (None, String::new()));
    }

    #[test]
    fn python_asynchronous_exception_is_a_traceback() {
        let head =
            "Traceback (most recent call last):\n  File \"x.py\", line 3, in f\n    raise x\n";
        let text = format!("{head}ValueError: a: b\nsecond line\n");
        assert_eq!(
            parts(&text, &format!("Exception: {text}\n")),
            of("ValueError", "a: b\nsecond line")
        );
        let text = format!("{head}ValueError: a\n\nb\n  c\nd\n");
        assert_eq!(parts(&text, ""), of("ValueError", "a\n\nb\n  c\nd"));
        let text = format!(
            "{head}KeyError: 'a'\n\nDuring handling of the above exception, another exception \
             occurred:\n\n{head}ValueError: b\n"
        );
        assert_eq!(parts(&text, ""), of("ValueError", "b"));
        // A peer received the exception from another peer, and sent the exception on together with
        // its trace.
        let text = format!("{head}lib.RemoteException: RemoteError:b\n{head}ValueError: b\n");
        assert_eq!(parts(&text, ""), of("ValueError", "b"));
        assert_eq!(
            parts(&format!("{head}lib.TooHot\n"), ""),
            (None, "lib.TooHot".to_owned())
        );
        assert_eq!(
            parts(&format!("{head}lib.Timeout: 3 s\n"), ""),
            of("lib.Timeout", "3 s")
        );
        assert_eq!(
            parts(&format!("{head}KeyboardInterrupt\n"), ""),
            of("KeyboardInterrupt", "")
        );
    }

    #[test]
    fn javascript_error() {
        assert_eq!(
            parts(
                "RangeError: out of range",
                "RangeError: out of range\n    at f"
            ),
            of("RangeError", "out of range")
        );
        assert_eq!(
            parts("RangeError", "RangeError\n    at f"),
            of("RangeError", "")
        );
        assert_eq!(parts("RangeError", ""), (None, "RangeError".to_owned()));
        assert_eq!(parts("Note: this is not a class", "").0, None);
        assert_eq!(
            parts("Timeout: but this is", ""),
            of("Timeout", "but this is")
        );
    }

    #[test]
    fn keys_lose_their_quotes() {
        assert_eq!(unquoted("'a'"), "a");
        assert_eq!(unquoted("\"it's\""), "it's");
        for text in ["a", "'", "'a\"", ""] {
            assert_eq!(unquoted(text), text);
        }
    }
}
