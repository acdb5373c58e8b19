//! Decodes values that serde buffers before it knows their types: the content of internally tagged,
//! untagged and flattened types.
//!
//! A buffer holds the key `"12"` as a string and `1.5` as a float. serde then refuses to convert
//! the string to an integer, or the float to a `Duration`. The decoder cannot choose the form in
//! advance, because the same bytes may be meant for a `String` and an `f64`. Therefore this module
//! records the values that serde refuses, and decodes the whole value again with another form for
//! these values.
//!
//! A value is also decoded again if serde refused such values and succeeded nevertheless. An
//! untagged enum tries its variants in turn, and the first variant may fit only with another form.

use std::cell::{Cell, RefCell};

use serde::de::Unexpected;

use super::time_type::Time;

/// Maximum number of times that one value is decoded. Each added hint costs at most two attempts.
/// Without a maximum, a value that never fits would cost too much time.
const MAX_ATTEMPTS: usize = 32;
/// Maximum number of recorded refusals, and of recorded places, in one attempt.
const MAX_NOTES: usize = 256;

/// Form in which a value is put into serde's buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    /// Map keys with the digits of an integer become integers.
    Integers,
    /// Map keys `true` and `false` become `bool`.
    Bools,
    /// A number or timestamp becomes serde's struct of the time type.
    Time(Time),
}

/// Form to use for the values at one place.
#[derive(Clone, Debug, PartialEq)]
struct Hint {
    place: MemberName,
    form: Form,
}

/// Name of the map member that contains a value, directly or in nested lists; empty outside of
/// maps. All members with the same name get the same form, because a list may contain thousands of
/// them.
type MemberName = Box<str>;

/// Buffered value, as serde's refusal describes it.
#[derive(Clone, Debug, PartialEq)]
enum Shown {
    Text(Box<str>),
    UInt(u64),
    Int(i64),
    /// Bits of a float.
    Float(u64),
    Ext,
}

#[derive(Default)]
struct Notes {
    hints: Vec<Hint>,
    /// Refused values whose positions to find.
    watched: Vec<(Shown, Form)>,
    seen: Vec<(Shown, Hint)>,
    refused: Vec<(Shown, Form)>,
}

/// Recording mode of this thread.
#[derive(Clone, Copy, PartialEq)]
enum Recording {
    Nothing,
    Refusals,
    /// Refusals, and the places of the watched values.
    Values,
}

thread_local! {
    static NOTES: RefCell<Notes> = RefCell::default();
    /// Recording mode. Values that serde does not buffer cost only one read of this cell.
    static RECORDING: Cell<Recording> = const { Cell::new(Recording::Nothing) };
    /// Number of remote functions and streams that this thread has decoded.
    static HANDLES: Cell<usize> = const { Cell::new(0) };
}

/// Mode and notes of the enclosing value. Restored on drop.
struct Outer {
    recording: Recording,
    notes: Option<Notes>,
}

impl Outer {
    fn leave() -> Outer {
        let recording = RECORDING.replace(Recording::Nothing);
        let notes = (recording != Recording::Nothing).then(|| NOTES.take());
        Outer { recording, notes }
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        RECORDING.set(self.recording);
        if let Some(notes) = self.notes.take() {
            NOTES.set(notes);
        }
    }
}

/// Counts a decoded function or stream of a peer. A value that contains a function or stream is not
/// decoded again, because dropping the first handle releases the function at its owner.
pub(super) fn handle_made() {
    HANDLES.set(HANDLES.get().wrapping_add(1));
}

/// Starts to record refusals. Called when serde first decodes a value without knowing its type.
pub(super) fn begin() {
    if RECORDING.get() == Recording::Nothing {
        NOTES.set(Notes::default());
        RECORDING.set(Recording::Refusals);
    }
}

/// Decodes a value, and decodes it again with other forms if serde refused a buffered value.
pub(super) fn decode<T, E>(mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let _outer = Outer::leave();
    let handles = HANDLES.get();
    let first = attempt();
    if RECORDING.get() == Recording::Nothing || HANDLES.get() != handles {
        return first;
    }
    let watched = NOTES.take().refused;
    if watched.is_empty() {
        return first;
    }
    let mut found = None;
    let mut search = Search {
        left: MAX_ATTEMPTS,
        attempt: &mut |has_hints| {
            let handles = HANDLES.get();
            let decoded = attempt().ok();
            let succeeded = decoded.is_some();
            if has_hints {
                found = decoded;
            }
            (succeeded, HANDLES.get() == handles)
        },
    };
    search.find(&mut Vec::new(), watched);
    found.map_or(first, Ok)
}

/// Search for the hints with which a value can be decoded. Does not depend on the type of the
/// value, because each instance would add a kilobyte to a program.
struct Search<'a> {
    /// Number of attempts that are left.
    left: usize,
    /// Decodes the value once, and keeps the value if the argument is true. Returns whether the
    /// attempt succeeded, and whether it may be repeated.
    attempt: &'a mut dyn FnMut(bool) -> (bool, bool),
}

impl Search<'_> {
    /// Decodes once with these hints. Returns `None` on success or if no attempt is left. An
    /// attempt without hints only finds the places of the watched values.
    fn attempt(&mut self, hints: &[Hint], watched: &[(Shown, Form)]) -> Option<Notes> {
        self.left = self.left.checked_sub(1)?;
        NOTES.set(Notes {
            hints: hints.to_vec(),
            watched: watched.to_vec(),
            ..Notes::default()
        });
        RECORDING.set(Recording::Values);
        let has_hints = !hints.is_empty();
        let (succeeded, may_repeat) = (self.attempt)(has_hints);
        RECORDING.set(Recording::Nothing);
        let notes = NOTES.take();
        let found = succeeded && has_hints;
        if found || !may_repeat {
            self.left = 0;
        }
        (!found).then_some(notes)
    }

    /// Tries these hints, then adds each hint that serde's refusals suggest, one at a time. Ends
    /// after the first success, because no attempt is left then.
    fn find(&mut self, hints: &mut Vec<Hint>, mut watched: Vec<(Shown, Form)>) {
        let Some(mut notes) = self.attempt(hints, &watched) else {
            return;
        };
        let refused = std::mem::take(&mut notes.refused);
        let count = watched.len();
        for refused in &refused {
            if !watched.contains(refused) {
                watched.push(refused.clone());
            }
        }
        if watched.len() > count {
            match self.attempt(hints, &watched) {
                Some(more) => notes = more,
                None => return,
            }
        }
        for (shown, hint) in notes.seen {
            let has_hint = hints.iter().any(|other| other.place == hint.place);
            if has_hint || !refused.contains(&(shown, hint.form)) {
                continue;
            }
            hints.push(hint);
            self.find(hints, watched.clone());
            if self.left == 0 {
                return;
            }
            hints.pop();
        }
    }
}

impl Notes {
    fn form(&self, place: &str) -> Option<Form> {
        let mut hints = self.hints.iter();
        let hint = hints.find(|hint| *hint.place == *place);
        hint.map(|hint| hint.form)
    }

    /// Records the place of a watched value.
    fn record_place(&mut self, shown: &Shown, place: &str) {
        let watched = self.watched.iter().filter(|(other, _)| other == shown);
        for (_, form) in watched {
            let is_there = |(other, hint): &(Shown, Hint)| {
                other == shown && *hint.place == *place && hint.form == *form
            };
            if self.seen.len() < MAX_NOTES && !self.seen.iter().any(is_there) {
                let place = place.into();
                let form = *form;
                self.seen.push((shown.clone(), Hint { place, form }));
            }
        }
    }
}

/// Returns whether the places of buffered values are being recorded.
#[inline]
pub(super) fn is_watching() -> bool {
    RECORDING.get() == Recording::Values
}

/// Returns the time type to use for the buffered number or timestamp at `place`, if there is one.
pub(super) fn time_at(place: &str, shown: Unexpected<'_>) -> Option<Time> {
    NOTES.with_borrow_mut(|notes| {
        if let Some(shown) = Shown::of(shown) {
            notes.record_place(&shown, place);
        }
        match notes.form(place) {
            Some(Form::Time(time)) => Some(time),
            _ => None,
        }
    })
}

/// Returns the form to use for a key of a buffered map at `place`; `None` for a string.
pub(super) fn key_at(place: &str, key: &str) -> Option<Form> {
    let (is_integer, is_bool) = (is_integer(key), is_bool(key));
    if !(is_integer || is_bool) {
        return None;
    }
    NOTES.with_borrow_mut(|notes| {
        notes.record_place(&Shown::Text(key.into()), place);
        match notes.form(place) {
            Some(Form::Integers) if is_integer => Some(Form::Integers),
            Some(Form::Bools) if is_bool => Some(Form::Bools),
            _ => None,
        }
    })
}

/// Returns whether a key can become an integer.
fn is_integer(key: &str) -> bool {
    !key.starts_with('+') && (key.parse::<i64>().is_ok() || key.parse::<u64>().is_ok())
}

/// Returns whether a key can become a `bool`.
fn is_bool(key: &str) -> bool {
    matches!(key, "true" | "false")
}

/// Records a value that serde refused to convert to another type.
pub(super) fn refused(unexpected: Unexpected<'_>, expected: &str) {
    if RECORDING.get() == Recording::Nothing {
        return;
    }
    let form = match (unexpected, Time::expected(expected)) {
        (Unexpected::Str(text), _) if is_integer(text) && is_integer_type(expected) => {
            Form::Integers
        }
        (Unexpected::Str(text), _) if is_bool(text) && expected == "a boolean" => Form::Bools,
        (_, Some(time)) => Form::Time(time),
        _ => return,
    };
    let Some(shown) = Shown::of(unexpected) else {
        return;
    };
    NOTES.with_borrow_mut(|notes| {
        let refused = (shown, form);
        if notes.refused.len() < MAX_NOTES && !notes.refused.contains(&refused) {
            notes.refused.push(refused);
        }
    });
}

/// Returns whether `name`, serde's name of an expected type, is the name of a Rust integer type.
pub(super) fn is_integer_type(name: &str) -> bool {
    // serde describes `NonZeroU8` as "a nonzero u8".
    let name = name.strip_prefix("a nonzero ").unwrap_or(name);
    name.strip_prefix(['i', 'u'])
        .is_some_and(|bits| matches!(bits, "8" | "16" | "32" | "64" | "128" | "size"))
}

impl Shown {
    fn of(unexpected: Unexpected<'_>) -> Option<Shown> {
        Some(match unexpected {
            Unexpected::Str(text) => Shown::Text(text.into()),
            Unexpected::Unsigned(number) => Shown::UInt(number),
            Unexpected::Signed(number) => Shown::Int(number),
            Unexpected::Float(number) => Shown::Float(number.to_bits()),
            Unexpected::NewtypeStruct => Shown::Ext,
            _ => return None,
        })
    }
}
