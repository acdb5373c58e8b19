//! Records the values that serde refuses while it decodes from a buffer: the content of internally
//! tagged, untagged and flattened types.
//!
//! A buffer holds the key `"12"` as a string, `1.5` as a float, and an array as a map. serde then
//! refuses to convert the string to an integer, the float to a `Duration`, or the map to an
//! `ndarray::Array`. The decoder cannot choose the form in advance, because the same bytes may be
//! meant for a `String` and an `f64`. Therefore this module records the values that serde refuses,
//! and the places where such values are. The module `search` decodes the whole value again with
//! another form for the values at some of these places.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, Unexpected};

use super::time_type::Time;

/// Maximum number of recorded refusals, and of recorded values, in one attempt.
const MAX_NOTES: usize = 256;
/// Maximum number of recorded values with one name. A list may contain millions of them.
const MAX_OF_NAME: usize = 16;
/// Maximum number of lists around a value for which [`Place::index`] is tried, the innermost first.
const MAX_INDEXES: usize = 3;

/// Form in which a value is put into serde's buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    /// Map keys with the digits of an integer become integers.
    Integers,
    /// Map keys `true` and `false` become `bool`.
    Bools,
    /// A number or timestamp becomes serde's struct of the time type.
    Time(Time),
    /// An array, or nested lists of numbers, becomes serde's struct of an `ndarray::Array`. With
    /// the feature `half`, the first real number is a newtype, which shows the type of the
    /// elements.
    Array,
    /// As `Array`, but the first number is not a newtype.
    ArrayOfNumbers,
    /// As `Array`, but real numbers become the bit patterns of `half::f16`.
    ArrayOfHalves,
    /// As `Array`, but an empty list becomes an array with this number of dimensions.
    EmptyArray(usize),
    /// Bytes become a list.
    Items,
    /// An array without dimensions, which is a numpy scalar, becomes its number. A float without a
    /// fraction becomes an integer.
    Number,
}

/// Form to use for the values at one place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hint {
    pub(super) place: Place,
    pub(super) form: Form,
}

impl Hint {
    /// Returns whether the hint changes the form of a value at its place.
    pub(super) fn suits(&self, shown: &Shown) -> bool {
        // A number is an array without dimensions, but most numbers beside arrays are numbers.
        let is_number = !matches!(shown, Shown::Map | Shown::List);
        let is_of_all = self.place.name.is_none() && self.form.is_array();
        self.form.suits(shown) && !(is_of_all && is_number)
    }
}

/// Set of places in a value. Most members with the same name have the same type, and a list may
/// contain thousands of them, so a place has a name, or is that of all members of a map. The
/// optional parts restrict the set.
///
/// Names and texts are shared by the places of a value, and have a maximum length. Longer names
/// with the same beginning count as the same name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Place {
    /// Name of the map member that contains the value, directly or in nested lists; empty outside
    /// of maps. `None` for all members of the maps that are in `parent`, or of all maps.
    name: Option<Arc<str>>,
    /// Number of lists between the member and the value.
    lists: Option<usize>,
    /// Index in one of these lists: the position of the list, counted from the member, and the
    /// index. The items of a tuple have different types.
    index: Option<(usize, usize)>,
    /// Name of the member that contains the map of the member.
    parent: Option<Arc<str>>,
    /// Another member of the same map, and its text. The text may be the tag of a variant.
    beside: Option<(Arc<str>, Arc<str>)>,
    /// Position in the input. The place is then a single value.
    position: Option<usize>,
}

/// Place of a single value, or of the map that contains a key.
pub(super) trait At {
    /// Returns the beginning of the name of the innermost member, or an empty string.
    fn name(&self) -> &str;
    /// Returns the indexes in the lists between the innermost member and the value.
    fn indexes(&self) -> Vec<usize>;
    /// Returns the beginning of the name of the member around the innermost member, or an empty
    /// string.
    fn parent(&self) -> &str;
    /// Returns the members with short texts in the map of the innermost member.
    fn beside(&self) -> Vec<(&str, &str)>;
    fn position(&self) -> usize;
    fn path(&self) -> Vec<PathStep>;
}

/// Step of a path in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PathStep {
    Key(String),
    Index(usize),
}

impl Place {
    /// Returns the sets of places that contain this place, the largest set first.
    fn all(at: &dyn At) -> Vec<Place> {
        let indexes = at.indexes();
        let lists = indexes.len();
        let name = Place {
            name: Some(at.name().into()),
            ..Place::default()
        };
        let parent: Arc<str> = at.parent().into();
        let with_indexes = |place: &Place| {
            let mut places = vec![place.clone()];
            if lists == 0 {
                return places;
            }
            places.push(Place {
                lists: Some(lists),
                ..place.clone()
            });
            let indexes = indexes.iter().copied().enumerate().rev();
            places.extend(indexes.take(MAX_INDEXES).map(|index| Place {
                lists: Some(lists),
                index: Some(index),
                ..place.clone()
            }));
            places
        };
        let mut places = with_indexes(&name);
        places.extend(with_indexes(&Place {
            parent: Some(Arc::clone(&parent)),
            ..name.clone()
        }));
        for (key, text) in at.beside() {
            places.extend(with_indexes(&Place {
                beside: Some((key.into(), text.into())),
                ..name.clone()
            }));
        }
        places.push(Place {
            position: Some(at.position()),
            ..name
        });
        places.push(Place {
            parent: Some(parent),
            ..Place::default()
        });
        places.push(Place::default());
        places
    }

    /// Returns the name of the member. `None` if the place is that of all members of a map.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the order in which places are tried. All members of a map come first, and then all
    /// members of all maps.
    pub(super) fn order(&self) -> (usize, bool) {
        if self.name.is_none() {
            return (0, self.parent.is_none());
        }
        let members = [
            self.parent.is_some(),
            self.beside.is_some(),
            self.position.is_some(),
        ];
        let members = members.iter().rposition(|is_some| *is_some);
        (members.map_or(1, |at| at + 2), self.index.is_some())
    }

    fn contains(&self, at: &dyn At) -> bool {
        let is_other_name = self.name.as_deref().is_some_and(|name| name != at.name());
        if is_other_name || self.position.is_some_and(|place| place != at.position()) {
            return false;
        }
        if let Some(lists) = self.lists {
            let indexes = at.indexes();
            let is_index = |(list, index)| indexes.get(list) == Some(&index);
            if indexes.len() != lists || !self.index.is_none_or(is_index) {
                return false;
            }
        }
        let is_parent = |parent: &str| parent == at.parent();
        let is_beside = |(key, text): &(Arc<str>, Arc<str>)| at.beside().contains(&(key, text));
        self.parent.as_deref().is_none_or(is_parent) && self.beside.as_ref().is_none_or(is_beside)
    }
}

/// Buffered value, as serde's refusal describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shown {
    Text(Box<str>),
    UInt(u64),
    Int(i64),
    /// Bits of a float.
    Float(u64),
    Bool(bool),
    Null,
    Bytes,
    Ext,
    List,
    Map,
}

/// Error that serde created last.
#[derive(Clone, Debug, Default)]
pub(super) struct Last {
    /// Value that serde refused. `None` if the error does not describe a value.
    pub(super) shown: Option<Shown>,
    /// Type that serde expected instead.
    pub(super) expected: Option<Box<str>>,
    /// Whether the value may be the form of another type. Then a hint is wrong.
    pub(super) is_misfit: bool,
    /// Whether a list would fit as an array.
    may_be_array: bool,
}

impl Last {
    /// Returns the number of dimensions that serde expected of an `ndarray::Array`.
    pub(super) fn wanted_dimensions(&self) -> Option<usize> {
        dimensions(self.expected.as_deref()?)
    }

    /// Returns whether a hint of the attempt may be wrong or needless.
    pub(super) fn is_doubtful(&self) -> bool {
        self.is_misfit || self.may_be_array
    }

    /// Returns whether serde refused a replacement for the reason for which it refused `value`.
    pub(super) fn is_replaced(&self, value: &Last) -> bool {
        let expected = value.expected.as_deref().unwrap_or("string or map");
        self.shown == Some(Shown::Bytes) && self.expected.as_deref() == Some(expected)
    }
}

/// Value that has been put into the buffer.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) shown: Shown,
    /// Whether the value is an array without dimensions.
    pub(super) is_scalar: bool,
    /// Places that contain the value. The first has only a name.
    pub(super) places: Arc<[Place]>,
}

/// Array that has been put into the buffer as serde's struct of an `ndarray::Array`.
#[derive(Clone, Debug)]
pub(super) struct BufferedArray {
    pub(super) path: Vec<PathStep>,
    pub(super) position: usize,
    /// Element type, as in error messages.
    pub(super) dtype: String,
    pub(super) shape: Vec<usize>,
}

/// Place of a value that serde refused.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) path: Vec<PathStep>,
    pub(super) position: usize,
    pub(super) kind: Kind,
}

/// Kind of a value that serde refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// Key in the map with this path.
    Key,
    Bytes,
    /// Array without dimensions.
    Scalar,
    Other,
}

/// Notes of one attempt to decode a value.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) hints: Vec<Hint>,
    /// Values to record. Empty if all values are recorded.
    pub(super) watched: Vec<Shown>,
    pub(super) seen: Vec<Seen>,
    /// Number of recorded values with each name.
    pub(super) counts: HashMap<Box<str>, usize>,
    /// Whether too many values were seen to record all of them.
    pub(super) is_incomplete: bool,
    /// Value to find.
    pub(super) wanted: Option<Shown>,
    pub(super) found: Vec<Found>,
    /// Position of a value that is put into the buffer as bytes, which no other type accepts.
    pub(super) replaced: Option<usize>,
    pub(super) refused: Vec<(Shown, Form)>,
    pub(super) last: Last,
    /// Whether a hint may be wrong for a value that serde refused.
    pub(super) has_misfit: bool,
    /// Whether a list that serde refused may be an array.
    pub(super) may_be_array: bool,
    /// Kinds of bytes that serde refused where it may read a list. If another variant accepts the
    /// bytes, they stay bytes.
    pub(super) may_be_items: Vec<Shown>,
    /// Floats without a fraction that serde refused where it may read an integer. If another
    /// variant accepts a float, it stays a float.
    pub(super) may_be_integers: Vec<Shown>,
    /// Whether an array without dimensions was put into the buffer.
    pub(super) has_scalar: bool,
    /// Arrays that were put into the buffer as serde's struct, [`MAX_NOTES`] at most.
    pub(super) arrays: Vec<BufferedArray>,
    /// Position of an array, and number of dimensions. The array is put into the buffer with this
    /// number of dimensions and with an element that no type accepts.
    pub(super) probed: Option<(usize, usize)>,
    /// Whether an array of another type than the expected type is converted.
    pub(super) may_cast: bool,
    /// Whether an array would have been converted.
    pub(super) has_cast: bool,
    /// Whether a value was out of range of the form of its hint.
    pub(super) is_out_of_range: bool,
    /// Whether the first number of an array was a newtype.
    pub(super) has_marked: bool,
}

/// Recording mode of this thread.
#[derive(Clone, Copy, PartialEq)]
enum Recording {
    Nothing,
    Refusals,
    /// Refusals, and the places of the values.
    Values,
}

thread_local! {
    static NOTES: RefCell<Notes> = RefCell::default();
    /// Recording mode. Values that serde does not buffer cost only one read of this cell.
    static RECORDING: Cell<Recording> = const { Cell::new(Recording::Nothing) };
}

/// Mode and notes of the enclosing value. Restored on drop.
pub(super) struct Outer {
    recording: Recording,
    notes: Option<Notes>,
}

impl Outer {
    pub(super) fn leave() -> Outer {
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

/// Starts to record refusals. Called when serde first decodes a value without knowing its type.
pub(super) fn begin() {
    if RECORDING.get() == Recording::Nothing {
        NOTES.set(Notes {
            // The first attempt records no values.
            is_incomplete: true,
            ..Notes::default()
        });
        RECORDING.set(Recording::Refusals);
    }
}

/// Starts an attempt that records refusals and the places of values.
pub(super) fn begin_with(notes: Notes) {
    NOTES.set(notes);
    RECORDING.set(Recording::Values);
}

/// Ends an attempt. Returns `None` if serde did not decode a value without knowing its type.
pub(super) fn end() -> Option<Notes> {
    let recording = RECORDING.replace(Recording::Nothing);
    (recording != Recording::Nothing).then(|| NOTES.take())
}

/// Returns whether the places of buffered values are being recorded.
pub(super) fn is_watching() -> bool {
    RECORDING.get() == Recording::Values
}

/// Returns the number of values that serde has refused in this attempt and that may need another
/// form.
pub(super) fn refusals() -> usize {
    NOTES.with_borrow(|notes| notes.refused.len() + usize::from(notes.has_misfit))
}

/// Returns the number of recorded values.
pub(super) fn recorded() -> usize {
    NOTES.with_borrow(|notes| notes.seen.len())
}

/// Forgets all recorded values except the first `count`, unless serde has refused a value.
pub(super) fn forget_after(count: usize) {
    NOTES.with_borrow_mut(|notes| {
        if !notes.refused.is_empty() {
            return;
        }
        for seen in notes.seen.split_off(count.min(notes.seen.len())) {
            let name = seen.places.first().and_then(Place::name);
            if let Some(count) = name.and_then(|name| notes.counts.get_mut(name)) {
                *count -= 1;
            }
        }
    });
}

/// Records the buffered value at a place. Returns the form to use for it, if there is a hint.
pub(super) fn value_at(at: &dyn At, shown: Unexpected<'_>, kind: Kind) -> Option<Form> {
    NOTES.with_borrow_mut(|notes| notes.value_at(at, shown, kind))
}

/// Records a key of the buffered map at a place. Returns the form to use for it; `None` for a
/// string.
pub(super) fn key_at(at: &dyn At, key: &str) -> Option<Form> {
    let (is_integer, is_bool) = (is_integer(key), is_bool(key));
    NOTES.with_borrow_mut(
        |notes| match notes.value_at(at, Unexpected::Str(key), Kind::Key) {
            Some(Form::Integers) if is_integer => Some(Form::Integers),
            Some(Form::Bools) if is_bool => Some(Form::Bools),
            _ => None,
        },
    )
}

/// Returns whether to put the value at a position into the buffer as bytes.
pub(super) fn is_replaced(position: usize) -> bool {
    NOTES.with_borrow(|notes| notes.replaced == Some(position))
}

/// Records an array that is put into the buffer as serde's struct of an `ndarray::Array`. Returns
/// the number of dimensions if the array is probed.
pub(super) fn array_at(at: &dyn At, dtype: &dyn fmt::Display, shape: &[usize]) -> Option<usize> {
    NOTES.with_borrow_mut(|notes| {
        if notes.arrays.len() < MAX_NOTES {
            notes.arrays.push(BufferedArray {
                path: at.path(),
                position: at.position(),
                dtype: dtype.to_string(),
                shape: shape.to_vec(),
            });
        }
        let probed = notes
            .probed
            .filter(|(position, _)| *position == at.position());
        probed.map(|(_, dimensions)| dimensions)
    })
}

/// Returns whether to convert an array of another type than the expected type. The first attempt to
/// decode a value converts no arrays.
pub(super) fn may_cast() -> bool {
    RECORDING.get() == Recording::Nothing
        || NOTES.with_borrow_mut(|notes| {
            notes.has_cast |= !notes.may_cast;
            notes.may_cast
        })
}

/// Records that an array without dimensions is put into the buffer.
pub(super) fn scalar() {
    NOTES.with_borrow_mut(|notes| notes.has_scalar = true);
}

/// Refuses a number of 32 bits where an array is also accepted. The decoder puts such a number into
/// the buffer only in place of an array without dimensions.
pub(super) fn refuse_scalar<E: de::Error>(expected: &dyn de::Expected) -> Result<(), E> {
    match is_watching() {
        true => Err(E::invalid_type(Unexpected::Map, expected)),
        false => Ok(()),
    }
}

/// Records that a value is out of range of the form of its hint.
pub(super) fn out_of_range() {
    NOTES.with_borrow_mut(|notes| notes.is_out_of_range = true);
}

/// Records that the first number of an array is a newtype.
pub(super) fn marked() {
    NOTES.with_borrow_mut(|notes| notes.has_marked = true);
}

impl Notes {
    /// Returns whether a hint may have changed this key.
    fn has_changed_key(&self, key: &str) -> bool {
        let is_key = |seen: &Seen| matches!(&seen.shown, Shown::Text(text) if **text == *key);
        let forms = self.hints.iter().map(|hint| hint.form);
        let mut forms = forms.filter(|form| matches!(form, Form::Integers | Form::Bools));
        forms.next().is_some() && self.seen.iter().any(is_key)
    }

    /// Records that the attempt has failed with the last error.
    pub(super) fn fail(&mut self) {
        if self.may_be_array {
            self.refuse(Shown::List, Form::Array);
        }
        for shown in std::mem::take(&mut self.may_be_items) {
            self.refuse(shown, Form::Items);
        }
        for shown in std::mem::take(&mut self.may_be_integers) {
            self.refuse(shown, Form::Number);
        }
    }

    fn value_at(&mut self, at: &dyn At, shown: Unexpected<'_>, kind: Kind) -> Option<Form> {
        let shown = Shown::of(shown)?;
        // The last hint is the most specific hint.
        let mut hints = self.hints.iter().rev();
        let hint = hints.find(|hint| hint.suits(&shown) && hint.place.contains(at));
        let form = hint.map(|hint| hint.form);
        if self.wanted.as_ref() == Some(&shown) && self.found.len() < MAX_NOTES {
            self.found.push(Found {
                path: at.path(),
                position: at.position(),
                kind,
            });
        }
        let may_change = match &shown {
            Shown::Text(key) => kind == Kind::Key && (is_integer(key) || is_bool(key)),
            Shown::Null => false,
            _ => true,
        };
        if may_change {
            self.record(at, shown, kind == Kind::Scalar);
        }
        form
    }

    fn record(&mut self, at: &dyn At, shown: Shown, is_scalar: bool) {
        if !self.watched.is_empty() && !self.watched.contains(&shown) {
            return;
        }
        let name = at.name();
        let count = self.counts.get(name).copied().unwrap_or(0);
        if count == MAX_OF_NAME || self.seen.len() == MAX_NOTES {
            self.is_incomplete = true;
            return;
        }
        self.counts.insert(name.into(), count + 1);
        let places = Place::all(at).into();
        self.seen.push(Seen {
            shown,
            is_scalar,
            places,
        });
    }

    fn refuse(&mut self, shown: Shown, form: Form) {
        let refused = (shown, form);
        if self.refused.len() < MAX_NOTES && !self.refused.contains(&refused) {
            self.refused.push(refused);
        }
    }
}

/// Returns whether a key can become an integer. Two different keys must not become the same one.
pub(super) fn is_integer(key: &str) -> bool {
    let digits = key.strip_prefix('-').unwrap_or(key);
    let has_one_form = !key.starts_with('+') && (key == "0" || !digits.starts_with('0'));
    has_one_form && (key.parse::<i64>().is_ok() || key.parse::<u64>().is_ok())
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
    let is_number = matches!(
        unexpected,
        Unexpected::Unsigned(_)
            | Unexpected::Signed(_)
            | Unexpected::Float(_)
            | Unexpected::NewtypeStruct
    );
    let form = match (unexpected, Time::expected(expected)) {
        (Unexpected::Str(text), _) if is_integer(text) && is_integer_type(expected) => {
            Some(Form::Integers)
        }
        (Unexpected::Str(text), _) if is_bool(text) && expected == "a boolean" => Some(Form::Bools),
        (_, Some(time)) if is_number => Some(Form::Time(time)),
        (_, None) if expected == ARRAY => Some(Form::Array),
        _ => None,
    };
    NOTES.with_borrow_mut(|notes| {
        let shown = Shown::of(unexpected);
        if let (Some(shown @ (Shown::Ext | Shown::Bytes)), true) = (&shown, is_items(expected)) {
            if !notes.may_be_items.contains(shown) {
                notes.may_be_items.push(shown.clone());
            }
        }
        if let (Some(shown), Some(form)) = (shown.clone(), form) {
            notes.refuse(shown, form);
        }
        let is_number =
            is_integer_type(expected) || matches!(expected, "f32" | "f64" | "a boolean");
        if unexpected == Unexpected::Map && notes.has_scalar && is_number {
            notes.refuse(Shown::Map, Form::Number);
        }
        if let Some(float) = shown.clone().filter(|shown| Form::Number.suits(shown)) {
            let is_integer = unexpected != Unexpected::Map && is_integer_type(expected);
            if is_integer && !notes.may_be_integers.contains(&float) {
                notes.may_be_integers.push(float);
            }
        }
        let form = match unexpected {
            _ if !notes.has_marked => None,
            Unexpected::NewtypeStruct => Some(Form::ArrayOfNumbers),
            Unexpected::Float(_) if expected == "u16" => Some(Form::ArrayOfHalves),
            Unexpected::Float(_) => Some(Form::ArrayOfNumbers),
            _ => None,
        };
        for shown in [Shown::Map, Shown::List] {
            if let Some(form) = form {
                notes.refuse(shown, form);
            }
        }
        if let (Unexpected::Seq, Some(dimensions)) = (unexpected, dimensions(expected)) {
            let is_empty = |array: &BufferedArray| array.shape.contains(&0);
            if notes.arrays.iter().any(is_empty) {
                notes.refuse(Shown::List, Form::EmptyArray(dimensions));
            }
        }
        let is_misfit = match unexpected {
            Unexpected::Map => true,
            Unexpected::Bytes(_) => expected.contains("string"),
            Unexpected::Unsigned(number) => notes.has_changed_key(&number.to_string()),
            Unexpected::Signed(number) => notes.has_changed_key(&number.to_string()),
            Unexpected::Bool(value) => notes.has_changed_key(&value.to_string()),
            _ => false,
        };
        notes.last = Last {
            shown,
            expected: Some(expected.into()),
            is_misfit,
            may_be_array: is_part_of_array(unexpected, expected),
        };
        notes.may_be_array |= notes.last.may_be_array;
        notes.has_misfit |= is_misfit && !notes.hints.is_empty();
    });
}

/// Description by which `ndarray` names its arrays.
const ARRAY: &str = "ndarray representation";

/// Returns the length from serde's description of a list with a fixed length, such as `tuple struct
/// Pair with 2 elements`, `a tuple of size 2`, `an array of length 2` or `2 elements in sequence`.
pub(super) fn wanted_length(expected: &str) -> Option<usize> {
    let is_list = ["tuple ", "a tuple ", "an array "];
    let is_list = is_list.iter().any(|begin| expected.starts_with(begin));
    let is_list = is_list || expected.ends_with(" in sequence");
    let mut words = expected.split(' ').rev().filter(|_| is_list);
    words.find_map(|word| word.parse().ok())
}

/// Returns whether serde expects a type that it reads from a list of bytes.
fn is_items(expected: &str) -> bool {
    let is_list = expected == "a sequence" || wanted_length(expected).is_some();
    is_list || expected.contains("byte")
}

/// Returns the length of the array that serde expects, which is the number of dimensions of an
/// `ndarray::Array`.
fn dimensions(expected: &str) -> Option<usize> {
    let is_array = expected.starts_with("an array of length ");
    let length = wanted_length(expected)?;
    (is_array || expected.ends_with(" in sequence")).then_some(length)
}

/// Returns whether serde may have expected the version or the shape of an `ndarray::Array`. serde
/// reads these parts from a list, and refuses the items of a list of numbers.
fn is_part_of_array(unexpected: Unexpected<'_>, expected: &str) -> bool {
    match unexpected {
        Unexpected::Seq => expected == "u8",
        Unexpected::Unsigned(_)
        | Unexpected::Signed(_)
        | Unexpected::Float(_)
        | Unexpected::Bool(_) => {
            let is_shape = expected == "a sequence" || expected.starts_with("an array of length ");
            expected == "u8" || is_shape
        }
        _ => false,
    }
}

/// Records an error that concerns a name in the value.
pub(super) fn refused_name(name: &str, allowed: &[&str]) {
    if RECORDING.get() == Recording::Nothing {
        return;
    }
    NOTES.with_borrow_mut(|notes| {
        if *allowed == ARRAY_FIELDS {
            notes.refuse(Shown::Map, Form::Array);
        }
        // A time is a number.
        let is_time = |time: Time| time.fields()[..] == *allowed;
        if notes.has_scalar && [Time::Duration, Time::SystemTime].into_iter().any(is_time) {
            notes.refuse(Shown::Map, Form::Number);
        }
        notes.last = Last {
            shown: Some(Shown::Text(name.into())),
            ..Last::default()
        };
    });
}

/// Names of the fields of the struct to which serde converts an `ndarray::Array`.
pub(super) const ARRAY_FIELDS: [&str; 3] = ["v", "dim", "data"];

/// Records an error that does not describe a value.
pub(super) fn failed(message: &str) {
    if RECORDING.get() == Recording::Nothing {
        return;
    }
    NOTES.with_borrow_mut(|notes| {
        notes.last = Last {
            // A list of numbers begins with a number that is not the version.
            may_be_array: message.starts_with("unknown array version"),
            ..Last::default()
        };
        notes.may_be_array |= notes.last.may_be_array;
    });
}

/// Returns whether `name`, serde's name of an expected type, is the name of a Rust integer type.
pub(super) fn is_integer_type(name: &str) -> bool {
    // serde describes `NonZeroU8` as "a nonzero u8".
    let name = name.strip_prefix("a nonzero ").unwrap_or(name);
    name.strip_prefix(['i', 'u'])
        .is_some_and(|bits| matches!(bits, "8" | "16" | "32" | "64" | "128" | "size"))
}

impl Form {
    /// Returns whether the value becomes serde's struct of an `ndarray::Array`.
    pub(super) fn is_array(self) -> bool {
        matches!(
            self,
            Form::Array | Form::ArrayOfNumbers | Form::ArrayOfHalves | Form::EmptyArray(_)
        )
    }

    /// Returns whether a value can have this form.
    pub(super) fn suits(self, shown: &Shown) -> bool {
        match (self, shown) {
            (Form::Integers, Shown::Text(key)) => is_integer(key),
            (Form::Bools, Shown::Text(key)) => is_bool(key),
            (Form::Time(_), Shown::UInt(_) | Shown::Int(_) | Shown::Float(_) | Shown::Ext) => true,
            (form, Shown::Text(_) | Shown::Null) if form.is_array() => false,
            (Form::EmptyArray(_), shown) => *shown == Shown::List,
            (form, _) if form.is_array() => true,
            (Form::Items, Shown::Bytes | Shown::Ext) => true,
            (Form::Number, Shown::Map) => true,
            (Form::Number, Shown::Float(bits)) => f64::from_bits(*bits).fract() == 0.0,
            _ => false,
        }
    }
}

impl Shown {
    fn of(unexpected: Unexpected<'_>) -> Option<Shown> {
        Some(match unexpected {
            Unexpected::Str(text) => Shown::Text(text.into()),
            Unexpected::Unsigned(number) => Shown::UInt(number),
            Unexpected::Signed(number) => Shown::Int(number),
            Unexpected::Float(number) => Shown::Float(number.to_bits()),
            Unexpected::Bool(value) => Shown::Bool(value),
            Unexpected::Unit | Unexpected::Option => Shown::Null,
            Unexpected::Bytes(_) => Shown::Bytes,
            Unexpected::NewtypeStruct => Shown::Ext,
            Unexpected::Seq => Shown::List,
            Unexpected::Map => Shown::Map,
            _ => return None,
        })
    }
}
