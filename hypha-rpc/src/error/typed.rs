//! Runtime support for `#[derive(RemoteError)]`: encodes typed errors, and decodes them from the
//! data of Rust peers or from exceptions of other languages.
//!
//! As in `service/macro_support.rs`, each trait is a bound of only one function, so that the
//! compiler reports each mistake once.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::Display;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cause::{caused_by, texts};
use super::{ServiceError, class};
use hypha_wire::{EncodeError, Value, WireError};

/// Error type with a message.
#[diagnostic::on_unimplemented(
    message = "the error `{Self}` has no text",
    label = "callers in other languages see only the text of an error",
    note = "add `#[derive(thiserror::Error)]` and `#[error(\"..\")]`, or implement `std::fmt::Display`"
)]
pub trait ErrorText: Display {}

#[diagnostic::do_not_recommend]
impl<T: Display> ErrorText for T {}

/// Error type that can be encoded and decoded.
#[diagnostic::on_unimplemented(
    message = "the error `{Self}` cannot be sent with its data",
    label = "callers in Rust get the error as a value",
    note = "add `#[derive(serde::Serialize, serde::Deserialize)]` to the type"
)]
pub trait ErrorData: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> ErrorData for T {}

/// Type of a field that can contain the message of an exception.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot hold the message of an exception",
    label = "this field gets the message of the received exception",
    note = "make it a `String`, or leave the field out"
)]
pub trait MessageField: From<String> {}

#[diagnostic::do_not_recommend]
impl<T: From<String>> MessageField for T {}

/// Returns the message of an error.
pub fn error_text<E: ErrorText>(error: &E) -> String {
    error.to_string()
}

/// Returns the functions that encode and decode an error of type `E`.
#[must_use]
pub fn error_data<E: ErrorData>() -> DataCodec<E> {
    DataCodec {
        encode: |error| Value::encode_from(error),
        decode: |data| data.decode_as().ok(),
    }
}

/// Functions that encode and decode an error. [`error_data`] has the trait bounds and returns this
/// struct, so that the functions below need no bounds.
#[derive(Debug)]
pub struct DataCodec<E> {
    encode: fn(&E) -> Result<Value, EncodeError>,
    decode: fn(&Value) -> Option<E>,
}

/// Converts a message to the type of a field.
#[must_use]
pub fn message_field<T: MessageField>(message: String) -> T {
    T::from(message)
}

/// Type with `#[derive(RemoteError)]`.
pub trait TypedError: Sized + 'static {
    /// The variants. A struct has one variant, itself.
    const VARIANTS: &'static [ErrorVariant<Self>];

    /// Returns the index of this value in [`Self::VARIANTS`].
    fn variant(&self) -> usize;
}

/// Variant of a typed error.
#[derive(Debug)]
pub struct ErrorVariant<E> {
    name: &'static str,
    classes: &'static [&'static str],
    from_message: Option<fn(String) -> Option<E>>,
    takes_others: bool,
}

impl<E> ErrorVariant<E> {
    /// Creates a variant that matches only errors of Rust peers.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        ErrorVariant {
            name,
            classes: &[],
            from_message: None,
            takes_others: false,
        }
    }

    /// Makes the variant also match exceptions of these classes. `make` creates the value from the
    /// message of the exception.
    #[must_use]
    pub const fn classes(
        mut self,
        classes: &'static [&'static str],
        make: fn(String) -> Option<E>,
    ) -> Self {
        self.classes = classes;
        self.from_message = Some(make);
        self
    }

    /// Makes the variant match every error that no other variant matches. `make` creates the value
    /// from the message.
    #[must_use]
    pub const fn others(mut self, make: fn(String) -> Option<E>) -> Self {
        self.takes_others = true;
        self.from_message = Some(make);
        self
    }

    fn make(&self, message: String) -> Option<E> {
        self.from_message.and_then(|make| make(message))
    }
}

/// Converts a message to the only field of a variant, if the type of the field permits that. Method
/// lookup prefers [`MadeOfMessage`], implemented for `&&`, to [`NotMadeOfMessage`], implemented for
/// `&`.
#[derive(Debug)]
pub struct FieldOf<T>(PhantomData<T>);

impl<T> FieldOf<T> {
    /// Returns a marker for the type `T`.
    #[allow(clippy::new_without_default)]
    #[must_use]
    pub fn new() -> Self {
        FieldOf(PhantomData)
    }
}

/// Converts a message to a field, see [`FieldOf`].
pub trait MadeOfMessage<T> {
    /// Converts the message.
    fn made_of(self, message: String) -> Option<T>;
}

impl<T: From<String>> MadeOfMessage<T> for &&FieldOf<T> {
    fn made_of(self, message: String) -> Option<T> {
        Some(T::from(message))
    }
}

/// Implemented for fields that a message cannot be converted to, see [`FieldOf`].
pub trait NotMadeOfMessage<T>: Sized {
    /// Returns `None`: only the data of an error can fill this field.
    fn made_of(self, _: String) -> Option<T> {
        None
    }
}

impl<T> NotMadeOfMessage<T> for &FieldOf<T> {}

/// Returns the cause of an error, if its type is a [`std::error::Error`]. Method lookup prefers
/// [`Caused`], implemented for `&&`, to [`NotCaused`], implemented for `&`.
#[derive(Debug)]
pub struct CauseOf<'a, E>(pub &'a E);

/// Returns the cause of an error, see [`CauseOf`].
pub trait Caused<'a> {
    /// Returns the direct cause.
    fn cause_of(self) -> Option<&'a (dyn StdError + 'static)>;
}

impl<'a, E: StdError> Caused<'a> for &&CauseOf<'a, E> {
    fn cause_of(self) -> Option<&'a (dyn StdError + 'static)> {
        self.0.source()
    }
}

/// Implemented for errors without known causes, see [`CauseOf`].
pub trait NotCaused<'a>: Sized {
    /// Returns `None`.
    fn cause_of(self) -> Option<&'a (dyn StdError + 'static)> {
        None
    }
}

impl<'a, E> NotCaused<'a> for &CauseOf<'a, E> {}

/// Finds the schema of the field type `T` of an error, if `T` has a schema. Method lookup prefers
/// [`DescribedCause`], implemented for `&&&`, to [`Described`], implemented for `&&`, and that to
/// [`NotDescribed`], implemented for `&`.
#[derive(Debug)]
pub struct SchemaOf<T>(PhantomData<T>);

impl<T> SchemaOf<T> {
    /// Returns a marker for the type `T`.
    #[allow(clippy::new_without_default)]
    #[must_use]
    pub fn new() -> Self {
        SchemaOf(PhantomData)
    }
}

/// Schema of another error, or an `Option` of one, with the names and messages of its variants. See
/// [`SchemaOf`].
pub trait DescribedCause<T> {
    /// Returns the schema.
    fn schema(self, generator: &mut SchemaGenerator) -> Schema;
}

impl<E: DescribedError> DescribedCause<E> for &&&SchemaOf<E> {
    fn schema(self, generator: &mut SchemaGenerator) -> Schema {
        error_schema::<E>(generator)
    }
}

impl<E: DescribedError> DescribedCause<Option<E>> for &&&SchemaOf<Option<E>> {
    fn schema(self, generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Option<DataOf<E>>>()
    }
}

/// Schema of a type that implements `JsonSchema`. See [`SchemaOf`].
pub trait Described {
    /// Returns the schema.
    fn schema(self, generator: &mut SchemaGenerator) -> Schema;
}

impl<T: JsonSchema> Described for &&SchemaOf<T> {
    fn schema(self, generator: &mut SchemaGenerator) -> Schema {
        hypha_wire::keyed::<T>(generator)
    }
}

/// Schema of any other type, which permits every value. See [`SchemaOf`].
pub trait NotDescribed: Sized {
    /// Returns the schema.
    fn schema(self, _: &mut SchemaGenerator) -> Schema {
        Schema::default()
    }
}

impl<T> NotDescribed for &SchemaOf<T> {}

/// An error type whose data have a schema.
pub trait DescribedError {
    /// Name of the type.
    const NAME: &'static str;

    /// Returns the schema of the data, as serde writes them.
    fn data_schema(generator: &mut SchemaGenerator) -> Schema;

    /// Returns the identity of the schema.
    #[must_use]
    fn id() -> &'static str {
        std::any::type_name::<Self>()
    }
}

impl<E: DescribedError> DescribedError for Box<E> {
    const NAME: &'static str = E::NAME;

    fn data_schema(generator: &mut SchemaGenerator) -> Schema {
        E::data_schema(generator)
    }

    fn id() -> &'static str {
        E::id()
    }
}

/// Gives the data of an error a name, so that its schema becomes a definition.
struct DataOf<E>(PhantomData<E>);

impl<E: DescribedError> JsonSchema for DataOf<E> {
    fn schema_name() -> Cow<'static, str> {
        E::NAME.into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("{}::data", E::id()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        E::data_schema(generator)
    }
}

/// Returns a reference to the definition of the data of an error.
pub fn error_schema<E: DescribedError>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<DataOf<E>>()
}

/// Maximum size of the data in a trace, in bytes. People read the trace, so it should not be long.
const MAX_SHOWN: usize = 2048;

/// Returns the data as a line of a trace. Empty if the variant has no fields, or the data is too
/// long.
fn shown(data: &Value) -> String {
    let text = match data {
        Value::Map(_) | Value::List(_) => data.to_string(),
        _ => return String::new(),
    };
    match text.len() {
        0..=MAX_SHOWN => format!("data: {text}\n"),
        _ => String::new(),
    }
}

/// Encodes the error. The trace is for callers in other languages: it contains the causes, the
/// data, the class and the message. If the message starts with `<class>:`, the trace contains only
/// the causes.
pub fn error_to_wire<E: TypedError + ServiceError>(
    error: &E,
    message: String,
    codec: DataCodec<E>,
) -> WireError {
    let causes = texts(&message, error.error_source());
    let variant = E::VARIANTS.get(error.variant());
    let name = variant.map(|variant| variant.name);
    let class = variant.and_then(|variant| variant.classes.first().copied());
    let data = (codec.encode)(error).map(Box::new);
    let mut trace = caused_by(&causes);
    match &data {
        Err(error) => trace.push_str(&format!("(its data cannot be sent: {error})\n")),
        Ok(data) => trace.push_str(&shown(data)),
    }
    if let Some(class) = class.or(name) {
        let text = message.strip_prefix(class);
        match text.is_some_and(|text| text.starts_with(':')) {
            // The message names the class already, so the trace needs only the causes.
            true => trace = caused_by(&causes),
            false => trace.push_str(&format!("{class}: {message}\n")),
        }
    }
    let mut wire = WireError::new(message);
    wire.trace = trace;
    wire.name = name.map(str::to_owned);
    wire.causes = causes;
    wire.data = data.ok();
    wire
}

/// Decodes a received error. Tries the name and data from a Rust peer, then the class of an
/// exception, then the variant for all other errors. If the data of an exception does not match the
/// variant of its class, creates the fields from the message. Returns `None` if the error does not
/// have this type.
pub fn error_from_wire<E: TypedError>(error: &WireError, codec: DataCodec<E>) -> Option<E> {
    if let Some(name) = &error.name {
        if E::VARIANTS.iter().any(|variant| variant.name == name) {
            let data = error.data.as_deref().unwrap_or(&Value::Null);
            if let Some(own) = (codec.decode)(data) {
                return Some(own);
            }
        }
    }
    let all = E::VARIANTS.iter();
    let known: Vec<&str> = all.flat_map(|variant| variant.classes).copied().collect();
    let (class, message) = class::split(error, &known);
    if let Some(variant) = class.as_deref().and_then(of_class::<E>) {
        let own = error.data.as_deref().and_then(codec.decode);
        let is_variant = |own: &E| {
            let own = E::VARIANTS.get(own.variant());
            own.is_some_and(|own| own.name == variant.name)
        };
        if let Some(own) = own.filter(is_variant) {
            return Some(own);
        }
        let made = variant.make(match &class {
            Some(class) if class::is_named(class, "KeyError") => {
                class::unquoted(&message).into_owned()
            }
            _ => message.clone(),
        });
        if made.is_some() {
            return made;
        }
    }
    let other = E::VARIANTS.iter().find(|variant| variant.takes_others)?;
    // Include the class, because the message alone may not tell a `ValueError` from an `OSError`.
    let what = class.as_ref().or(error.name.as_ref());
    other.make(match what {
        Some(what) => format!("{what}: {message}"),
        None => message,
    })
}

/// Returns the variant for an exception. Prefers a variant whose class includes the module to one
/// whose class does not.
fn of_class<E: TypedError>(class: &str) -> Option<&'static ErrorVariant<E>> {
    let find = |fits: fn(&str, &str) -> bool| {
        let mut all = E::VARIANTS.iter();
        all.find(|variant| variant.classes.iter().any(|name| fits(class, name)))
    };
    find(|class, name| class == name).or_else(|| find(class::is_named))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::RemoteError;

    #[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
    #[remote_error(crate = crate)]
    enum Failure {
        #[error("empty")]
        #[remote_error(class = "EmptyError")]
        Empty,
        #[error("{what} is worn by {by}")]
        Worn { what: String, by: u8 },
        #[error("no {0}")]
        #[remote_error(name = "Absent", class = ["KeyError", "Absence", "a.LookupError"])]
        Missing(Box<str>),
        #[error("{text}")]
        #[remote_error(class = "LookupError")]
        #[serde(rename = "looked-up")]
        Lookup {
            #[serde(rename = "message")]
            text: String,
        },
    }

    #[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
    #[remote_error(crate = crate)]
    enum Refusal {
        #[error("gain {0} is too high")]
        #[remote_error(class = "ValueError")]
        Gain(f64),
        #[error("{position} is outside of 0 to {limit}")]
        #[remote_error(class = "RangeError")]
        Outside { position: f64, limit: f64 },
    }

    #[derive(Debug, thiserror::Error, Serialize, Deserialize, RemoteError)]
    #[remote_error(crate = crate)]
    enum Wrapped {
        #[error("cannot start")]
        Start {
            #[source]
            #[serde(skip)]
            cause: Option<std::io::Error>,
        },
        #[error(transparent)]
        Call(#[from] crate::Error),
    }

    #[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
    #[error("broken")]
    #[remote_error(crate = crate, other)]
    struct Broken;

    #[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
    #[error("{0:?}")]
    #[remote_error(crate = crate, name = "Sparse")]
    struct Unsendable(std::collections::HashMap<(u8, u8), u8>);

    fn celsius(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"type": "number", "x-hypha-unit": "°C"})
    }

    #[derive(
        Debug, thiserror::Error, Serialize, Deserialize, schemars::JsonSchema, RemoteError,
    )]
    #[error("{at} °C")]
    #[remote_error(crate = crate)]
    struct Hot {
        #[schemars(schema_with = "celsius", extend("maximum" = 90))]
        at: f64,
        #[serde(default)]
        #[schemars(!default, with = "u8")]
        limit: f64,
    }

    #[test]
    fn functions_for_schemas_of_fields_are_those_of_the_user() {
        let schema = Hot::data_schema(&mut SchemaGenerator::default()).to_value();
        assert_eq!(
            schema["properties"]["at"],
            serde_json::json!({"type": "number", "x-hypha-unit": "°C", "maximum": 90})
        );
        assert_eq!(schema["properties"]["limit"]["type"], "integer");
    }

    fn raised(message: &str, trace: &str) -> WireError {
        let mut error = WireError::new(message);
        error.trace = trace.into();
        error
    }

    #[test]
    fn every_variant_comes_back_and_other_clients_see_its_class() {
        let worn = Failure::Worn {
            what: "the hat".into(),
            by: 3,
        };
        let lookup = Failure::Lookup { text: "x".into() };
        let cases = [
            (Failure::Empty, "Failure.Empty", "EmptyError: empty\n"),
            (
                worn,
                "Failure.Worn",
                "data: {\"Worn\":{\"what\":\"the hat\",\"by\":3}}\nFailure.Worn: the hat is worn by 3\n",
            ),
            (
                Failure::Missing("x".into()),
                "Absent",
                "data: {\"Missing\":\"x\"}\nKeyError: no x\n",
            ),
            (
                lookup,
                "Failure.Lookup",
                "data: {\"looked-up\":{\"message\":\"x\"}}\nLookupError: x\n",
            ),
        ];
        for (error, name, trace) in cases {
            let sent = error.clone().to_wire();
            assert_eq!(sent.message, error.to_string());
            assert_eq!(
                (sent.name.as_deref(), sent.trace.as_str()),
                (Some(name), trace)
            );
            assert_eq!(Failure::from_wire(&sent), Some(error));
        }
        let sent = Failure::Lookup { text: "x".into() }.to_wire();
        let data = sent.data.expect("data").to_json();
        assert_eq!(data, serde_json::json!({"looked-up": {"message": "x"}}));
        assert_eq!(Broken::from_wire(&Broken.to_wire()), Some(Broken));
    }

    #[test]
    fn exceptions_become_the_variant_of_their_class() {
        let head = "Traceback (most recent call last):\n  File \"x.py\", line 3\n";
        let all = [
            raised("'disk'", &format!("{head}KeyError: 'disk'\n")),
            raised(&format!("{head}KeyError: 'disk'\n"), ""),
            raised(&format!("{head}lib.Absence: disk\n"), ""),
            raised("Absence: disk", "Absence: disk\n    at f"),
            raised("a.LookupError: disk", ""),
        ];
        for error in all {
            let own = Failure::from_wire(&error);
            assert_eq!(own, Some(Failure::Missing("disk".into())), "{error:?}");
        }
        // If the class includes its module, the module must match.
        let text = "disk".to_owned();
        let lookup = Failure::from_wire(&raised("b.LookupError: disk", ""));
        assert_eq!(lookup, Some(Failure::Lookup { text }));
        let empty = raised("", &format!("{head}lib.EmptyError\n"));
        assert_eq!(Failure::from_wire(&empty), Some(Failure::Empty));
        // The trace names the class, not the message.
        let trace = format!("{head}OSError: KeyError: disk\n");
        let inner = Failure::from_wire(&raised("KeyError: disk", &trace));
        assert_eq!(inner, None);
        let path = Failure::from_wire(&raised(r"KeyError: 'C:\\new'", ""));
        assert_eq!(path, Some(Failure::Missing(r"C:\new".into())));
        // Only the message of a `KeyError` loses its quotes.
        let quoted = Failure::from_wire(&raised("Absence: 'disk'", ""));
        assert_eq!(quoted, Some(Failure::Missing("'disk'".into())));
        for other in ["ValueError: disk", "disk", "", "DeepKeyError: disk"] {
            assert_eq!(Failure::from_wire(&raised(other, "")), None, "{other}");
        }
    }

    #[test]
    fn unknown_errors_match_the_other_variant() {
        #[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
        #[error("{0}")]
        #[remote_error(crate = crate, other)]
        struct Text(String);

        let of = |error: &WireError| Text::from_wire(error).expect("takes everything").0;
        assert_eq!(of(&raised("ValueError: bad", "")), "ValueError: bad");
        assert_eq!(of(&raised("just a text", "")), "just a text");
        let trace = "Traceback (most recent call last):\n  File \"x.py\"\nCustom: (1, 'b')\n";
        assert_eq!(of(&raised("(1, 'b')", trace)), "Custom: (1, 'b')");
        let worn = Failure::Worn {
            what: "the hat".into(),
            by: 3,
        };
        assert_eq!(of(&worn.to_wire()), "Failure.Worn: the hat is worn by 3");
        assert_eq!(Broken::from_wire(&raised("x", "")), Some(Broken));
    }

    #[test]
    fn data_of_another_type_does_not_match() {
        let mut newer = Failure::Worn {
            what: "the hat".into(),
            by: 3,
        }
        .to_wire();
        for data in [None, Some(Box::new(Value::from("Worn")))] {
            newer.data = data;
            assert_eq!(Failure::from_wire(&newer), None);
        }
        newer.name = Some("Failure.Torn".into());
        assert_eq!(Failure::from_wire(&newer), None);
        // If the data does not fit, the class in the trace determines the variant.
        newer.name = Some("Failure.Empty".into());
        newer.trace = "EmptyError: the hat is worn by 3".into();
        assert_eq!(Failure::from_wire(&newer), Some(Failure::Empty));
    }

    #[test]
    fn the_trace_reports_unsendable_data() {
        let sent = Unsendable([((1, 2), 3)].into()).to_wire();
        assert_eq!((sent.name.as_deref(), sent.data), (Some("Sparse"), None));
        assert!(
            sent.trace.contains("its data cannot be sent: "),
            "{}",
            sent.trace
        );
    }

    #[test]
    fn exceptions_become_a_variant_only_if_its_fields_fit() {
        let outside = Refusal::Outside {
            position: 2.0,
            limit: 1.0,
        };
        for error in [Refusal::Gain(2.0), outside.clone()] {
            assert_eq!(Refusal::from_wire(&error.clone().to_wire()), Some(error));
        }
        // A message alone cannot fill the fields.
        for text in ["ValueError: gain", "RangeError: 2 is outside of 0 to 1"] {
            assert_eq!(Refusal::from_wire(&raised(text, "")), None, "{text}");
        }
        // An error of another service with the same data.
        let mut other = outside.clone().to_wire();
        other.name = Some("StageError.Outside".into());
        assert_eq!(Refusal::from_wire(&other), Some(outside));
        other.data = Some(Box::new(Value::from("Outside")));
        assert_eq!(Refusal::from_wire(&other), None);
        // An exception of another class.
        let mut gain = Refusal::Gain(2.0).to_wire();
        gain.name = None;
        gain.trace = "RangeError: gain 2 is too high\n".into();
        assert_eq!(Refusal::from_wire(&gain), None);
    }

    #[test]
    fn the_causes_of_typed_errors_are_sent() {
        let cause = std::io::Error::other("no calibration");
        let error = Wrapped::Start { cause: Some(cause) };
        let wire = error.to_wire();
        assert_eq!(wire.causes, ["no calibration"]);
        assert_eq!(
            wire.trace,
            "Caused by:\n    no calibration\ndata: {\"Start\":{}}\nWrapped.Start: cannot start\n"
        );
        let error = super::super::from_wire::<std::convert::Infallible>(wire, Default::default());
        assert_eq!(
            super::super::report(&error),
            "Wrapped.Start: cannot start: no calibration"
        );
    }

    #[test]
    fn errors_of_calls_are_fields_of_typed_errors() {
        let mut raised = WireError::new("ValueError: too bright");
        raised.causes = vec!["saturated".into()];
        let call = super::super::CallSite {
            method: "camera.snap".into(),
            peer: "ws/c".into(),
        };
        let error = super::super::from_wire::<std::convert::Infallible>(raised, call);
        let text = super::super::report(&error);
        let wire = Wrapped::from(error).to_wire();
        assert_eq!(wire.message, "camera.snap on ws/c: ValueError: too bright");
        assert_eq!(wire.causes, ["saturated"]);
        let Some(Wrapped::Call(crate::Error::Remote(back))) = Wrapped::from_wire(&wire) else {
            panic!("{wire:?}");
        };
        assert_eq!(back.class.as_deref(), Some("ValueError"));
        assert_eq!(super::super::report(&*back), text);

        let timeout: crate::Error = crate::Error::Invalid("no such service".into());
        let wire = Wrapped::from(timeout).to_wire();
        let Some(Wrapped::Call(crate::Error::Remote(back))) = Wrapped::from_wire(&wire) else {
            panic!("{wire:?}");
        };
        assert_eq!(back.message, "no such service");
    }

    #[test]
    fn untyped_errors_keep_the_class_and_the_data() {
        let untyped =
            || -> crate::Error { crate::Error::Service(Failure::Missing("lens".into())).untyped() };
        assert_eq!(untyped().to_string(), "KeyError: no lens");
        // A service that passes the error on sends the class, the name and the data as well.
        let wire = untyped().to_wire();
        assert_eq!(wire.message, "KeyError: no lens");
        let missing = Failure::Missing("lens".into());
        assert_eq!(Failure::from_wire(&wire), Some(missing.clone()));
        let wire = crate::Error::Service(missing.clone()).to_wire();
        assert_eq!(wire, missing.to_wire());
        let crate::Error::Remote(error) = untyped() else {
            panic!("is not remote")
        };
        assert_eq!(error.message, "no lens");
        assert_eq!(error.class.as_deref(), Some("KeyError"));
        assert_eq!(error.name.as_deref(), Some("Absent"));
        let data = error.data.expect("is sent").decode_as();
        assert_eq!(data.ok(), Some(Failure::Missing("lens".into())));
    }
}
