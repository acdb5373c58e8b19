//! EXTRA, the second map of a message: the arguments of a call and how it is to be answered.
//!
//! Only `args`, `with_kwargs`, `promise`, `t`, `_enc` and `data` are looked at. Whatever else a
//! peer puts there, such as another `from`, cannot take the place of what the server wrote.

use rmp::Marker;
use serde::Deserialize;

use super::decode::{Decoder, Token, from_slice, from_span};
use super::decode_error::DecodeError;
use super::method::MethodRef;

/// What a received message carries besides its routing.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// The arguments.
    pub args: IncomingArgs,
    /// How the caller wants to be answered, if at all.
    pub promise: Option<Promise>,
    /// The heartbeat interval in seconds that goes with [`Promise::Star`] (`t`).
    pub interval: Option<f64>,
    /// The raw msgpack of `data`: the ciphertext, if `encrypted`.
    pub data: Option<bytes::Bytes>,
    /// Whether `data` is an encrypted EXTRA (`_enc`).
    pub encrypted: bool,
}

/// How a call is to be answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Promise {
    /// At `<session>.heartbeat`, `.resolve` and `.reject` of the caller.
    Star,
    /// At functions that are spelled out.
    Full(Box<FullPromise>),
}

/// The functions by which a call is answered.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct FullPromise {
    /// Called every `interval` while the call runs.
    pub heartbeat: Option<MethodRef>,
    /// In seconds.
    pub interval: Option<f64>,
    /// Called with the result.
    pub resolve: MethodRef,
    /// Called with the error.
    pub reject: MethodRef,
}

/// Most arguments in one call.
const MAX_ARGS: u32 = 65_536;

/// Longest heartbeat interval, in seconds.
const MAX_INTERVAL: f64 = 1e9;

/// Where a value lies in EXTRA.
type Span = (usize, usize);

#[derive(Clone, Debug)]
struct Named {
    name: String,
    span: Span,
}

impl Extra {
    /// Read an EXTRA map, as it follows MAIN or comes out of decryption. No bytes mean an empty
    /// one, and whatever follows the map is ignored.
    pub fn parse(raw: bytes::Bytes) -> Result<Extra, DecodeError> {
        let mut extra = Extra::default();
        if raw.is_empty() {
            return Ok(extra);
        }
        let mut decoder = Decoder::of_message(&raw, 0);
        let Token::Map(len) = decoder.token()? else {
            return Err(DecodeError::new(
                "the second part of the message is not a map",
            ));
        };
        let (mut positional, mut with_kwargs) = (Vec::new(), false);
        for _ in 0..len {
            let key = decoder.key()?;
            let read = if key == "args" {
                args(&mut decoder).map(|spans| positional = spans)
            } else {
                value(&mut decoder).and_then(|(start, end)| {
                    let value = raw.slice(start..end);
                    match key {
                        "with_kwargs" => with_kwargs = flag(&value)?,
                        "promise" => extra.promise = promise(&value)?,
                        "t" => extra.interval = seconds(from_slice(&value)?)?,
                        "_enc" => extra.encrypted = !is_nil_or_false(&value),
                        "data" => extra.data = Some(value),
                        _ => {}
                    }
                    Ok(())
                })
            };
            read.map_err(|error| error.in_key(key))?;
        }
        let mut named = Vec::new();
        if with_kwargs {
            let last = positional.pop();
            named = last.map_or_else(|| Err(no_kwargs()), |span| kwargs(&raw, span))?;
        }
        extra.args = IncomingArgs {
            frame: raw,
            positional,
            named,
        };
        Ok(extra)
    }
}

/// Pass over one value.
fn value(decoder: &mut Decoder<'_>) -> Result<Span, DecodeError> {
    let start = decoder.pos;
    decoder.skip()?;
    Ok((start, decoder.pos))
}

fn args(decoder: &mut Decoder<'_>) -> Result<Vec<Span>, DecodeError> {
    match decoder.token()? {
        Token::List(len) => checked_len(len)?.map(|_| value(decoder)).collect(),
        other => Err(DecodeError::expected("list", other.kind())),
    }
}

fn kwargs(raw: &bytes::Bytes, (start, _): Span) -> Result<Vec<Named>, DecodeError> {
    let mut decoder = Decoder::of_message(raw, start);
    let Token::Map(len) = decoder.token()? else {
        return Err(no_kwargs());
    };
    let entry = |_| {
        Ok(Named {
            name: decoder.key()?.to_owned(),
            span: value(&mut decoder)?,
        })
    };
    checked_len(len)?.map(entry).collect()
}

fn no_kwargs() -> DecodeError {
    DecodeError::new("keyword arguments must be a map")
}

fn checked_len(len: u32) -> Result<std::ops::Range<u32>, DecodeError> {
    if len > MAX_ARGS {
        return Err(DecodeError::new(format!(
            "{len} arguments are more than {MAX_ARGS}"
        )));
    }
    Ok(0..len)
}

fn flag(value: &bytes::Bytes) -> Result<bool, DecodeError> {
    Ok(from_slice::<Option<bool>>(value)?.unwrap_or(false))
}

/// What `_enc` says is read by whoever decrypts; here its presence matters.
fn is_nil_or_false(value: &[u8]) -> bool {
    value == [Marker::Null.to_u8()] || value == [Marker::False.to_u8()]
}

fn promise(value: &bytes::Bytes) -> Result<Option<Promise>, DecodeError> {
    match Decoder::of_message(value, 0).token()? {
        Token::Nil | Token::Bool(false) => Ok(None),
        Token::Str(b"*") => Ok(Some(Promise::Star)),
        Token::Map(_) => {
            let full: Box<FullPromise> = from_slice(value)?;
            seconds(full.interval).map_err(|error| error.in_key("interval"))?;
            Ok(Some(Promise::Full(full)))
        }
        other => Err(DecodeError::expected("\"*\" or a map", other.kind())),
    }
}

/// An interval that a timer can be set to.
fn seconds(value: Option<f64>) -> Result<Option<f64>, DecodeError> {
    match value {
        Some(value) if !(0.0..=MAX_INTERVAL).contains(&value) => {
            Err(DecodeError::expected("a number of seconds", value))
        }
        value => Ok(value),
    }
}

/// The arguments of a received call. They stay undecoded in the message until they are asked for.
#[derive(Clone, Debug, Default)]
pub struct IncomingArgs {
    frame: bytes::Bytes,
    positional: Vec<Span>,
    named: Vec<Named>,
}

impl IncomingArgs {
    /// How many were given by position.
    pub fn positional(&self) -> usize {
        self.positional.len()
    }

    /// The names of those given by name, in the order sent. A name sent twice comes twice.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|named| named.name.as_str())
    }

    /// The msgpack of the argument at `index`.
    pub fn raw(&self, index: usize) -> Option<bytes::Bytes> {
        let &(start, end) = self.positional.get(index)?;
        Some(self.frame.slice(start..end))
    }

    /// The msgpack of the argument called `name`.
    pub fn raw_named(&self, name: &str) -> Option<bytes::Bytes> {
        let (start, end) = self.span_of(name)?;
        Some(self.frame.slice(start..end))
    }

    /// The argument at `index`, borrowing from the message.
    pub fn get<'a, T: Deserialize<'a>>(&'a self, index: usize) -> Option<Result<T, DecodeError>> {
        let &(start, end) = self.positional.get(index)?;
        Some(from_span(&self.frame, start, end))
    }

    /// The argument called `name`, borrowing from the message.
    pub fn get_named<'a, T: Deserialize<'a>>(
        &'a self,
        name: &str,
    ) -> Option<Result<T, DecodeError>> {
        let (start, end) = self.span_of(name)?;
        Some(from_span(&self.frame, start, end))
    }

    /// As in any map, the last of several with one name counts.
    fn span_of(&self, name: &str) -> Option<Span> {
        self.named
            .iter()
            .rev()
            .find(|named| named.name == name)
            .map(|named| named.span)
    }
}
