//! Typed functions as values.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::mpsc;

use super::{Call, Function};
use crate::error::ServiceError;
use crate::schema::reversed;
use crate::service::IncomingCall;
use hypha_wire::{Args, EncodeError, Packed, WireError};

/// Typed function that can be an argument or a result of a call. The sender creates the callback
/// from a closure, and the receiver calls the callback.
///
/// A callback may be part of a struct, list or map. `A` is the type of the argument. If `A` is a
/// tuple, the callback has several arguments. If `A` is `()`, the callback has no arguments. If `A`
/// is an array, the callback also has several arguments: to pass an array as one argument, wrap the
/// array in a tuple, as in `Callback<([f64; 2],)>`. `R` is the type of the result, and `E` is the
/// type of the error. [`Function`] documents the lifetime of callbacks.
///
/// # Examples
///
/// ```
/// use hypha_rpc::prelude::*;
///
/// /// Trains models.
/// #[hypha_service]
/// trait Trainer {
///     /// Train a model.
///     async fn train(&self, epochs: u32, on_loss: Callback<(u32, f32)>) -> anyhow::Result<()>;
/// }
///
/// struct Desk;
/// impl Trainer for Desk {
///     async fn train(&self, epochs: u32, on_loss: Callback<(u32, f32)>) -> anyhow::Result<()> {
///         for epoch in 0..epochs {
///             on_loss.call((epoch, 1.0 / (epoch + 1) as f32)).await?;
///         }
///         Ok(())
///     }
/// }
///
/// # async fn example(trainer: TrainerProxy) -> Result<(), hypha_rpc::Error> {
/// let print = Callback::new(|(epoch, loss)| async move { println!("{epoch}: {loss}") });
/// trainer.train(3, print).await.map_err(|e| e.untyped())?;
/// # Ok(())
/// # }
/// ```
pub struct Callback<A, R = (), E = Infallible> {
    function: Function,
    types: PhantomData<fn(A) -> Result<R, E>>,
}

/// Trait of the future that the closure of a callback returns. All futures implement this trait.
/// The trait exists only to improve the error message of the compiler.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the closure of a callback must return a future, and `{Self}` is not a future",
    label = "this closure is not asynchronous",
    note = "write `|argument| async move {{ .. }}`"
)]
pub trait CallbackFuture: Future {}

#[diagnostic::do_not_recommend]
impl<F: Future> CallbackFuture for F {}

impl<A, R> Callback<A, R>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    /// Creates a callback that runs `run` for every call. `run` returns a future, such as
    /// `|argument| async move { .. }`.
    ///
    /// Calls start in order of arrival and run concurrently. If the closure panics, only the call
    /// that caused the panic fails.
    pub fn new<F, Fut>(run: F) -> Self
    where
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: CallbackFuture<Output = R> + Send + 'static,
    {
        Self::local(move |call: &IncomingCall| Ok(run(parameters(call)?)), Ok)
    }
}

impl<A, R, E> Callback<A, R, E>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    /// Creates a callback from a closure that returns a `Result`. An `Err` becomes the error of the
    /// call.
    ///
    /// If no contract determines the types, specify the types: `Callback::<i64, i64>::try_new(..)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use hypha_rpc::Callback;
    ///
    /// let root = Callback::<f64, f64>::try_new(|n| async move {
    ///     if n < 0.0 { Err(format!("{n} is negative")) } else { Ok(n.sqrt()) }
    /// });
    /// # let _ = root;
    /// ```
    pub fn try_new<F, Fut, F2>(run: F) -> Self
    where
        F: Fn(A) -> Fut + Send + Sync + 'static,
        Fut: CallbackFuture<Output = Result<R, F2>> + Send + 'static,
        F2: ServiceError + 'static,
    {
        Self::local(
            move |call: &IncomingCall| Ok(run(parameters(call)?)),
            |result: Result<R, F2>| result.map_err(ServiceError::to_wire),
        )
    }

    fn local<F, Fut>(begin: F, end: fn(Fut::Output) -> Result<R, WireError>) -> Self
    where
        F: Fn(&IncomingCall) -> Result<Fut, WireError> + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: 'static,
    {
        let function = Function::new(move |call| {
            let run = begin(&call);
            async move { call.reply(&end(run?.await)?) }
        });
        Callback {
            function,
            types: PhantomData,
        }
    }

    /// Calls the function. The request is sent when the returned [`Call`] is awaited.
    ///
    /// # Errors
    ///
    /// Awaiting the call fails with the [`Error`](crate::Error) of the function. If the function no
    /// longer exists, awaiting fails with
    /// [`RejectKind::Expired`](crate::error::RejectKind::Expired). [`Call::send`] reports neither
    /// of these errors.
    ///
    /// # Cancellation
    ///
    /// Dropping the call abandons the request; see [`Call`].
    pub fn call(&self, args: A) -> Call<R, E> {
        match packed(&args) {
            Ok(args) => self.function.typed(args),
            Err(e) => Call::invalid(e.to_string()),
        }
    }
}

impl<A> Callback<A>
where
    A: Serialize + DeserializeOwned + Send + 'static,
{
    /// Creates a callback and a channel. The channel receives the calls of the callback in order of
    /// arrival.
    ///
    /// If `capacity` calls are queued, further calls wait for room. After the receiver of the
    /// channel is dropped, calls fail.
    ///
    /// # Panics
    ///
    /// Panics if `capacity` is zero.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use hypha_rpc::{args, Callback, RemoteService};
    /// # async fn example(trainer: RemoteService) -> Result<(), hypha_rpc::Error> {
    /// let (on_loss, mut losses) = Callback::<(u32, f32)>::channel(16);
    /// let training = tokio::spawn(trainer.call::<()>("train", args!(10, on_loss)));
    /// while let Some((epoch, loss)) = losses.recv().await {
    ///     println!("{epoch}: {loss}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<A>) {
        let (sender, receiver) = mpsc::channel(capacity);
        // The lock is a queue of the calls that wait for room. Without it, several calls could get
        // room at the same time, and put their arguments into the channel in any order.
        let sender = Arc::new(tokio::sync::Mutex::new(sender));
        let callback = Self::try_new(move |args| {
            let sender = Arc::clone(&sender);
            async move {
                let sent = sender.lock().await.send(args).await;
                sent.map_err(|_| "the receiver of this callback was dropped".to_owned())
            }
        });
        (callback, receiver)
    }
}

impl<A, R, E> Callback<A, R, E> {
    /// Sets a name for the callback. The peer that receives the callback can show this name to
    /// users.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Callback {
            function: self.function.named(name),
            types: PhantomData,
        }
    }

    /// Returns the untyped function.
    #[must_use]
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Converts an untyped function to a callback. The types are not checked here. If the arguments
    /// of a call have other types, the owner of the function rejects the call.
    #[must_use]
    pub fn from_function(function: Function) -> Self {
        Callback {
            function,
            types: PhantomData,
        }
    }
}

/// Shape of a type. The shape determines how many arguments are sent for a value of the type.
enum Shape {
    None,
    One,
    Many(usize),
}

/// Deserializer that determines the shape of a type. The type calls one `deserialize_*` method of
/// the deserializer. This method returns the shape as an error, so the type creates no value.
struct Probe;

#[derive(Debug)]
struct Answer(Shape);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shape of a type")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shape")
    }
}

impl std::error::Error for Answer {}

impl de::Error for Answer {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Answer(Shape::One)
    }
}

impl<'de> Deserializer<'de> for Probe {
    type Error = Answer;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Answer> {
        Err(Answer(Shape::One))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Answer> {
        Err(Answer(Shape::None))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, _: V) -> Result<V::Value, Answer> {
        Err(Answer(Shape::Many(len)))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit_struct newtype_struct seq tuple_struct map struct enum identifier ignored_any
    }
}

fn shape<A: DeserializeOwned>() -> Shape {
    match A::deserialize(Probe) {
        Err(Answer(shape)) => shape,
        Ok(_) => Shape::One,
    }
}

/// Encodes the arguments of a call according to the shape of `A`.
fn packed<A: Serialize + DeserializeOwned>(args: &A) -> Result<Args, EncodeError> {
    let packed = Packed::new(args)?;
    Ok(match shape::<A>() {
        Shape::None => Args::new(0, 0),
        Shape::One => {
            let mut args = Args::new(1, 0);
            args.push_packed(packed);
            args
        }
        Shape::Many(count) => Args::from_list(packed, count),
    })
}

/// Decodes the arguments of an incoming call according to the shape of `A`.
pub(crate) fn parameters<A: DeserializeOwned + 'static>(
    call: &IncomingCall,
) -> Result<A, WireError> {
    match shape::<A>() {
        Shape::None => {
            call.expect(0)?;
            let nothing = Packed::new(&()).map_err(|e| WireError::new(e.to_string()))?;
            nothing.decode().map_err(|e| call.invalid(e.to_string()))
        }
        Shape::One => {
            call.expect(1)?;
            match super::shared(call.raw_args(), 0) {
                Some(value) => value.map_err(|e| call.invalid(format!("argument 1: {e}"))),
                None => Err(call.invalid("missing argument 1".into())),
            }
        }
        Shape::Many(count) => {
            call.expect(count)?;
            let all = call.raw_args().as_tuple();
            all.map_err(|e| call.invalid(format!("the arguments: {e}")))
        }
    }
}

impl<A, R, E> Clone for Callback<A, R, E> {
    fn clone(&self) -> Self {
        Callback {
            function: self.function.clone(),
            types: PhantomData,
        }
    }
}

impl<A, R, E> fmt::Debug for Callback<A, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Callback").field(&self.function).finish()
    }
}

impl<A, R, E> Serialize for Callback<A, R, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.function.serialize(serializer)
    }
}

impl<'de, A, R, E> Deserialize<'de> for Callback<A, R, E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Function::deserialize(deserializer).map(Self::from_function)
    }
}

impl<A, R, E> JsonSchema for Callback<A, R, E>
where
    A: JsonSchema + DeserializeOwned,
    R: JsonSchema,
    E: ServiceError,
{
    fn schema_name() -> Cow<'static, str> {
        Function::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        std::any::type_name::<Self>().into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut arguments = Vec::new();
        reversed(generator, &mut |generator| {
            arguments = argument_schemas::<A>(generator);
        });
        crate::schema::function::<R, E>(arguments, generator)
    }
}

/// Returns the schemas of the arguments into which a value of type `A` is split.
fn argument_schemas<A: JsonSchema + DeserializeOwned>(
    generator: &mut SchemaGenerator,
) -> Vec<serde_json::Value> {
    let count = match shape::<A>() {
        Shape::None => return Vec::new(),
        Shape::One => return vec![crate::schema::subschema::<A>(generator).to_value()],
        Shape::Many(count) => count,
    };
    let mut whole = crate::schema::subschema::<A>(generator);
    match whole.remove("prefixItems") {
        Some(serde_json::Value::Array(items)) if items.len() == count => items,
        // The type is an array, or the type has a schema of its own.
        _ => vec![
            whole
                .remove("items")
                .unwrap_or_else(|| serde_json::json!({}));
            count
        ],
    }
}
