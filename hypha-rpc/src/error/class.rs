//! Determines the classes of exceptions. Peers in other languages send the class only as part of a
//! string.

use std::borrow::Cow;

use hypha_wire::WireError;

/// First line of a traceback in Python.
const HEADER: &str = "Traceback (most recent call last):";

/// First line of the traceback of an exception group in Python.
const GROUP_HEADER: &str = "  + Exception Group Traceback (most recent call last):";

/// Lines between the traceback of an exception and the traceback of the exception that it caused.
const CHAIN: [&str; 2] = [
    "\n\nDuring handling of the above exception, another exception occurred:\n\n",
    "\n\nThe above exception was the direct cause of the following exception:\n\n",
];

/// Maximum number of causes that are taken from a traceback.
const MAX_CAUSES: usize = 16;

/// Splits an error into the exception class and the message.
///
/// The class is in one of three places (`docs/protocol/02-messages.md#s8`). For an asynchronous
/// method in Python, the message is a whole traceback, which contains the class. For a method in
/// JavaScript, the message is `Name: message`. For a synchronous method in Python, only the trace
/// contains the class.
///
/// If the trace names the class, the first word of the message does not count as a class. A
/// traceback of Python and a stack of V8 name the class at a known place, so every name there is a
/// class. In other errors, a name counts as a class only if it ends with a usual suffix such as
/// `Error`, or if it is in `known`. `known` contains the class names in the contract of the caller.
pub(super) fn split(error: &WireError, known: &[&str]) -> (Option<String>, String) {
    let message = error.message.trim_end();
    let trace = error.trace.trim_end();
    // A Python client converts the exception of an asynchronous method to a new `Exception` with
    // the traceback as its message.
    let converted = trace.strip_prefix("Exception: ") == Some(message);
    let is_traceback = match converted {
        true => first_traceback(message).is_some(),
        false => starts_traceback(message) && !starts_traceback(trace),
    };
    if is_traceback {
        return of_traceback(message);
    }
    if let Some(class) = class_in_trace(message, trace, known) {
        return match passed_on(class, message) {
            Some(inner) => of_traceback(inner),
            None => (Some(class.to_owned()), message.to_owned()),
        };
    }
    if starts_traceback(trace) {
        let (class, text) = of_traceback(trace);
        let whole = class.as_ref().map(|class| format!("{class}: {text}"));
        return match whole.as_deref() == Some(message) {
            true => (class, text),
            // The traceback of an exception with notes, of a group and of a `SyntaxError` contains
            // other text than its message.
            false => (class, message.to_owned()),
        };
    }
    match prefix(message, known).or_else(|| class_of_stack(message, trace)) {
        Some((class, rest)) => (Some(class.to_owned()), rest.to_owned()),
        None => (None, message.to_owned()),
    }
}

/// Returns whether `name` is the name of the class `class`. `name` may omit the module of the
/// class.
pub(super) fn is_named(class: &str, name: &str) -> bool {
    class == name || class.rsplit('.').next() == Some(name)
}

/// Returns the value of a string literal of Python. Returns the message itself if it is not such a
/// literal. In Python, the message of a `KeyError` is the key as a literal.
pub(super) fn unquoted(message: &str) -> Cow<'_, str> {
    let literal = ['\'', '"']
        .into_iter()
        .find_map(|mark| Some((mark, message.strip_prefix(mark)?.strip_suffix(mark)?)));
    let Some((mark, mut rest)) = literal else {
        return message.into();
    };
    let mut text = String::with_capacity(rest.len());
    while let Some(at) = rest.find(['\\', mark]) {
        let (before, escaped) = (&rest[..at], &rest[at + 1..]);
        if rest[at..].starts_with(mark) {
            return message.into();
        }
        text.push_str(before);
        // Python keeps a backslash that begins no escape sequence.
        let (character, after) = escape(escaped).unwrap_or(('\\', escaped));
        text.push(character);
        rest = after;
    }
    text.push_str(rest);
    text.into()
}

/// Decodes the escape sequence of Python at the start of `text`, which follows a backslash. Returns
/// the character and the remaining string.
fn escape(text: &str) -> Option<(char, &str)> {
    let kind = text.chars().next()?;
    let after = &text[kind.len_utf8()..];
    let digits = match kind {
        '\\' | '\'' | '"' => return Some((kind, after)),
        'n' => return Some(('\n', after)),
        'r' => return Some(('\r', after)),
        't' => return Some(('\t', after)),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let code = u32::from_str_radix(after.get(..digits)?, 16).ok()?;
    Some((char::from_u32(code)?, &after[digits..]))
}

/// Returns the class in a trace that ends with `Class: message`.
fn class_in_trace<'a>(message: &str, trace: &'a str, known: &[&str]) -> Option<&'a str> {
    if message.is_empty() {
        return is_class(trace, known).then_some(trace);
    }
    let head = trace.strip_suffix(message)?.trim_end().strip_suffix(':')?;
    // In the trace of a Rust peer, the lines before the class contain causes and data.
    let class = head.rsplit('\n').next()?;
    let is_python = head.contains(HEADER) && is_name(class);
    (is_python || is_class(class, known)).then_some(class)
}

/// Returns the causes of an exception of Python: the exceptions that its traceback shows before it,
/// the nearest first. Each consists of its class and its message.
pub(super) fn causes(error: &WireError) -> Vec<String> {
    let (message, trace) = (error.message.trim_end(), error.trace.trim_end());
    let is_converted = trace.strip_prefix("Exception: ") == Some(message);
    let text = match !is_converted && first_traceback(trace).is_some() {
        true => trace,
        false => message,
    };
    if first_traceback(text).is_none() {
        return Vec::new();
    }
    // An exception that a Python program has passed on contains the traceback twice.
    let again = format!("\nException: {HEADER}");
    let text = match text.rfind(&again) {
        Some(start) => &text[start + again.len() - HEADER.len()..],
        None => text,
    };
    let parts = std::iter::successors(Some(text), |text| match last_chain(text) {
        Some((start, _)) => Some(&text[..start]),
        // For an asynchronous method, only an empty line follows a cause that was never raised.
        None => {
            let raised = first_traceback(text)?;
            let before = text.strip_suffix(raised)?;
            (!before.is_empty()).then_some(before)
        }
    });
    let causes = parts.skip(1).take(MAX_CAUSES).map(of_traceback);
    let causes = causes.map(|(class, message)| match class {
        Some(class) if message.is_empty() => class,
        Some(class) => format!("{class}: {message}"),
        None => message,
    });
    causes.collect()
}

/// Returns the start and the end of the last lines between two tracebacks.
fn last_chain(text: &str) -> Option<(usize, usize)> {
    let places = CHAIN.iter().filter_map(|chain| {
        let start = text.rfind(chain)?;
        Some((start, start + chain.len()))
    });
    places
        .filter(|&(_, end)| starts_traceback(&text[end..]))
        .max()
}

fn starts_traceback(text: &str) -> bool {
    text.starts_with(HEADER) || text.starts_with(GROUP_HEADER)
}

/// Returns the string from the first traceback on. A cause that was never raised has no traceback,
/// and precedes the first one.
fn first_traceback(text: &str) -> Option<&str> {
    if starts_traceback(text) {
        return Some(text);
    }
    let starts = [HEADER, GROUP_HEADER].map(|header| text.find(&format!("\n\n{header}\n")));
    let start = starts.into_iter().flatten().min()?;
    Some(&text[start + 2..])
}

/// Returns the class and the message of the exception that a traceback of Python belongs to. The
/// last traceback of a chain is the traceback of this exception.
fn of_traceback(text: &str) -> (Option<String>, String) {
    let last = match last_chain(text) {
        Some((_, end)) => Some(&text[end..]),
        None => first_traceback(text),
    };
    // A cause that was never raised has no traceback.
    let entry = last.map_or_else(|| text.trim().to_owned(), last_entry);
    // Python omits the colon if the message is empty.
    let end = entry.find([':', '\n']).unwrap_or(entry.len());
    let (class, rest) = entry.split_at(end);
    if !is_name(class) {
        return (None, entry);
    }
    let message = rest.strip_prefix(':').unwrap_or(rest);
    let message = message.strip_prefix(' ').unwrap_or(message);
    match passed_on(class, message) {
        Some(inner) => of_traceback(inner),
        None => (Some(class.to_owned()), message.to_owned()),
    }
}

/// Returns the last entry of a traceback, which follows the stack frames. The entry consists of the
/// class and the message. The message may have several lines, and some of them may be empty.
fn last_entry(traceback: &str) -> String {
    if traceback.starts_with(GROUP_HEADER) {
        // The exceptions in the group follow a line that begins with `  +-`.
        let lines = traceback.lines().skip(1);
        let own = lines.map_while(|line| line.strip_prefix("  | "));
        let entry: Vec<&str> = own.skip_while(|line| line.starts_with(' ')).collect();
        return entry.join("\n");
    }
    let mut rest = traceback.split_once('\n').map_or("", |(_, rest)| rest);
    while rest.starts_with([' ', '\t', '\r', '\n']) {
        rest = rest.split_once('\n').map_or("", |(_, after)| after);
    }
    rest.trim_end().to_owned()
}

/// Returns the last traceback in the message of an exception that a Python program received from
/// another Python program and passed on. The exception that was raised first has the class in the
/// contract.
fn passed_on<'a>(class: &str, message: &'a str) -> Option<&'a str> {
    if !is_named(class, "RemoteException") || !message.starts_with("RemoteError:") {
        return None;
    }
    // The lines of the exceptions in a group begin with `|`.
    let starts = ["\n", "RemoteError:", "Exception: "]
        .map(|before| Some(message.rfind(&format!("{before}{HEADER}"))? + before.len()));
    let start = starts.into_iter().chain([message.rfind(GROUP_HEADER)]);
    Some(&message[start.flatten().max()?..])
}

/// Splits a string of the form `Class: message`. Returns `None` if the string does not begin with a
/// class.
fn prefix<'a>(text: &'a str, known: &[&str]) -> Option<(&'a str, &'a str)> {
    let (class, rest) = text.split_once(':')?;
    is_class(class, known).then(|| (class, rest.trim_start()))
}

/// Splits a message `Name: message` or `Name` if the trace is a stack of V8 that belongs to this
/// message. The stack may contain another name, because a program can change the name of an error
/// after its creation.
fn class_of_stack<'a>(message: &'a str, trace: &str) -> Option<(&'a str, &'a str)> {
    let (name, text, end) = match message.split_once(": ") {
        Some((name, text)) => (name, text, format!(": {text}\n    at ")),
        None => (message, "", "\n    at ".to_owned()),
    };
    let (own, _) = trace.split_once(&end)?;
    (is_name(name) && is_name(own)).then_some((name, text))
}

/// Returns whether a string is the name of an exception class.
///
/// The suffixes and the three names occur in the names of Python's built-in exceptions. The check
/// accepts only few names on purpose, because the first word of a message, such as `Note: ..`, must
/// not count as a class.
fn is_class(text: &str, known: &[&str]) -> bool {
    let last = text.rsplit('.').next().unwrap_or(text);
    let looks_so = is_name(text)
        && (last.ends_with("Error")
            || last.ends_with("Exception")
            || last.ends_with("Warning")
            || matches!(last, "KeyboardInterrupt" | "SystemExit" | "StopIteration"));
    looks_so || known.iter().any(|name| is_named(text, name))
}

/// Returns whether a string consists of identifiers with dots between them. Python writes
/// `<locals>` for the body of a function.
fn is_name(text: &str) -> bool {
    text.split('.').all(|part| {
        let starts = part.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '$');
        let fits = part
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '$');
        part == "<locals>" || (starts && fits)
    })
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
        // A peer received the exception from another peer, and passed the exception on together
        // with its trace.
        let text = format!("{head}lib.RemoteException: RemoteError:b\n{head}ValueError: b\n");
        assert_eq!(parts(&text, ""), of("ValueError", "b"));
        for (text, class) in [
            ("lib.TooHot", "lib.TooHot"),
            ("f.<locals>.TooHot", "f.<locals>.TooHot"),
            ("KeyboardInterrupt", "KeyboardInterrupt"),
        ] {
            assert_eq!(parts(&format!("{head}{text}\n"), ""), of(class, ""));
        }
        assert_eq!(
            parts(&format!("{head}lib.Custom: (1, 'b')\n"), ""),
            of("lib.Custom", "(1, 'b')")
        );
    }

    #[test]
    fn tracebacks_contain_the_causes() {
        let head = "Traceback (most recent call last):\n  File \"x.py\", line 3, in f\n";
        let (raised_from, during) = (CHAIN[1], CHAIN[0]);
        let of = |message: &str, trace: &str| {
            let mut error = WireError::new(message);
            error.trace = trace.into();
            causes(&error)
        };
        let both = |message: &str, text: &str| {
            let asynchronous = of(text, &format!("Exception: {text}\n"));
            assert_eq!(asynchronous, of(message, &format!("{text}\n")));
            asynchronous
        };
        let text = format!(
            "{head}OSError{raised_from}{head}KeyError: 'a'{during}{head}lib.Bad: b\nc\n\nd"
        );
        assert_eq!(both("b\nc\n\nd", &text), ["KeyError: 'a'", "OSError"]);
        // The cause was never raised.
        let text = format!("KeyError: 'a'{raised_from}{head}ValueError: b");
        assert_eq!(both("b", &text), ["KeyError: 'a'"]);
        let text = format!("KeyError: 'a'\n\n{head}ValueError: b");
        assert_eq!(both("b", &text), ["KeyError: 'a'"]);
        assert_eq!(both("b", &format!("{head}ValueError: b")), [""; 0]);
        assert_eq!(of(during, ""), [""; 0]);
        let many = vec![format!("{head}ValueError: b"); 100].join(during);
        assert_eq!(both("b", &many).len(), MAX_CAUSES);
        // Another service has passed on the exception with its traceback.
        let text = format!("{head}KeyError: 'a'{during}{head}ValueError: b");
        let passed = format!("{head}lib.RemoteException: RemoteError:{text}\nException: {text}");
        assert_eq!(both("b", &passed), ["KeyError: 'a'"]);
        let text = format!("{passed}{during}{head}OSError: c");
        assert_eq!(both("c", &text), ["ValueError: b", "KeyError: 'a'"]);
        let passed = format!("{head}lib.RemoteException: RemoteError:b\n{head}ValueError: b");
        let text = format!("{passed}{during}{head}OSError: c");
        assert_eq!(both("c", &text), ["ValueError: b"]);
    }

    /// The forms of the message and the trace that a Python client sends for one exception, for an
    /// asynchronous and a synchronous method.
    fn raised(message: &str, traceback: &str) -> [(Option<String>, String); 2] {
        let text = traceback.trim_end();
        let asynchronous = parts(text, &format!("Exception: {text}\n"));
        [asynchronous, parts(message, traceback)]
    }

    #[test]
    fn the_trace_names_the_class_before_the_message_does() {
        let head = "Traceback (most recent call last):\n  File \"x.py\", line 3, in f\n";
        let message = "KeyError: inner";
        for class in ["OSError", "lib.errors.Custom"] {
            let both = raised(message, &format!("{head}{class}: {message}\n"));
            assert_eq!(both, [of(class, message), of(class, message)]);
        }
        let message = "a\nKeyError: b\n\nc";
        let both = raised(message, &format!("{head}OSError: {message}\n"));
        assert_eq!(both, [of("OSError", message), of("OSError", message)]);
        // The message is a traceback.
        let message = format!("{head}KeyError: 'a'");
        let both = raised(&message, &format!("{head}RuntimeError: {message}\n"));
        assert_eq!(
            both,
            [of("RuntimeError", &message), of("RuntimeError", &message)]
        );
        // A Rust peer.
        assert_eq!(
            parts("KeyError: inner", "data: {}\nOSError: KeyError: inner\n"),
            of("OSError", "KeyError: inner")
        );
        // The trace agrees with the message, or there is no trace.
        let forwarded = format!("{head}KeyError: inner\n");
        for trace in ["", forwarded.as_str(), "KeyError: inner"] {
            assert_eq!(parts("KeyError: inner", trace), of("KeyError", "inner"));
        }
        assert_eq!(
            parts("Error: KeyError: inner", "Error: KeyError: inner\n    at f"),
            of("Error", "KeyError: inner")
        );
    }

    #[test]
    fn the_last_exception_of_a_chain_counts() {
        let head = "Traceback (most recent call last):\n  File \"x.py\", line 3, in f\n";
        for chain in CHAIN {
            let text = format!("{head}KeyError: 'a'{chain}{head}lib.Custom: b: c\n");
            let own = of("lib.Custom", "b: c");
            assert_eq!(raised("b: c", &text), [own.clone(), own.clone()]);
            // The cause was never raised. For an asynchronous method, the client removes the second
            // and the third line.
            let text = format!("KeyError: 'a'{chain}{head}lib.Custom: b: c\n");
            assert_eq!(parts("b: c", &text), own);
            let text = format!("KeyError: 'a'\n\n{head}lib.Custom: b: c");
            assert_eq!(parts(&text, &format!("Exception: {text}\n")), own);
        }
    }

    #[test]
    fn exceptions_with_other_text_in_the_traceback_keep_their_message() {
        let head = "Traceback (most recent call last):\n  File \"x.py\", line 3, in f\n";
        let [long, short] = raised("b", &format!("{head}lib.Custom: b\na note: c\n"));
        assert_eq!(
            (long, short),
            (of("lib.Custom", "b\na note: c"), of("lib.Custom", "b"))
        );
        let text = format!("{head}    a = = 1\n        ^\nSyntaxError: invalid syntax\n");
        let message = "invalid syntax (x.py, line 1)";
        assert_eq!(parts(message, &text), of("SyntaxError", message));

        let group = "  + Exception Group Traceback (most recent call last):\n\
                     \x20 |   File \"x.py\"\n\
                     \x20 | ExceptionGroup: two: failed\n\
                     \x20 | twice (2 sub-exceptions)\n\
                     \x20 +-+---------------- 1 ----------------\n\
                     \x20   | Traceback (most recent call last):\n\
                     \x20   |   File \"x.py\"\n\
                     \x20   | ValueError: a\n\
                     \x20   | b\n\
                     \x20   +---------------- 2 ----------------\n\
                     \x20   | OSError: KeyError: c\n\
                     \x20   +------------------------------------\n";
        let message = "two: failed\ntwice (2 sub-exceptions)";
        let own = of("ExceptionGroup", message);
        assert_eq!(raised(message, group), [own.clone(), own.clone()]);
        let group = group.trim_end();
        let text = format!("{head}lib.RemoteException: RemoteError:{group}\nException: {group}\n");
        assert_eq!(parts(&text, ""), own);
    }

    #[test]
    fn exceptions_that_a_python_program_passes_on_keep_their_class() {
        let head = "Traceback (most recent call last):\n  File \"x.py\", line 3, in f\n";
        let inner = format!("{head}lib.Custom: b");
        for trace in [format!("Exception: {inner}"), inner.clone()] {
            for value in [inner.as_str(), "b"] {
                let message = format!("RemoteError:{value}\n{trace}");
                let text = format!("{head}hypha_rpc.rpc.RemoteException: {message}\n");
                let own = of("lib.Custom", "b");
                assert_eq!(raised(&message, &text), [own.clone(), own]);
            }
        }
        // The peer is not written in Python.
        let text = format!("{head}rpc.RemoteException: RemoteError:no x\nKeyError: no x\n");
        assert_eq!(
            parts(&text, ""),
            of("rpc.RemoteException", "RemoteError:no x\nKeyError: no x")
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
        // The stack agrees, or contains the name that the error had before.
        for own in ["Custom", "Error"] {
            let message = "Custom: a: b\nc";
            let stack = format!("{own}: a: b\nc\n    at f");
            assert_eq!(parts(message, &stack), of("Custom", "a: b\nc"));
            assert_eq!(
                parts("Custom", &format!("{own}\n    at f")),
                of("Custom", "")
            );
        }
        assert_eq!(parts("Note: this", "Error: Note: this\n    at f").0, None);
        assert_eq!(parts("word", "Error: word\n    at f").0, None);
        assert_eq!(parts("Note: this is not a class", "").0, None);
        assert_eq!(
            parts("Timeout: but this is", ""),
            of("Timeout", "but this is")
        );
    }

    #[test]
    fn keys_lose_their_quotes() {
        for (literal, key) in [
            ("'a'", "a"),
            ("\"it's\"", "it's"),
            (r"'C:\\data\\new'", r"C:\data\new"),
            (r#"'ü"\'µ'"#, "ü\"'µ"),
            (
                r"'\\n\n\r\t\x1b\u200b\U000e0001'",
                "\\n\n\r\t\u{1b}\u{200b}\u{e0001}",
            ),
            // These sequences stand for no character.
            (r"'\ud800\x1\q'", r"\ud800\x1\q"),
        ] {
            assert_eq!(unquoted(literal), key);
        }
        for text in ["a", "'", "'a\"", "", "('a', 'b')", "'a' or 'b'", "b'a'"] {
            assert_eq!(unquoted(text), text);
        }
    }
}
