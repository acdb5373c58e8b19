//! Functions and traits that the expansion of `#[hypha_service]` uses in addition to the public
//! types. They are not stable: the macro and this module must have the same version.
//!
//! The traits of this module also define the messages of the compiler for types that do not satisfy
//! a bound. Each trait is a bound of only one function, so that the compiler reports a mistake in a
//! contract only once: rustc merges identical reports, but not reports about different functions.

use std::convert::Infallible;
use std::marker::PhantomData;

#[cfg(feature = "ndarray")]
use hypha_wire::{ArrayOf, Element, NdArray};
#[cfg(feature = "ndarray")]
use ndarray::Dimension;
use schemars::JsonSchema;
use serde::de::value::Error as Unfit;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize};

use super::{Arguments, Context, IncomingCall, misfit};
use crate::error::ServiceError;
use crate::schema::{FunctionSchema, to_json};
use hypha_wire::{Args, Binary, DecodeError, Value, WireError};

/// A type that can be an argument of a service method.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a service argument",
    label = "arguments are sent to another process and described by a schema",
    note = "add `#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]` to the type, if it is yours",
    note = "only `&str` and `&[u8]` can be borrowed from a call; take anything else by value",
    note = "`bytes::Bytes` is recognized only by its name: behind an alias and inside of another type, write `Binary`, or on a field `#[schemars(with = \"hypha_rpc::Binary\")]`",
    note = "the elements of arrays are numbers or `bool`; arrays of the crate `ndarray` need the feature `ndarray` of `hypha-rpc`, and are recognized only by their names, alone or in an `Option`: elsewhere, write `hypha_rpc::Array<T, N>`",
    note = "pass the service behind a proxy as `Object<FooProxy>`, and a stream as `RemoteStream<T>`"
)]
pub trait ServiceArgument<'de>: Serialize + Deserialize<'de> + JsonSchema + Send {}

#[diagnostic::do_not_recommend]
impl<'de, T: Serialize + Deserialize<'de> + JsonSchema + Send> ServiceArgument<'de> for T {}

/// A type that a service method can return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a service method",
    label = "results are sent to another process",
    note = "add `#[derive(serde::Serialize, serde::Deserialize)]` to the type",
    note = "the elements of arrays are numbers or `bool`",
    note = "pass the service behind a proxy as `Object<FooProxy>`, and a stream as `impl Stream<Item = T>`, or as `RemoteStream::<T>::new(stream)` from a closure"
)]
pub trait ServiceResult: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> ServiceResult for T {}

/// A type that the context parameter of a method can have.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the context of a call",
    label = "expected `hypha_rpc::Context` or `&hypha_rpc::Context`",
    note = "write `#[hypha(context = false)]` before an ordinary argument whose type has this name"
)]
pub trait ContextParameter<'a> {
    /// Returns the context of the call.
    fn from_incoming(incoming: &'a IncomingCall) -> Self;
}

impl<'a> ContextParameter<'a> for &'a Context {
    fn from_incoming(incoming: &'a IncomingCall) -> Self {
        incoming.context()
    }
}

impl<'a> ContextParameter<'a> for Context {
    fn from_incoming(incoming: &'a IncomingCall) -> Self {
        incoming.context().clone()
    }
}

/// Returns the context of a call. The context is borrowed or owned, depending on the type `T` of
/// the parameter.
pub fn context<'a, T: ContextParameter<'a>>(incoming: &'a IncomingCall) -> T {
    T::from_incoming(incoming)
}

/// Functions that generated code uses for arguments of type `T`. The functions that create a codec
/// have the bounds on `T`, and this type has none. Therefore rustc reports a wrong type only once.
#[derive(Debug)]
pub struct ArgumentCodec<'de, T> {
    /// Decodes the argument with the given index. Returns `None` if the caller omitted the
    /// argument.
    given: fn(&Arguments<'de>, usize) -> Result<Option<T>, WireError>,
    required: fn(&Arguments<'de>, usize) -> Result<T, WireError>,
    /// Returns the value that the type defines for an omitted argument, such as `None` for an
    /// `Option<T>`. Returns `None` if the type defines no such value.
    absent: fn() -> Option<T>,
    push: fn(&mut Args, &'static str, &T, Nil),
    describe: fn(FunctionSchema, &str, &str, Presence) -> FunctionSchema,
    to_json: fn(&T) -> Option<serde_json::Value>,
}

/// Whether an argument that encodes to nil is omitted from the message or sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Nil {
    Omit,
    Send,
}

/// Whether the schema describes an argument as required, as optional, or as an argument with a
/// default.
#[derive(Debug)]
enum Presence {
    Required,
    Optional,
    Default(serde_json::Value),
}

/// Selects the [`ArgumentCodec`] of a type named `Bytes` or `Array`. For `bytes::Bytes` and
/// `ndarray::Array`, `codec` is an inherent function. An inherent function takes precedence over
/// the function of the trait [`AnyArgument`]. `bytes::Bytes` and `ndarray::Array` have no schema of
/// their own, and serde would copy their data.
#[derive(Debug)]
pub struct ArgumentOf<T>(PhantomData<T>);

impl ArgumentOf<bytes::Bytes> {
    /// Returns a codec that does not copy the bytes. Received bytes are slices of the frame, and
    /// large values are not copied into the sent message.
    #[must_use]
    pub fn codec<'de>() -> ArgumentCodec<'de, bytes::Bytes> {
        ArgumentCodec {
            given: |args, index| {
                let binary = args.located(index, locate::<Binary>)?;
                Ok(binary.map(|Binary(bytes)| bytes))
            },
            required: |args, index| args.required(index).map(|Binary(bytes)| bytes),
            absent: || None,
            push: |args, name, value, nil| push(args, name, &Binary(value.clone()), nil),
            describe: describe::<Binary>,
            to_json,
        }
    }
}

impl ArgumentOf<Option<bytes::Bytes>> {
    /// See [`ArgumentOf::<bytes::Bytes>::codec`].
    #[must_use]
    pub fn codec<'de>() -> ArgumentCodec<'de, Option<bytes::Bytes>> {
        ArgumentCodec {
            given: |args, index| {
                let binary: Option<Option<Binary>> =
                    args.located(index, locate::<Option<Binary>>)?;
                Ok(binary.map(|binary| binary.map(|Binary(bytes)| bytes)))
            },
            required: |args, index| {
                let binary: Option<Binary> = args.required(index)?;
                Ok(binary.map(|Binary(bytes)| bytes))
            },
            absent: || Some(None),
            push: |args, name, value, nil| push(args, name, &value.clone().map(Binary), nil),
            describe: describe::<Option<Binary>>,
            to_json,
        }
    }
}

#[cfg(feature = "ndarray")]
impl<T: Element, D: Dimension> ArgumentOf<ndarray::Array<T, D>> {
    /// Returns a codec that reads the elements from the frame. The codec sends the elements as one
    /// block of bytes instead of a list of numbers.
    #[must_use]
    pub fn codec<'de>() -> ArgumentCodec<'de, ndarray::Array<T, D>> {
        ArgumentCodec {
            given: |args, index| {
                let array = args.located(index, locate::<ArrayOf<T, D>>)?;
                Ok(array.map(|ArrayOf(array)| array))
            },
            required: |args, index| args.required(index).map(|ArrayOf(array)| array),
            absent: || None,
            push: |args, name, value, nil| push(args, name, &NdArray::from(value), nil),
            describe: describe::<ArrayOf<T, D>>,
            to_json: |_| None,
        }
    }
}

#[cfg(feature = "ndarray")]
impl<T: Element, D: Dimension> ArgumentOf<Option<ndarray::Array<T, D>>> {
    /// See [`ArgumentOf::<ndarray::Array<T, D>>::codec`].
    #[must_use]
    pub fn codec<'de>() -> ArgumentCodec<'de, Option<ndarray::Array<T, D>>> {
        ArgumentCodec {
            given: |args, index| {
                let array: Option<Option<ArrayOf<T, D>>> =
                    args.located(index, locate::<Option<ArrayOf<T, D>>>)?;
                Ok(array.map(|array| array.map(|ArrayOf(array)| array)))
            },
            required: |args, index| {
                let array: Option<ArrayOf<T, D>> = args.required(index)?;
                Ok(array.map(|ArrayOf(array)| array))
            },
            absent: || Some(None),
            push: |args, name, value, nil| {
                push(args, name, &value.as_ref().map(NdArray::from), nil)
            },
            describe: describe::<Option<ArrayOf<T, D>>>,
            to_json: |_| None,
        }
    }
}

/// Provides the codec of any other type named `Bytes` or `Array`. See [`ArgumentOf`].
pub trait AnyArgument<T> {
    /// Returns the codec based on serde and schemars.
    #[must_use]
    fn codec<'de>() -> ArgumentCodec<'de, T>
    where
        T: ServiceArgument<'de>,
    {
        argument()
    }
}

impl<T> AnyArgument<T> for ArgumentOf<T> {}

/// Returns the codec that decodes, encodes and describes arguments of type `T`.
#[must_use]
pub fn argument<'de, T: ServiceArgument<'de>>() -> ArgumentCodec<'de, T> {
    ArgumentCodec {
        given: |args, index| args.located(index, locate::<T>),
        required: |args, index| args.required(index),
        absent: || T::deserialize(Absent).ok(),
        push: push::<T>,
        describe: describe::<T>,
        to_json,
    }
}

/// Selects the codec of a callback or stream type `T`, which may contain `bytes::Bytes`. `R` is the
/// same type with [`Binary`] in place of `bytes::Bytes`. Method lookup prefers [`OwnSchema`], which
/// is implemented for `&&`, to [`OtherSchema`], which is implemented for `&`.
#[derive(Debug)]
pub struct DescribedAs<T, R>(PhantomData<(T, R)>);

impl<T, R> DescribedAs<T, R> {
    /// Returns a marker for the types `T` and `R`.
    #[allow(clippy::new_without_default)]
    #[must_use]
    pub fn new() -> Self {
        DescribedAs(PhantomData)
    }
}

/// Provides the codec of a type that has a schema. See [`DescribedAs`].
pub trait OwnSchema<T> {
    /// Returns the codec based on serde and schemars.
    #[must_use]
    fn codec<'de>(self) -> ArgumentCodec<'de, T>
    where
        T: ServiceArgument<'de>;
}

impl<T: JsonSchema, R> OwnSchema<T> for &&DescribedAs<T, R> {
    fn codec<'de>(self) -> ArgumentCodec<'de, T>
    where
        T: ServiceArgument<'de>,
    {
        argument()
    }
}

/// Provides the codec of a type that uses the schema of another type. See [`DescribedAs`].
pub trait OtherSchema<T, R> {
    /// Returns the codec that uses the schema of `R`.
    #[must_use]
    fn codec<'de>(self) -> ArgumentCodec<'de, T>
    where
        T: Serialize + Deserialize<'de> + Send,
        R: JsonSchema;
}

impl<T, R> OtherSchema<T, R> for &DescribedAs<T, R> {
    fn codec<'de>(self) -> ArgumentCodec<'de, T>
    where
        T: Serialize + Deserialize<'de> + Send,
        R: JsonSchema,
    {
        ArgumentCodec {
            given: |args, index| args.located(index, locate::<R>),
            required: |args, index| args.required(index),
            absent: || T::deserialize(Absent).ok(),
            push: push::<T>,
            describe: describe::<R>,
            to_json,
        }
    }
}

/// Uses the schema of `T` to find the fault in a value that could not be decoded as `T`. Returns an
/// error with the position of the fault.
fn locate<T: JsonSchema>(error: DecodeError, value: &Value) -> DecodeError {
    let schema = FunctionSchema::new("", "")
        .argument::<T>("value", "")
        .finish();
    let root = &schema["parameters"];
    misfit::nearest(error, value, &root["properties"]["value"], root)
}

/// Returns the codec for `&[u8]`. serde alone would encode `&[u8]` as a list of numbers.
#[must_use]
pub fn byte_argument<'de>() -> ArgumentCodec<'de, &'de [u8]> {
    ArgumentCodec {
        given: |args, index| args.bytes(index, locate::<Binary>),
        push: |args, name, value, nil| push(args, name, &RawBytes(value), nil),
        describe: describe::<Binary>,
        ..argument()
    }
}

/// Returns the codec for `Option<&[u8]>`.
#[must_use]
pub fn optional_byte_argument<'de>() -> ArgumentCodec<'de, Option<&'de [u8]>> {
    ArgumentCodec {
        given: |args, index| args.optional_bytes(index, locate::<Option<Binary>>),
        push: |args, name, value, nil| push(args, name, &value.map(RawBytes), nil),
        describe: describe::<Option<Binary>>,
        ..argument()
    }
}

struct RawBytes<'a>(&'a [u8]);

impl Serialize for RawBytes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

fn push<T: Serialize>(args: &mut Args, name: &'static str, value: &T, nil: Nil) {
    match nil {
        Nil::Omit => args.push_optional(name, value),
        Nil::Send => args.push(name, value),
    }
}

fn describe<T: JsonSchema>(
    schema: FunctionSchema,
    name: &str,
    description: &str,
    presence: Presence,
) -> FunctionSchema {
    match presence {
        Presence::Required => schema.argument::<T>(name, description),
        Presence::Optional => schema.optional_argument::<T>(name, description),
        Presence::Default(value) => schema.argument_with_default::<T>(name, description, value),
    }
}

impl<'de, T> ArgumentCodec<'de, T> {
    /// Decodes an argument without a default. Callers may omit the argument if its type is an
    /// `Option`.
    pub fn required(self, args: &Arguments<'de>, index: usize) -> Result<T, WireError> {
        match (self.given)(args, index)?.or_else(self.absent) {
            Some(value) => Ok(value),
            None => (self.required)(args, index),
        }
    }

    /// Decodes an argument that callers must send, even if its type is an `Option`.
    pub fn sent(self, args: &Arguments<'de>, index: usize) -> Result<T, WireError> {
        match (self.given)(args, index)? {
            Some(value) => Ok(value),
            None => (self.required)(args, index),
        }
    }

    /// Decodes an argument with a default. If the type does not allow null, null means the default.
    /// A JavaScript caller passes `undefined` to skip an argument, and `undefined` arrives as null.
    pub fn or_else(
        self,
        args: &Arguments<'de>,
        index: usize,
        default: fn() -> T,
    ) -> Result<T, WireError> {
        match (self.given)(args, index) {
            Err(_) if args.is_null(index) => Ok(default()),
            given => Ok(given?.unwrap_or_else(default)),
        }
    }

    /// Encodes an argument without a default.
    pub fn push(self, args: &mut Args, name: &'static str, value: &T) {
        let optional = (self.absent)().is_some();
        let nil = if optional { Nil::Omit } else { Nil::Send };
        (self.push)(args, name, value, nil);
    }

    /// Encodes an argument that is never omitted. Sends nil explicitly, because the callee would
    /// use the default for an omitted argument, or refuse the call.
    pub fn push_always(self, args: &mut Args, name: &'static str, value: &T) {
        (self.push)(args, name, value, Nil::Send);
    }

    /// Adds an argument without a default to the schema.
    #[must_use]
    pub fn describe(self, schema: FunctionSchema, name: &str, description: &str) -> FunctionSchema {
        let optional = (self.absent)().is_some();
        let presence = if optional {
            Presence::Default(serde_json::Value::Null)
        } else {
            Presence::Required
        };
        (self.describe)(schema, name, description, presence)
    }

    /// Adds an argument that callers must send to the schema.
    #[must_use]
    pub fn describe_required(
        self,
        schema: FunctionSchema,
        name: &str,
        description: &str,
    ) -> FunctionSchema {
        (self.describe)(schema, name, description, Presence::Required)
    }

    /// Adds an argument with a default to the schema.
    pub fn describe_with_default(
        self,
        schema: FunctionSchema,
        name: &str,
        description: &str,
        default: T,
    ) -> FunctionSchema {
        // A non-finite number would become `null` in JSON, and `null` is not the default. In that
        // case, describe the argument as optional, without a default.
        let says = |json: &serde_json::Value| !json.is_null() || (self.absent)().is_some();
        let default = (self.to_json)(&default).filter(says);
        let presence = default.map_or(Presence::Optional, Presence::Default);
        (self.describe)(schema, name, description, presence)
    }
}

/// Deserializer for an omitted argument. Only a type that deserializes as an option accepts this
/// deserializer, including an alias or newtype of `Option`. A search for the word `Option` in the
/// contract would miss aliases and newtypes.
struct Absent;

impl<'de> Deserializer<'de> for Absent {
    type Error = Unfit;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unfit> {
        Err(Unfit::custom("absent"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Detects whether `T` is a `Result`, even through an alias. If `T` is a `Result`,
/// `Probe::<T>::FALLIBLE` is the inherent constant below. Otherwise, `FALLIBLE` is the constant of
/// the trait [`NotAResult`].
#[derive(Debug)]
pub struct Probe<T>(PhantomData<T>);

impl<T, E> Probe<Result<T, E>> {
    /// `T` is a `Result`.
    pub const FALLIBLE: bool = true;
}

/// Provides the constant for types that are not a `Result`. See [`Probe`].
pub trait NotAResult {
    /// `T` is not a `Result`.
    const FALLIBLE: bool = false;
}

impl<T> NotAResult for Probe<T> {}

/// Adds the return type of a method to the method's schema, if the return type has a schema. A
/// return type without a schema is allowed.
///
/// Generated code calls `result` or `items` on `&&&ReturnOf<T>`. Method lookup removes one
/// reference after another. Therefore it tries [`BytesReturn`] for `bytes::Bytes` first
/// (implemented for `&&&`), then [`SchemaReturn`] for types with a schema (`&&`), and then
/// [`AnyReturn`] for all other types (`&`). The traits are implemented for references, because the
/// methods take `self` by value, and only a reference can be copied out of another reference.
#[derive(Debug)]
pub struct ReturnOf<T>(PhantomData<T>);

impl<T> Clone for ReturnOf<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ReturnOf<T> {}

impl<T> ReturnOf<T> {
    /// Creates a value that represents the return type `T`.
    #[allow(clippy::new_without_default)]
    #[must_use]
    pub fn new() -> Self {
        ReturnOf(PhantomData)
    }
}

/// Adds `bytes::Bytes` to a schema. See [`ReturnOf`].
pub trait BytesReturn: Sized {
    /// The type that provides the schema.
    type Described: JsonSchema;

    /// Describes a result.
    fn result(self, schema: FunctionSchema) -> FunctionSchema {
        schema.returns::<Self::Described>()
    }

    /// Describes the items of a stream.
    fn items(self, schema: FunctionSchema) -> FunctionSchema {
        schema.returns_stream::<Self::Described>()
    }
}

impl BytesReturn for &&&ReturnOf<bytes::Bytes> {
    type Described = Binary;
}

impl BytesReturn for &&&ReturnOf<Option<bytes::Bytes>> {
    type Described = Option<Binary>;
}

#[cfg(feature = "ndarray")]
impl<T: Element, D: Dimension> BytesReturn for &&&ReturnOf<ndarray::Array<T, D>> {
    type Described = ArrayOf<T, D>;
}

#[cfg(feature = "ndarray")]
impl<T: Element, D: Dimension> BytesReturn for &&&ReturnOf<Option<ndarray::Array<T, D>>> {
    type Described = Option<ArrayOf<T, D>>;
}

/// Adds a return type that has a schema. See [`ReturnOf`].
pub trait SchemaReturn: Sized {
    /// The type that provides the schema.
    type Described: JsonSchema;

    /// Describes a result.
    fn result(self, schema: FunctionSchema) -> FunctionSchema {
        schema.returns::<Self::Described>()
    }

    /// Describes the items of a stream.
    fn items(self, schema: FunctionSchema) -> FunctionSchema {
        schema.returns_stream::<Self::Described>()
    }
}

impl<T: JsonSchema> SchemaReturn for &&ReturnOf<T> {
    type Described = T;
}

/// Accepts a return type without a schema. See [`ReturnOf`].
pub trait AnyReturn: Sized {
    /// Describes a result of a type without a schema.
    fn result(self, schema: FunctionSchema) -> FunctionSchema {
        schema
    }

    /// Describes the items of a stream as arbitrary values.
    fn items(self, schema: FunctionSchema) -> FunctionSchema {
        schema.returns_stream::<crate::Value>()
    }
}

impl<T> AnyReturn for &ReturnOf<T> {}

/// Adds the error type of a method to the method's schema. A type that cannot be an error is
/// accepted here, because rustc reports such a type where the error is encoded. Method lookup
/// prefers [`ErrorSchema`], which is implemented for `&&`, to [`AnyError`], which is implemented
/// for `&`.
#[derive(Debug)]
pub struct ErrorOf<T>(PhantomData<T>);

impl<T> ErrorOf<T> {
    /// Creates a value that represents the error type `T`.
    #[allow(clippy::new_without_default)]
    #[must_use]
    pub fn new() -> Self {
        ErrorOf(PhantomData)
    }
}

/// Adds an error type to a schema. See [`ErrorOf`].
pub trait ErrorSchema: Sized {
    /// Describes the error of a method.
    fn error(self, schema: FunctionSchema) -> FunctionSchema;
    /// Describes the error that can end a stream.
    fn stream_error(self, schema: FunctionSchema) -> FunctionSchema;
}

impl<T: ServiceError> ErrorSchema for &&ErrorOf<T> {
    fn error(self, schema: FunctionSchema) -> FunctionSchema {
        schema.error::<T>()
    }

    fn stream_error(self, schema: FunctionSchema) -> FunctionSchema {
        schema.stream_error::<T>()
    }
}

/// Accepts a type that cannot be an error. See [`ErrorOf`].
pub trait AnyError: Sized {
    /// Adds nothing.
    fn error(self, schema: FunctionSchema) -> FunctionSchema {
        schema
    }

    /// Adds nothing.
    fn stream_error(self, schema: FunctionSchema) -> FunctionSchema {
        schema
    }
}

impl<T> AnyError for &ErrorOf<T> {}

/// Converts the output of a method to a `Result`. For an output that is not a `Result`, the error
/// type has no values.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Result`",
    label = "expected a `Result`",
    note = "return a stream directly or in a `Result`; inside of other types, return `RemoteStream::new(stream)`"
)]
pub trait Output<const FALLIBLE: bool> {
    /// Type of the result.
    type Ok;
    /// Type of the error.
    type Error;

    /// Returns the `Result`.
    fn into_result(self) -> Result<Self::Ok, Self::Error>;
}

impl<T> Output<false> for T {
    type Ok = T;
    type Error = Infallible;

    fn into_result(self) -> Result<T, Infallible> {
        Ok(self)
    }
}

impl<T, E> Output<true> for Result<T, E> {
    type Ok = T;
    type Error = E;

    fn into_result(self) -> Result<T, E> {
        self
    }
}

/// Returns the output of a method as a `Result`.
pub fn into_result<T, const FALLIBLE: bool>(output: T) -> Result<T::Ok, T::Error>
where
    T: Output<FALLIBLE>,
{
    output.into_result()
}

/// Return type that must be a `Result`. Either the contract writes the type as `Result<T, E>`, or
/// the return type contains a stream.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `Result`",
    label = "expected a `Result`",
    note = "if the type is named `Result`, use another name for it in this contract, for example with `use .. as ..`",
    note = "return a stream directly or in a `Result`; inside of other types, return `RemoteStream::new(stream)`"
)]
pub trait WrittenResult<T, E> {
    /// Returns the value itself.
    fn into_result(self) -> Result<T, E>;
}

impl<T, E> WrittenResult<T, E> for Result<T, E> {
    fn into_result(self) -> Result<T, E> {
        self
    }
}

/// Returns the output of a method whose return type must be a `Result`.
pub fn written_result<W: WrittenResult<T, E>, T, E>(output: W) -> Result<T, E> {
    output.into_result()
}

/// Puts the implementation of a service into an `Arc`. All calls of the service share this `Arc`.
pub fn shared<T: Implementation>(implementation: T) -> std::sync::Arc<T> {
    std::sync::Arc::new(implementation)
}

/// Type that can serve concurrent calls on any thread.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a service",
    label = "calls run at the same time, on any thread",
    note = "put state that changes behind a lock, such as `std::sync::Mutex`"
)]
pub trait Implementation: Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Send + Sync + 'static> Implementation for T {}

/// Encodes the result of a method.
pub fn reply<T: ServiceResult>(incoming: &IncomingCall, value: &T) -> Result<Args, WireError> {
    incoming.reply(value)
}

/// Selects how a result of a type named `Bytes` or `Array` is encoded. For `bytes::Bytes` and
/// `ndarray::Array`, `reply` is an inherent function, which takes precedence over the function of
/// the trait [`AnyResult`]. serde would copy the data of these types.
#[derive(Debug)]
pub struct ResultOf<T>(PhantomData<T>);

impl ResultOf<bytes::Bytes> {
    /// Encodes bytes. A large value is not copied into the message.
    pub fn reply(incoming: &IncomingCall, value: &bytes::Bytes) -> Result<Args, WireError> {
        incoming.reply(&Binary(value.clone()))
    }
}

#[cfg(feature = "ndarray")]
impl<T: Element, D: Dimension> ResultOf<ndarray::Array<T, D>> {
    /// Encodes the elements as one block of bytes, not one by one.
    pub fn reply(incoming: &IncomingCall, value: &ndarray::Array<T, D>) -> Result<Args, WireError> {
        incoming.reply(&NdArray::from(value))
    }
}

/// Encodes a result of any other type named `Bytes` or `Array`. See [`ResultOf`].
pub trait AnyResult<T> {
    /// Encodes the value with serde.
    fn reply(incoming: &IncomingCall, value: &T) -> Result<Args, WireError>
    where
        T: ServiceResult,
    {
        incoming.reply(value)
    }
}

impl<T> AnyResult<T> for ResultOf<T> {}

/// Encodes the error of a method.
pub fn fail<E: ServiceError, T>(incoming: &IncomingCall, error: E) -> Result<T, WireError> {
    Err(incoming.fail(error))
}
