//! EXTRA, the second map of a message: the arguments of a call and how it is to be answered.
//!
//! Only `args`, `with_kwargs`, `promise`, `t`, `_enc` and `data` are looked at. Whatever else a
//! peer puts there, such as another `from`, cannot take the place of what the server wrote.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::bytes::Bytes;
use super::decode::{Decoder, Token, from_origin, from_slice};
use super::decode_error::DecodeError;
use super::handle::Handle;
use super::method::MethodRef;
use super::scope::{Origin, Scope};
use crate::keys;

/// What a received message carries besides its routing.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// The arguments.
    pub args: IncomingArgs,
    /// How the caller wants to be answered, if at all.
    pub promise: Option<Promise>,
    /// The heartbeat interval in seconds that goes with [`Promise::Star`] (`t`).
    pub interval: Option<f64>,
    /// The raw msgpack of `data`, in which events have their content.
    pub data: Option<bytes::Bytes>,
    /// The EXTRA that is meant, encrypted (`_enc`). Whatever else is here then is not its sender's
    /// word and must not be used.
    pub encrypted: Option<EncryptedExtra>,
}

/// An encrypted EXTRA, as it came (protocol 07 §5). Nothing of it has been checked.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
pub struct EncryptedExtra {
    /// The version of the encryption (`v`).
    #[serde(rename = "v")]
    pub version: u64,
    /// The public key of whoever encrypted it (`pub`).
    #[serde(rename = "pub", default)]
    pub sender: Bytes,
    /// The number that makes equal texts differ (`nonce`).
    #[serde(default)]
    pub nonce: Bytes,
    /// The ciphertext, which stands beside `_enc`, under `data`.
    #[serde(skip)]
    pub data: Bytes,
}

impl EncryptedExtra {
    /// The bytes of an encrypted EXTRA up to its ciphertext, of which `len` bytes have to follow,
    /// in a buffer with room for them.
    pub fn head(version: u64, sender: &[u8], nonce: &[u8], len: u32) -> Vec<u8> {
        use super::pack::{put_bin, put_bin_head, put_map_head, put_str, put_uint};
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

/// How a call is to be answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Promise {
    /// At `<session>.heartbeat`, `.resolve` and `.reject` of the caller.
    Star,
    /// At functions that are spelled out.
    Full(Box<FullPromise>),
}

/// The functions by which a call is answered.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
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
                        keys::ENC => extra.encrypted = encryption(&value)?,
                        "data" => extra.data = Some(value),
                        _ => {}
                    }
                    Ok(())
                })
            };
            read.map_err(|error| error.in_key(key))?;
        }
        if let (Some(encrypted), Some(data)) = (&mut extra.encrypted, &extra.data) {
            encrypted.data = from_slice(data).map_err(|error| error.in_key("data"))?;
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
            ..IncomingArgs::default()
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

fn encryption(value: &bytes::Bytes) -> Result<Option<EncryptedExtra>, DecodeError> {
    match Decoder::of_message(value, 0).token()? {
        Token::Nil | Token::Bool(false) => Ok(None),
        _ => from_slice(value).map(Some),
    }
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

impl fmt::Debug for IncomingArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingArgs")
            .field("positional", &self.positional.len())
            .field("named", &self.named)
            .finish_non_exhaustive()
    }
}

/// The arguments of a received call. They stay undecoded in the message until they are asked for.
#[derive(Clone, Default)]
pub struct IncomingArgs {
    frame: bytes::Bytes,
    positional: Vec<Span>,
    named: Vec<Named>,
    /// Where functions and streams among them come from.
    origin: Option<Origin>,
    /// Those that never left this program.
    table: Arc<[Handle]>,
}

impl IncomingArgs {
    /// Arguments, packed as a list, that have not left this program.
    pub(super) fn local(
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
            frame,
            positional,
            named,
            origin: None,
            table,
        })
    }

    /// The same arguments; functions and streams among them can be used, as those of `origin`.
    pub fn of(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// The argument at `index`, which must be a list, as if its items were the arguments.
    pub fn items(&self, index: usize) -> Result<Self, DecodeError> {
        let Some(&(start, _)) = self.positional.get(index) else {
            return Err(DecodeError::expected("list", "nothing"));
        };
        Ok(Self {
            positional: args(&mut Decoder::of_message(&self.frame, start))?,
            named: Vec::new(),
            ..self.clone()
        })
    }

    /// All positional arguments as one tuple.
    pub fn as_tuple<'a, T: Deserialize<'a>>(&'a self) -> Result<T, DecodeError> {
        T::deserialize(Tuple(self))
    }

    fn decode<'a, T: Deserialize<'a>>(&'a self, (start, end): Span) -> Result<T, DecodeError> {
        from_origin(&self.frame, start, end, self.origin.as_ref(), &self.table)
    }

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
        Some(self.decode(*self.positional.get(index)?))
    }

    /// The argument called `name`, borrowing from the message.
    pub fn get_named<'a, T: Deserialize<'a>>(
        &'a self,
        name: &str,
    ) -> Option<Result<T, DecodeError>> {
        Some(self.decode(self.span_of(name)?))
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

/// The positional arguments as a sequence.
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
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

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
            ..
        } = self.args;
        let Some(&(start, end)) = positional.get(self.next) else {
            return Ok(None);
        };
        let _scope = Scope::enter(frame, origin.as_ref(), table);
        let value = seed.deserialize(&mut Decoder::of_span(frame, start, end)?);
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
        // Another version may have other parts; this one is told by its number.
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
