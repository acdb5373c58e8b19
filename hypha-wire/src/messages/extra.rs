//! Second segment of a message (EXTRA): the arguments of a call and the form of the response.
//!
//! The parser reads only `args`, `with_kwargs`, `promise`, `t`, `_enc` and `data`, and skips all
//! other keys. Otherwise a peer could add a `from` to this segment that replaces the `from` of the
//! first segment, which the server has verified.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, SeqAccess, Visitor};

use crate::keys;
use crate::values::binary::Binary;
use crate::values::decode::{Decoder, Token, from_origin, from_slice};
use crate::values::decode_error::DecodeError;
use crate::values::memory::{MAX_DECODED_BYTES, Meter, PeerMemory};
use crate::values::method::MethodRef;
use crate::values::raw::RawValue;
use crate::values::scope::{Origin, Scope};
use crate::values::value::Handle;

/// Content of the second segment of a received message.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Arguments of the call.
    pub args: IncomingArgs,
    /// Form of the response, if the caller expects a response.
    pub promise: Option<Promise>,
    /// Heartbeat interval in seconds (`t`), given with [`Promise::Star`].
    pub interval: Option<f64>,
    /// Raw msgpack of `data`, the content of an event.
    pub data: Option<bytes::Bytes>,
    /// Encrypted second segment (`_enc`). If the segment is encrypted, ignore the other fields,
    /// because anyone between the sender and this program could have added them.
    pub encrypted: Option<EncryptedExtra>,
}

/// Encrypted second segment as received (`docs/protocol/07-auth-login-encryption.md`). The lengths
/// and the content are not verified until the segment is decrypted.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
pub struct EncryptedExtra {
    /// Version of the encryption (`v`).
    #[serde(rename = "v")]
    pub version: u64,
    /// Public key of the sender (`pub`); 32 bytes if valid.
    #[serde(rename = "pub", default)]
    pub sender: Binary,
    /// Nonce of the encryption (`nonce`).
    #[serde(default)]
    pub nonce: Binary,
    /// Ciphertext. On the wire, the entry `data` is beside `_enc`, not inside it.
    #[serde(skip)]
    pub data: Binary,
}

impl EncryptedExtra {
    /// Returns the bytes of an encrypted second segment that precede its ciphertext. The buffer has
    /// room for the ciphertext of `len` bytes, so that appending the ciphertext does not reallocate
    /// the buffer.
    #[must_use]
    pub fn head(version: u64, sender: &[u8], nonce: &[u8], len: u32) -> Vec<u8> {
        use crate::pack::{put_bin, put_bin_head, put_map_head, put_str, put_uint};
        let mut out = Vec::with_capacity(96 + len as usize);
        put_map_head(&mut out, 2);
        put_str(&mut out, keys::ENC);
        put_map_head(&mut out, 3);
        put_str(&mut out, "v");
        put_uint(&mut out, version);
        put_str(&mut out, "pub");
        put_bin(&mut out, sender);
        put_str(&mut out, "nonce");
        put_bin(&mut out, nonce);
        put_str(&mut out, "data");
        put_bin_head(&mut out, len);
        out
    }
}

/// Form of the response that the caller expects: the `promise` entry of the second segment.
#[derive(Clone, Debug, PartialEq)]
pub enum Promise {
    /// Responses go to `<session>.heartbeat`, `.resolve` and `.reject` of the caller (`"*"`).
    Star,
    /// Responses go to methods that the message contains explicitly.
    Full(Box<FullPromise>),
}

/// Methods that receive the responses to a call.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
pub struct FullPromise {
    /// Called every `interval` while the call runs.
    pub heartbeat: Option<MethodRef>,
    /// Heartbeat interval in seconds.
    pub interval: Option<f64>,
    /// Called with the result.
    pub resolve: MethodRef,
    /// Called with the error.
    pub reject: MethodRef,
}

/// Maximum number of arguments of one call. One byte on the wire is enough for an argument, but
/// each argument needs 16 bytes of memory for its span.
const MAX_ARGS: u32 = 65_536;

/// Maximum heartbeat interval, in seconds (31 years). A longer interval would overflow the
/// arithmetic of timers. Infinity and NaN are not valid intervals.
const MAX_INTERVAL: f64 = 1e9;

/// Start and end of a value in the second segment.
type Span = (usize, usize);

/// Keyword argument that is not decoded yet.
#[derive(Clone, Debug)]
struct NamedArg {
    name: String,
    span: Span,
}

impl Extra {
    /// Parses a second segment, as received or decrypted. The arguments are scanned, but not
    /// decoded.
    ///
    /// An empty slice counts as an empty segment, because the Python client omits an empty segment.
    /// Bytes after the map are ignored, as in all clients.
    ///
    /// # Errors
    ///
    /// Returns an error with the path of the entry if `raw` does not start with a map, an entry has
    /// the wrong type, or there are more than 65,536 arguments.
    pub fn parse(raw: bytes::Bytes) -> Result<Extra, DecodeError> {
        let mut extra = Extra::default();
        if raw.is_empty() {
            return Ok(extra);
        }
        let mut decoder = Decoder::of_message(&raw, 0);
        let Token::Map(len) = decoder.token()? else {
            return Err(DecodeError::new(
                "the second segment of the message is not a map",
            ));
        };
        let (mut positional, mut with_kwargs) = (Vec::new(), false);
        for _ in 0..len {
            let key = decoder.key()?;
            // Only the arguments are indexed individually. Other entries are skipped as a whole,
            // and relevant entries are decoded from their span.
            let read = if key == "args" {
                args(&mut decoder).map(|spans| positional = spans)
            } else {
                skip_value(&mut decoder).and_then(|(start, end)| {
                    let value = raw.slice(start..end);
                    match key {
                        "with_kwargs" => with_kwargs = flag(&value)?,
                        "promise" => extra.promise = promise(&value)?,
                        "t" => extra.interval = seconds(from_slice(&value)?)?,
                        keys::ENC => extra.encrypted = encryption(&value)?,
                        "data" => extra.data = Some(value),
                        _ => {}
                    }
                    Ok(())
                })
            };
            read.map_err(|error| error.in_key(key))?;
        }
        // Do this after all entries are read, because `data` may come before or after `_enc`.
        if let (Some(encrypted), Some(data)) = (&mut extra.encrypted, &extra.data) {
            encrypted.data = from_slice(data).map_err(|error| error.in_key("data"))?;
        }
        let mut named = Vec::new();
        if with_kwargs {
            // Do this after all entries are read, because `with_kwargs` may come before or after
            // `args`.
            let last = positional.pop();
            named = last.map_or_else(|| Err(no_kwargs()), |span| kwargs(&raw, span))?;
        }
        extra.args = IncomingArgs {
            meter: Meter::new(MAX_DECODED_BYTES, raw.len()),
            frame: raw,
            positional,
            named,
            ..IncomingArgs::default()
        };
        Ok(extra)
    }
}

/// Skips one value and returns its span.
fn skip_value(decoder: &mut Decoder<'_>) -> Result<Span, DecodeError> {
    let start = decoder.pos;
    decoder.skip()?;
    Ok((start, decoder.pos))
}

/// Returns the spans of the items of a list.
fn args(decoder: &mut Decoder<'_>) -> Result<Vec<Span>, DecodeError> {
    match decoder.token()? {
        Token::List(len) => checked_len(len)?.map(|_| skip_value(decoder)).collect(),
        other => Err(DecodeError::expected("list", other.kind())),
    }
}

/// Reads the map of keyword arguments at the start of the span.
fn kwargs(raw: &bytes::Bytes, (start, _): Span) -> Result<Vec<NamedArg>, DecodeError> {
    let mut decoder = Decoder::of_message(raw, start);
    let Token::Map(len) = decoder.token()? else {
        return Err(no_kwargs());
    };
    let entry = |_| {
        Ok(NamedArg {
            name: decoder.key()?.to_owned(),
            span: skip_value(&mut decoder)?,
        })
    };
    checked_len(len)?.map(entry).collect()
}

fn no_kwargs() -> DecodeError {
    DecodeError::new("keyword arguments must be a map")
}

/// Returns the range of `len` arguments, or an error if there are more than [`MAX_ARGS`]. Callers
/// must call this before they reserve memory for the arguments.
pub(super) fn checked_len(len: u32) -> Result<std::ops::Range<u32>, DecodeError> {
    if len > MAX_ARGS {
        return Err(DecodeError::new(format!(
            "{len} arguments are more than {MAX_ARGS}"
        )));
    }
    Ok(0..len)
}

/// Reads `with_kwargs`. Nil counts as `false`, because JavaScript may send nil for an absent value.
fn flag(value: &bytes::Bytes) -> Result<bool, DecodeError> {
    Ok(from_slice::<Option<bool>>(value)?.unwrap_or(false))
}

/// Reads `_enc`. As for `promise`, nil and `false` count as absent, because the other clients only
/// test whether the value is truthy.
fn encryption(value: &bytes::Bytes) -> Result<Option<EncryptedExtra>, DecodeError> {
    match Decoder::of_message(value, 0).token()? {
        Token::Nil | Token::Bool(false) => Ok(None),
        _ => from_slice(value).map(Some),
    }
}

/// Reads `promise`. Nil and `false` count as absent: the caller requests no response.
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

/// Checks that an interval lies between 0 and [`MAX_INTERVAL`].
fn seconds(value: Option<f64>) -> Result<Option<f64>, DecodeError> {
    match value {
        Some(value) if !(0.0..=MAX_INTERVAL).contains(&value) => {
            Err(DecodeError::expected("a number of seconds", value))
        }
        value => Ok(value),
    }
}

impl fmt::Debug for IncomingArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingArgs")
            .field("positional", &self.positional.len())
            .field("named", &self.named)
            .finish_non_exhaustive()
    }
}

/// Arguments of a received call.
///
/// The arguments stay encoded in the message until a program reads them. Each call of an accessor
/// decodes the argument again and counts against the memory limit, so read each argument once.
/// Clones share the message.
#[derive(Clone, Default)]
pub struct IncomingArgs {
    /// Buffer that the spans refer to: the second segment, or a list of arguments.
    frame: bytes::Bytes,
    positional: Vec<Span>,
    named: Vec<NamedArg>,
    /// Origin of the handles in the arguments. `None` leaves functions and streams as maps.
    origin: Option<Origin>,
    /// Handles in the arguments, if the arguments have not left this process.
    table: Arc<[Handle]>,
    /// Limit on the memory of the decoded arguments.
    meter: Meter,
}

impl IncomingArgs {
    /// Creates the arguments of a call within this process. `frame` is the list of the encoded
    /// arguments.
    pub(crate) fn local(
        frame: bytes::Bytes,
        with_kwargs: bool,
        table: Arc<[Handle]>,
    ) -> Result<Self, DecodeError> {
        let mut positional = args(&mut Decoder::of_message(&frame, 0))?;
        let mut named = Vec::new();
        if with_kwargs {
            let last = positional.pop();
            named = last.map_or_else(|| Err(no_kwargs()), |span| kwargs(&frame, span))?;
        }
        Ok(Self {
            // Values of this process need no memory limit, because no peer created them.
            meter: Meter::new(usize::MAX, frame.len()),
            frame,
            positional,
            named,
            origin: None,
            table,
        })
    }

    /// Sets the maximum memory of all decoded arguments together: `limit` bytes, or twice the
    /// length of the message if that is more. Default: [`MAX_DECODED_BYTES`].
    #[must_use]
    pub fn within(mut self, limit: usize) -> Self {
        self.meter = Meter::new(limit, self.frame.len());
        self
    }

    /// Charges the memory of the decoded arguments to `peer`, until the arguments and their clones
    /// are dropped.
    #[must_use]
    pub fn charged_to(mut self, memory: Arc<dyn PeerMemory>, peer: &str) -> Self {
        self.meter = self.meter.charging(memory, peer);
        self
    }

    /// Sets the origin of the handles in the arguments. Without an origin, functions and streams
    /// are decoded as maps, which cannot be called.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Returns the items of the list at `index` as arguments.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no argument at `index`, or if the argument is not a list.
    pub fn items(&self, index: usize) -> Result<Self, DecodeError> {
        // The clone below keeps the account of the arguments and the rest of their memory limit.
        let Some(&(start, _)) = self.positional.get(index) else {
            return Err(DecodeError::expected("list", "nothing"));
        };
        Ok(Self {
            positional: args(&mut Decoder::of_message(&self.frame, start))?,
            named: Vec::new(),
            ..self.clone()
        })
    }

    /// Returns all positional arguments as one tuple or sequence.
    ///
    /// # Errors
    ///
    /// Returns an error with the path of the item if the arguments are not of type `T`.
    pub fn as_tuple<'a, T: Deserialize<'a>>(&'a self) -> Result<T, DecodeError> {
        T::deserialize(Tuple(self))
    }

    fn decode<'a, T: Deserialize<'a>>(&'a self, (start, end): Span) -> Result<T, DecodeError> {
        from_origin(
            &self.frame,
            start,
            end,
            self.origin.as_ref(),
            &self.table,
            &self.meter,
        )
    }

    /// Returns the number of positional arguments.
    pub fn positional(&self) -> usize {
        self.positional.len()
    }

    /// Returns the names of the keyword arguments, in the order in which the caller sent them.
    /// Returns a repeated name each time.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|named| named.name.as_str())
    }

    /// Returns the msgpack of the argument at `index`.
    pub fn raw(&self, index: usize) -> Option<bytes::Bytes> {
        let &(start, end) = self.positional.get(index)?;
        Some(self.frame.slice(start..end))
    }

    /// Returns the argument at `index` without decoding it. The functions and streams in the result
    /// can be called. This is not possible with the bytes that [`raw`](Self::raw) returns.
    pub fn raw_value(&self, index: usize) -> Option<RawValue> {
        let (origin, table) = (self.origin.clone(), Arc::clone(&self.table));
        Some(RawValue::received(self.raw(index)?, origin, table))
    }

    /// Returns the msgpack of the keyword argument `name`.
    pub fn raw_named(&self, name: &str) -> Option<bytes::Bytes> {
        let (start, end) = self.span_of(name)?;
        Some(self.frame.slice(start..end))
    }

    /// Returns the argument at `index`, or `None` if there is none. Strings and bytes borrow from
    /// the message.
    pub fn get<'a, T: Deserialize<'a>>(&'a self, index: usize) -> Option<Result<T, DecodeError>> {
        Some(self.decode(*self.positional.get(index)?))
    }

    /// Returns the keyword argument `name`, or `None` if there is none. Strings and bytes borrow
    /// from the message.
    pub fn get_named<'a, T: Deserialize<'a>>(
        &'a self,
        name: &str,
    ) -> Option<Result<T, DecodeError>> {
        Some(self.decode(self.span_of(name)?))
    }

    /// Returns the span of a keyword argument. If a name is repeated, its last value counts, as in
    /// the other clients.
    fn span_of(&self, name: &str) -> Option<Span> {
        self.named
            .iter()
            .rev()
            .find(|named| named.name == name)
            .map(|named| named.span)
    }
}

/// Deserializer of the positional arguments as a sequence.
struct Tuple<'a>(&'a IncomingArgs);

impl<'de> Deserializer<'de> for Tuple<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Items {
            args: self.0,
            next: 0,
        })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

/// Positional arguments that are not decoded yet.
struct Items<'a> {
    args: &'a IncomingArgs,
    next: usize,
}

impl<'a> SeqAccess<'a> for Items<'a> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'a>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let IncomingArgs {
            frame,
            positional,
            origin,
            table,
            meter,
            ..
        } = self.args;
        let Some(&(start, end)) = positional.get(self.next) else {
            return Ok(None);
        };
        let _scope = Scope::enter(frame, origin.as_ref(), table, meter.limit());
        let mut decoder = Decoder::of_span(frame, start, end)?.metered(meter);
        let value = seed.deserialize(&mut decoder);
        // Report the used memory before returning an error, so that failed attempts also count
        // against the limit.
        decoder.finish();
        let value = value.map_err(|error| error.in_index(self.next))?;
        self.next += 1;
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Value, to_vec};

    fn parse(json: serde_json::Value) -> Result<Extra, DecodeError> {
        Extra::parse(to_vec(&Value::from(json)).expect("encodes").into())
    }

    #[test]
    fn encryption_is_read_or_refused() {
        use serde_json::json;
        let parsed = |json| parse(json).expect("parses").encrypted;
        assert_eq!(parsed(json!({"data": 1})), None);
        assert_eq!(parsed(json!({"_enc": null, "data": 1})), None);
        assert_eq!(parsed(json!({"_enc": false})), None);
        // Another version may have other fields, so only the version number is read.
        let other = parsed(json!({"_enc": {"v": 3, "key": 1}})).expect("encrypted");
        assert_eq!((other.version, other.data.len()), (3, 0));

        let refused = |json| parse(json).expect_err("refused").to_string();
        assert_eq!(refused(json!({"_enc": {}})), "_enc.v: missing");
        assert_eq!(
            refused(json!({"_enc": {"v": 2, "pub": "key"}})),
            "_enc.pub: expected bytes, got string"
        );
        assert_eq!(
            refused(json!({"_enc": {"v": 2}, "data": "text"})),
            "data: expected bytes, got string"
        );
        assert!(refused(json!({"_enc": "yes"})).starts_with("_enc: expected map"));
    }
}
