//! Gives a handler access to one incoming call: to the context and the arguments, and to methods
//! that encode the response.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::Context;
use crate::error::{RejectKind, ServiceError};
use hypha_wire::{Args, Binary, DecodeError, IncomingArgs, Value, WireError};

/// Null as msgpack.
const NULL: u8 = 0xc0;

/// Incoming call of a method. Contains the context and the encoded arguments of the call.
///
/// The handler of a [`Method`](super::Method) receives this value. This value owns the received
/// frame, so arguments such as `&str` and `&[u8]` can borrow from the frame without a copy.
///
/// # Examples
///
/// ```
/// use hypha_rpc::service::{IncomingCall, Method};
///
/// // `scale(values, factor = 1.0)`
/// let scale = Method::new("scale", |call: IncomingCall| async move {
///     let args = call.args(&["values", "factor"])?;
///     let values: Vec<f64> = args.required(0)?;
///     let factor = args.optional(1)?.unwrap_or(1.0);
///     if values.is_empty() {
///         return Err(call.fail("no values".to_owned()));
///     }
///     call.reply(&values.iter().map(|value| value * factor).collect::<Vec<_>>())
/// });
/// ```
#[derive(Debug)]
pub struct IncomingCall {
    context: Context,
    args: IncomingArgs,
    label: String,
    /// Decoded bytes of each parameter, if these bytes are not a slice of the frame. For example, a
    /// caller can send bytes as a list of numbers.
    kept: OnceLock<Box<[OnceLock<Binary>]>>,
}

impl IncomingCall {
    pub(crate) fn new(context: Context, args: IncomingArgs, label: String) -> Self {
        IncomingCall {
            context,
            args,
            label,
            kept: OnceLock::new(),
        }
    }

    /// Returns the context of the call: the caller and its permissions.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Returns `service.method`, for logs and error messages.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Returns the received arguments, without matching them to parameters.
    pub fn raw_args(&self) -> &IncomingArgs {
        &self.args
    }

    /// Matches the arguments to the parameters of the method, by position and by name.
    ///
    /// # Errors
    ///
    /// Returns an error if there are more positional arguments than parameters, if an argument has
    /// an unknown name, or if a parameter is given twice. The error names the argument. If the
    /// handler returns the error, the caller receives it as [`RejectKind::InvalidArguments`].
    pub fn args<'a>(&'a self, names: &'static [&'static str]) -> Result<Arguments<'a>, WireError> {
        let positional = self.args.positional();
        if positional > names.len() {
            let takes = match names.len() {
                0 => "takes no arguments".to_owned(),
                1 => format!("takes 1 argument ({})", names[0]),
                n => format!("takes {n} arguments ({})", names.join(", ")),
            };
            return Err(self.invalid(format!("{takes}, got {positional}")));
        }
        for name in self.args.names() {
            match names.iter().position(|known| *known == name) {
                None => {
                    let expected = if names.is_empty() {
                        "none".into()
                    } else {
                        names.join(", ")
                    };
                    return Err(
                        self.invalid(format!("unknown argument `{name}` (expected: {expected})"))
                    );
                }
                Some(index) if index < positional => {
                    return Err(self.invalid(format!(
                        "argument `{name}` is given twice, by position and by name"
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(Arguments { call: self, names })
    }

    /// Encodes the result.
    ///
    /// # Errors
    ///
    /// Currently never fails. If the value cannot be sent, such as a map with keys that are not
    /// strings, the library detects the problem later. The caller then receives an error with the
    /// reason.
    pub fn reply<T: Serialize + ?Sized>(&self, value: &T) -> Result<Args, WireError> {
        let mut args = Args::new(1, 0);
        args.push("result", value);
        Ok(args)
    }

    /// Encodes an error of the method. The handler then returns the encoded error.
    pub fn fail<E: ServiceError>(&self, error: E) -> WireError {
        error.to_wire()
    }

    /// Checks that there are exactly `count` arguments and that all of them are positional.
    /// Callbacks use this method, because the parameters of a callback have no names.
    pub(crate) fn expect(&self, count: usize) -> Result<(), WireError> {
        if let Some(name) = self.args.names().next() {
            return Err(self.invalid(format!("takes no argument by name, got `{name}`")));
        }
        let given = self.args.positional();
        if given == count {
            return Ok(());
        }
        let plural = if count == 1 { "" } else { "s" };
        Err(self.invalid(format!("takes {count} argument{plural}, got {given}")))
    }

    /// Decodes all arguments as values. Returns the positional arguments, followed by the named
    /// arguments with their names.
    pub(crate) fn values(&self) -> Result<Vec<(Option<String>, Value)>, WireError> {
        let read = |value: Option<Result<Value, _>>| {
            let value = value.unwrap_or(Ok(Value::Null));
            value.map_err(|e: hypha_wire::DecodeError| self.invalid(e.to_string()))
        };
        let mut values = Vec::new();
        for index in 0..self.args.positional() {
            values.push((None, read(self.args.get(index))?));
        }
        for name in self.args.names() {
            values.push((Some(name.to_owned()), read(self.args.get_named(name))?));
        }
        Ok(values)
    }

    /// Creates the error that rejects a call with invalid arguments. `what` describes the fault.
    pub(crate) fn invalid(&self, what: String) -> WireError {
        refusal(
            RejectKind::InvalidArguments,
            "TypeError",
            format!("{}: {what}", self.label),
        )
    }
}

/// Creates the error that rejects a call before the method runs. The error has the form of a
/// rejection by a Python client. Its trace contains `class`, because clients in other languages
/// read the error class from the trace (`docs/protocol/02-messages.md#s8`).
pub(crate) fn refusal(kind: RejectKind, class: &str, message: String) -> WireError {
    let trace = format!("{class}: {message}\n");
    let mut wire = WireError::new(message);
    wire.trace = trace;
    wire.name = Some(kind.wire_name().into());
    wire
}

/// Arguments of one call, matched to the method's parameters. Returned by [`IncomingCall::args`].
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    call: &'a IncomingCall,
    names: &'static [&'static str],
}

impl<'a> Arguments<'a> {
    /// Decodes the argument of the parameter with this index.
    ///
    /// # Errors
    ///
    /// Fails if the argument is missing or has another type. The error names the service, the
    /// method, the parameter and the position inside the value.
    pub fn required<T: Deserialize<'a>>(&self, index: usize) -> Result<T, WireError> {
        match self.optional(index)? {
            Some(value) => Ok(value),
            None => Err(self.call.invalid(format!(
                "missing argument `{}` (expected: {})",
                self.name(index),
                self.names.join(", ")
            ))),
        }
    }

    /// Decodes the argument of the parameter with this index. Returns `None` if the caller omitted
    /// the argument.
    ///
    /// Null counts as a given argument. Decode an `Option<T>` if callers may send null.
    ///
    /// # Errors
    ///
    /// Fails if the argument has another type.
    pub fn optional<T: Deserialize<'a>>(&self, index: usize) -> Result<Option<T>, WireError> {
        self.located(index, |error, _| error)
    }

    /// Decodes like [`optional`](Self::optional). If decoding fails, calls `locate` with the error
    /// and the whole value, and returns the error that `locate` returns. This error may be more
    /// precise.
    pub(crate) fn located<T: Deserialize<'a>>(
        &self,
        index: usize,
        locate: impl FnOnce(DecodeError, &Value) -> DecodeError,
    ) -> Result<Option<T>, WireError> {
        self.raw(index).transpose().map_err(|error| {
            let error = match self.raw::<Value>(index) {
                Some(Ok(value)) => locate(error, &value),
                _ => error,
            };
            let error = error.in_key(self.name(index));
            self.call
                .invalid(format!("argument `{}`: {}", error.path(), error.message()))
        })
    }

    /// Decodes an argument that contains bytes, in any form that [`Binary`] accepts.
    pub(crate) fn bytes(
        &self,
        index: usize,
        locate: impl FnOnce(DecodeError, &Value) -> DecodeError,
    ) -> Result<Option<&'a [u8]>, WireError> {
        match self.raw(index) {
            Some(Ok(bytes)) => Ok(Some(bytes)),
            _ => {
                let made = self.located(index, locate)?;
                Ok(made.and_then(|bytes| self.keep(index, bytes)))
            }
        }
    }

    /// Decodes an argument that contains bytes or null.
    #[expect(clippy::option_option, reason = "left out, null, or bytes")]
    pub(crate) fn optional_bytes(
        &self,
        index: usize,
        locate: impl FnOnce(DecodeError, &Value) -> DecodeError,
    ) -> Result<Option<Option<&'a [u8]>>, WireError> {
        match self.raw(index) {
            Some(Ok(bytes)) => Ok(Some(bytes)),
            _ => {
                let made: Option<Option<Binary>> = self.located(index, locate)?;
                Ok(made.map(|made| made.and_then(|bytes| self.keep(index, bytes))))
            }
        }
    }

    fn keep(&self, index: usize, bytes: Binary) -> Option<&'a [u8]> {
        let empty = || self.names.iter().map(|_| OnceLock::new()).collect();
        let place = self.call.kept.get_or_init(empty).get(index)?;
        Some(place.get_or_init(|| bytes))
    }

    /// Returns whether the caller gave null for the parameter with this index.
    pub(crate) fn is_null(&self, index: usize) -> bool {
        let args = &self.call.args;
        let given = args.raw(index).or_else(|| args.raw_named(self.name(index)));
        given.is_some_and(|raw| raw[..] == [NULL])
    }

    fn raw<T: Deserialize<'a>>(&self, index: usize) -> Option<Result<T, DecodeError>> {
        let args = &self.call.args;
        args.get(index).or_else(|| args.get_named(self.name(index)))
    }

    fn name(&self, index: usize) -> &'static str {
        self.names.get(index).copied().unwrap_or("?")
    }
}
