//! Encodes outgoing messages. The encoder first encodes the arguments, and then writes the routing
//! into the same buffer, in front of the arguments.
//!
//! Callers encode the arguments before they know the session of the call. So the buffer starts with
//! unused headroom, into which the routing is written last. Generated proxies, dispatch and the
//! engine use this encoder.

use serde::Serialize;

use super::extra::{IncomingArgs, checked_len};
use super::rope::Rope;
use crate::keys;
use crate::pack::{self, Count, Fill, Sink};
use crate::values::decode::{Decoder, Token};
use crate::values::decode_error::DecodeError;
use crate::values::encode::{EncodeError, Splices, encode, encode_spliced, replace};
use crate::values::local::{self, Packed};
use crate::values::raw::RawValue;
use crate::values::splice::{SPLICED_BYTES, Splice};
use crate::values::value::{Handle, Value};

/// Bytes reserved in front of the arguments for MAIN and the head of EXTRA. This room is enough for
/// two addresses with long ids, a method path and two nested sessions. Longer routing goes into a
/// separate buffer. If a transport then needs the message in one buffer, it copies the whole
/// message.
const HEADROOM: usize = 384;

/// Arguments of a call, or the result in a response. Each value is encoded when it is pushed.
///
/// Binary data of 16 KiB and more is not copied. Local handles get their names when the message is
/// finished.
///
/// [`finish`](Self::finish) returns the first error of an argument, so pushing needs no error
/// handling. Positional arguments come before keyword arguments.
///
/// ```
/// # use hypha_wire::Args;
/// let mut args = Args::new(1, 1);
/// args.push("distance", &1.5);
/// args.push_named("unit", "mm");
/// # assert!(!args.has_handles());
/// ```
#[derive(Clone, Debug)]
pub struct Args {
    /// Headroom, then the positional arguments, then the map of keyword arguments.
    buf: Vec<u8>,
    /// Large binary data and handles, each with its position in `buf`.
    splices: Splices,
    /// Number of positional arguments in `buf`.
    positional: u32,
    /// Number of trailing optional arguments that are nil. These arguments are dropped unless
    /// another argument follows.
    omissible: u32,
    /// Map of keyword arguments, if it has been started.
    named: Option<KeywordMap>,
    /// Expected number of keyword arguments. This number determines the room that is reserved for
    /// the header of their map.
    expected_named: u32,
    /// The first error, returned when the message is finished.
    error: Option<EncodeError>,
}

/// Map of keyword arguments while it is being written.
#[derive(Clone, Debug)]
struct KeywordMap {
    /// Position of the header of the map in the buffer.
    start: usize,
    /// Number of bytes reserved for the header of the map, based on the expected number of
    /// arguments.
    head: usize,
    /// Number of arguments so far.
    count: u32,
}

/// Routing of an outgoing message: the variable part of its first segment (MAIN).
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Address of the sender. The server replaces this address with the verified address.
    pub from: &'a str,
    /// Address of the receiver, absolute or in the workspace of the sender.
    pub to: &'a str,
    /// Path of the called method at the receiver.
    pub method: &'a str,
    /// Session in which the receiver handed out the called function.
    pub parent: Option<&'a str>,
    /// Session of this call at the sender. `None` if no response is expected.
    pub session: Option<&'a str>,
}

/// Form of the response that the caller wants: the `promise` entry of the second segment (EXTRA).
#[derive(Clone, Copy, Debug)]
pub enum ReplyMode<'a> {
    /// No response is requested.
    None,
    /// The usual form (`"*"`): the response is sent to the session of the call.
    Star {
        /// Heartbeat interval in seconds (`t`).
        interval: f64,
    },
    /// The response is sent to methods that the message contains explicitly. All clients use this
    /// form for calls of `get_service` and `ping` of a built-in service.
    Full {
        /// Address of the caller.
        target: &'a str,
        /// Session of the call.
        session: &'a str,
        /// Heartbeat interval in seconds; 0 for no heartbeats.
        interval: f64,
    },
}

impl Args {
    /// Creates an empty argument list with room for about 128 bytes of encoded arguments.
    ///
    /// `positional` and `named` are the expected numbers of arguments; see
    /// [`with_capacity`](Self::with_capacity).
    #[must_use]
    pub fn new(positional: usize, named: usize) -> Args {
        Self::with_capacity(positional, named, 128)
    }

    /// Creates an empty argument list with room for `payload_hint` bytes of encoded arguments.
    ///
    /// `positional` and `named` are the expected numbers of arguments, and are only hints. If the
    /// number of keyword arguments is right, their header has the reserved length, and finishing
    /// the message does not move the arguments.
    #[must_use]
    pub fn with_capacity(positional: usize, named: usize, payload_hint: usize) -> Args {
        let mut buf = Vec::with_capacity(HEADROOM + payload_hint + positional + named);
        buf.resize(HEADROOM, 0);
        Args {
            buf,
            splices: Splices::new(),
            positional: 0,
            omissible: 0,
            named: None,
            expected_named: u32::try_from(named).unwrap_or(u32::MAX),
            error: None,
        }
    }

    /// Adds a positional argument.
    ///
    /// If the argument cannot be encoded, [`finish`](Self::finish) returns an error that contains
    /// `name`.
    pub fn push<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) {
        if self.push_value(name, value) {
            self.omissible = 0;
        }
    }

    /// Adds an optional positional argument. The argument is not sent if it and all later arguments
    /// are nil, so that the defaults of a service in another language apply.
    pub fn push_optional<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) {
        let start = self.buf.len();
        if self.push_value(name, value) {
            // Spliced data leaves nothing in the buffer, so the comparison does not mistake such
            // data for a nil.
            let nil = self.buf[start..] == [rmp::Marker::Null.to_u8()];
            self.omissible = if nil { self.omissible + 1 } else { 0 };
        }
    }

    /// Returns whether a positional argument may be added. If not, stores the error.
    fn takes_positional(&mut self) -> bool {
        // The map of keyword arguments is the last item of the list. A receiver would mistake a
        // later item for that map.
        if self.named.is_some() {
            self.fail(EncodeError::new(
                "a positional argument cannot follow a keyword argument",
            ));
        }
        self.named.is_none()
    }

    /// Encodes a positional argument. Returns whether the encoding succeeded.
    fn push_value<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> bool {
        if !self.takes_positional() {
            return false;
        }
        match encode_spliced(&mut self.buf, &mut self.splices, value) {
            Ok(()) => {
                self.positional += 1;
                true
            }
            Err(error) => {
                self.fail(error.in_argument(name));
                false
            }
        }
    }

    /// Adds a positional argument that is already encoded.
    ///
    /// A positional argument after a keyword argument is an error, which [`finish`](Self::finish)
    /// returns.
    pub fn push_packed(&mut self, value: Packed) {
        if !self.takes_positional() {
            return;
        }
        self.append(value);
        self.positional += 1;
        // The preceding nils must be sent, because this argument would otherwise move to the
        // position of the first nil.
        self.omissible = 0;
    }

    /// Adds a positional argument from its msgpack encoding.
    ///
    /// `value` must contain exactly one msgpack value, which this method does not check. Bytes of
    /// 16 KiB or more are not copied. As with [`push_packed`](Self::push_packed), a positional
    /// argument after a keyword argument is an error.
    pub fn push_encoded(&mut self, value: bytes::Bytes) {
        self.push_packed(if value.len() < SPLICED_BYTES {
            Packed {
                buf: value.into(),
                splices: Splices::new(),
            }
        } else {
            Packed {
                buf: Vec::new(),
                splices: vec![(0, Splice::Bytes(value))],
            }
        });
    }

    /// Creates arguments from an encoded list of `count` items. Each item becomes one argument.
    #[must_use]
    pub fn from_list(mut list: Packed, count: usize) -> Args {
        let mut args = Args::new(0, 0);
        let count = count as u32;
        replace(
            &mut list.buf,
            &mut list.splices,
            0..pack::head_len(count),
            Vec::new(),
        );
        args.append(list);
        args.positional = count;
        args
    }

    /// Creates arguments from a value, for plain HTTP calls.
    ///
    /// The entries of a map become keyword arguments, except for the keys in `left_out`. The items
    /// of a list become positional arguments. Null means no arguments; any other value is a single
    /// argument. Values of 16 KiB and more are not copied.
    ///
    /// # Errors
    ///
    /// Returns an error if there are more than 65,536 arguments.
    pub fn from_value(value: RawValue, left_out: &[&str]) -> Result<Args, DecodeError> {
        let bytes = value.as_bytes();
        let mut decoder = Decoder::of_span(bytes, 0, bytes.len())?;
        match decoder.token()? {
            Token::Nil => Ok(Args::new(0, 0)),
            Token::Map(len) => {
                // Check the number of arguments before reserving memory for them.
                let entries = checked_len(len)?;
                let mut args = Args::new(0, len as usize);
                for _ in entries {
                    let key = decoder.key()?;
                    let start = decoder.pos;
                    decoder.skip()?;
                    if !left_out.contains(&key) {
                        let value = Packed::encoded(bytes.slice(start..decoder.pos));
                        args.push_named_packed(key, value);
                    }
                }
                Ok(args)
            }
            Token::List(len) => {
                checked_len(len)?;
                let mut args = Args::new(0, 0);
                args.append(Packed::encoded(bytes.slice(decoder.pos..)));
                args.positional = len;
                Ok(args)
            }
            _ => {
                let mut args = Args::new(1, 0);
                args.push_packed(value.into());
                Ok(args)
            }
        }
    }

    /// Adds a positional argument that is a list of encoded items.
    ///
    /// As with [`push_packed`](Self::push_packed), a positional argument after a keyword argument
    /// is an error.
    pub fn push_list(&mut self, items: Vec<Packed>) {
        if !self.takes_positional() {
            return;
        }
        pack::put_list_head(&mut self.buf, items.len() as u32);
        for item in items {
            self.append(item);
        }
        self.positional += 1;
        self.omissible = 0;
    }

    /// Appends an encoded value. Converts the positions of its splices to positions in `buf`.
    fn append(&mut self, value: Packed) {
        let start = self.buf.len();
        self.buf.extend_from_slice(&value.buf);
        let moved = value.splices.into_iter();
        self.splices
            .extend(moved.map(|(position, splice)| (start + position, splice)));
    }

    /// Adds a keyword argument. Positional arguments cannot follow.
    ///
    /// If the argument cannot be encoded, [`finish`](Self::finish) returns an error that contains
    /// `name`.
    pub fn push_named<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.begin_named(name);
        let encoded = encode_spliced(&mut self.buf, &mut self.splices, value);
        match (encoded, &mut self.named) {
            (Ok(()), Some(named)) => named.count += 1,
            (Err(error), _) => self.fail(error.in_argument(name)),
            (Ok(()), None) => {}
        }
    }

    /// Adds a keyword argument that is already encoded. Positional arguments cannot follow.
    pub fn push_named_packed(&mut self, name: &str, value: Packed) {
        self.begin_named(name);
        self.append(value);
        if let Some(named) = &mut self.named {
            named.count += 1;
        }
    }

    /// Writes the name of a keyword argument. Before the first keyword argument, writes the header
    /// of the map.
    fn begin_named(&mut self, name: &str) {
        if self.named.is_none() {
            // Drop the trailing nils now, because the map will be written after them in the buffer.
            self.omit_trailing();
            let (start, head) = (self.buf.len(), pack::head_len(self.expected_named));
            self.buf.resize(start + head, 0);
            self.named = Some(KeywordMap {
                start,
                head,
                count: 0,
            });
        }
        pack::put_str(&mut self.buf, name);
    }

    /// Stores the first error.
    fn fail(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }

    /// Drops optional arguments at the end that are nil. A nil is one byte, so the number of
    /// arguments is the number of bytes to drop.
    fn omit_trailing(&mut self) {
        self.buf.truncate(self.buf.len() - self.omissible as usize);
        self.positional -= self.omissible;
        self.omissible = 0;
    }

    /// Returns whether the arguments contain a function or stream.
    #[must_use]
    pub fn has_handles(&self) -> bool {
        let mut splices = self.splices.iter();
        splices.any(|(_, splice)| matches!(splice, Splice::Handle(_)))
    }

    /// Returns the complete message in one buffer.
    ///
    /// # Errors
    ///
    /// Returns the first error of a pushed argument, or an error if the arguments contain a local
    /// handle. Only a connection can name such a handle; see [`finish_with`](Self::finish_with).
    pub fn finish(
        self,
        head: &Head<'_>,
        reply: ReplyMode<'_>,
    ) -> Result<bytes::Bytes, EncodeError> {
        // A received handle already contains its map on the wire, so a program can pass the handle
        // on without a connection.
        let message = self.finish_with(head, reply, &mut |handle| match handle.raw() {
            Some(raw) => Ok(Value::Map(raw.clone())),
            None => Err(EncodeError::new(
                "a function or stream of this program can only be sent in a call or a result",
            )),
        })?;
        Ok(message.into_bytes())
    }

    /// Returns the complete message. `name` is called once for each handle, in the order of the
    /// arguments, and returns the map that represents the handle on the wire.
    ///
    /// # Errors
    ///
    /// Returns the first error of a pushed argument or of `name`.
    pub fn finish_with(
        mut self,
        head: &Head<'_>,
        reply: ReplyMode<'_>,
        name: &mut dyn FnMut(&Handle) -> Result<Value, EncodeError>,
    ) -> Result<Rope, EncodeError> {
        let (args, with_kwargs) = self.complete()?;
        if with_kwargs {
            pack::put_str(&mut self.buf, "with_kwargs");
            pack::put_bool(&mut self.buf, true);
        }
        reply.put(&mut self.buf);
        let entries = u32::from(args > 0) + u32::from(with_kwargs) + reply.entries();
        let front = Front {
            head,
            entries,
            args,
        };
        // Measure `front` first, so that `front` can end exactly where the arguments start.
        let mut len = Count(0);
        front.put_main(&mut len);
        let mut message = Rope::default();
        message.set_main(len.0);
        front.put_extra(&mut len);
        let start = match HEADROOM.checked_sub(len.0) {
            Some(start) => {
                front.put(&mut Fill(&mut self.buf[start..HEADROOM]));
                start
            }
            None => {
                // The routing is longer than the headroom. Leave the arguments in their buffer,
                // because moving them would copy the payload.
                let mut out = Vec::with_capacity(len.0);
                front.put(&mut out);
                message.push(out.into());
                HEADROOM
            }
        };
        // The parts between the splices share one buffer. Inserting the splices into this buffer
        // would instead move all arguments after each splice.
        let (buf, mut done) = (bytes::Bytes::from(self.buf), start);
        for (position, splice) in self.splices {
            message.push(buf.slice(done..position));
            done = position;
            message.push(match splice {
                Splice::Bytes(bytes) => bytes,
                Splice::Handle(handle) => {
                    let mut out = Vec::new();
                    encode(&mut out, &name(&handle)?)?;
                    out.into()
                }
            });
        }
        message.push(buf.slice(done..));
        Ok(message)
    }

    /// Returns the arguments in the form that a receiver in the same process gets. Local handles
    /// keep their identity.
    ///
    /// # Errors
    ///
    /// Returns the first error of a pushed argument.
    pub fn into_local(mut self) -> Result<IncomingArgs, EncodeError> {
        let (args, with_kwargs) = self.complete()?;
        // The longest header of a list has five bytes.
        let mut out = Vec::with_capacity(5);
        pack::put_list_head(&mut out, args);
        // Local arguments have no routing data. Replace the headroom with the list header, so that
        // the buffer holds exactly one msgpack list.
        replace(&mut self.buf, &mut self.splices, 0..HEADROOM, out);
        let (frame, table) = local::join(self.buf, self.splices);
        IncomingArgs::local(frame, with_kwargs, table)
            .map_err(|error| EncodeError::new(error.to_string()))
    }

    /// Completes the encoding of the arguments. Returns the length of the argument list, and
    /// whether its last item is the map of keyword arguments.
    fn complete(&mut self) -> Result<(u32, bool), EncodeError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        self.omit_trailing();
        let Some(named) = self.named.take() else {
            return Ok((self.positional, false));
        };
        // If the expected number was wrong, the length of the header may differ from the reserved
        // length, and the map must be moved.
        let mut head = Vec::with_capacity(5);
        pack::put_map_head(&mut head, named.count);
        let reserved = named.start..named.start + named.head;
        replace(&mut self.buf, &mut self.splices, reserved, head);
        Ok((self.positional + 1, true))
    }
}

/// Bytes in front of the first argument: MAIN, the header of EXTRA, and the header of the list
/// `args`, which is always the first entry of EXTRA.
struct Front<'a> {
    head: &'a Head<'a>,
    /// Number of entries of EXTRA.
    entries: u32,
    /// Number of items of `args`.
    args: u32,
}

impl Front<'_> {
    fn put(&self, out: &mut impl Sink) {
        self.put_main(out);
        self.put_extra(out);
    }

    fn put_main(&self, out: &mut impl Sink) {
        let Head {
            from,
            to,
            method,
            parent,
            session,
        } = self.head;
        // Write the keys in the order of the Python client, so that frames can be compared with
        // recorded frames.
        let optional = [("parent", parent), ("session", session)];
        pack::put_map_head(
            out,
            4 + optional.iter().filter(|(_, id)| id.is_some()).count() as u32,
        );
        for (key, value) in [
            ("type", &"method"),
            ("from", from),
            ("to", to),
            ("method", method),
        ] {
            pack::put_str(out, key);
            pack::put_str(out, value);
        }
        for (key, id) in optional {
            if let Some(id) = id {
                pack::put_str(out, key);
                pack::put_str(out, id);
            }
        }
    }

    /// Writes the head of EXTRA. As in Python, a message with neither arguments nor promise has no
    /// EXTRA.
    fn put_extra(&self, out: &mut impl Sink) {
        if self.entries > 0 {
            pack::put_map_head(out, self.entries);
        }
        if self.args > 0 {
            pack::put_str(out, "args");
            pack::put_list_head(out, self.args);
        }
    }
}

impl ReplyMode<'_> {
    /// Returns the number of entries that [`put`](Self::put) writes.
    fn entries(&self) -> u32 {
        match self {
            Self::None => 0,
            Self::Star { .. } => 2,
            Self::Full { .. } => 1,
        }
    }

    /// Writes the entries of EXTRA that describe the form of the response.
    fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Self::None => {}
            Self::Star { interval } => {
                pack::put_str(out, "promise");
                pack::put_str(out, "*");
                pack::put_str(out, "t");
                // Use a float even for whole seconds, as in Python.
                pack::put_f64(out, interval);
            }
            Self::Full {
                target,
                session,
                interval,
            } => {
                pack::put_str(out, "promise");
                // Without an interval a callee sends no heartbeats. So omit the method for
                // heartbeats, as in Python.
                if interval > 0.0 {
                    pack::put_map_head(out, 4);
                    put_promise_method(out, target, session, "heartbeat");
                    pack::put_str(out, "interval");
                    pack::put_f64(out, interval);
                } else {
                    pack::put_map_head(out, 2);
                }
                put_promise_method(out, target, session, "resolve");
                put_promise_method(out, target, session, "reject");
            }
        }
    }
}

/// Writes one entry of the promise: the key `name`, and the method in the session of the caller
/// that receives responses of this kind.
fn put_promise_method(out: &mut Vec<u8>, target: &str, session: &str, name: &str) {
    pack::put_str(out, name);
    pack::put_map_head(out, 4);
    for (key, value) in [
        (keys::RTYPE, "method"),
        (keys::RTARGET, target),
        (keys::RMETHOD, &format!("{session}.{name}")),
    ] {
        pack::put_str(out, key);
        pack::put_str(out, value);
    }
    pack::put_str(out, keys::RPROMISE);
    pack::put_bool(out, false);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Message;

    fn is_encoded_in_place(parent: &str, size: usize) -> bool {
        // The payload is encoded as a list of numbers, because large binary data is never copied
        // into the buffer.
        let payload = vec![5u8; size];
        let mut args = Args::with_capacity(1, 0, payload.len() + 64);
        args.push("payload", &payload);
        let buffer = args.buf.as_ptr_range();
        let head = Head {
            from: "workspace/client",
            to: "workspace/owner",
            method: "services.service.method",
            parent: Some(parent),
            session: Some("session"),
        };
        let frame = args
            .finish(&head, ReplyMode::Star { interval: 15.0 })
            .expect("encodes");
        let message = Message::parse(frame.clone()).expect("parses");
        assert_eq!(message.parent(), Some(parent));
        assert_eq!(
            message.extra().expect("parses").args.get(0),
            Some(Ok(payload))
        );
        buffer.contains(&frame.as_ptr())
    }

    #[test]
    fn the_payload_is_moved_only_for_unusual_addresses() {
        assert!(is_encoded_in_place("one.session.in.another", 100_000));
        assert!(!is_encoded_in_place(&"x".repeat(1000), 100_000));
    }

    #[test]
    fn headroom_fits_exactly() {
        for len in 0..2 * HEADROOM {
            is_encoded_in_place(&"x".repeat(len), 100);
        }
    }

    fn sent(args: Args) -> IncomingArgs {
        let head = Head {
            from: "w/c",
            to: "w/d",
            method: "m",
            parent: None,
            session: None,
        };
        let frame = args.finish(&head, ReplyMode::None).expect("encodes");
        let message = Message::parse(frame).expect("parses");
        message.extra().expect("parses").args
    }

    #[test]
    fn arguments_are_created_from_a_value() {
        let raw = |json: serde_json::Value| {
            let bytes = crate::to_vec(&json).expect("encodes");
            RawValue::new(bytes.into()).expect("a value")
        };
        let of = |json| sent(Args::from_value(raw(json), &["_mode"]).expect("arguments"));
        let long = "x".repeat(crate::values::splice::SPLICED_BYTES);
        let args = of(json!({"a": long, "_mode": "first", "b": [1, {"c": 2}]}));
        assert_eq!(args.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(args.get_named("a"), Some(Ok(long.clone())));
        assert_eq!(
            args.get_named::<Value>("b"),
            Some(Ok(json!([1, {"c": 2}]).into()))
        );
        let args = of(json!([7, long, 8]));
        assert_eq!(args.positional(), 3);
        assert_eq!(args.get(1), Some(Ok(long)));
        assert_eq!(args.get(2), Some(Ok(8)));
        assert_eq!(of(json!([])).positional(), 0);
        assert_eq!(of(json!(null)).positional(), 0);
        assert_eq!(of(json!("x")).get(0), Some(Ok("x".to_owned())));
        let many = Args::from_value(raw(json!(vec![0; 65_537])), &[]);
        assert!(many.is_err());
    }

    #[test]
    fn positional_arguments_do_not_follow_keywords() {
        let packed = || Packed::new(&1).expect("encodes");
        let adds: [fn(&mut Args, Packed); 4] = [
            |args, _| args.push("a", &1),
            |args, packed| args.push_packed(packed),
            |args, packed| args.push_list(vec![packed]),
            |args, _| args.push_encoded(vec![1].into()),
        ];
        for add in adds {
            let mut args = Args::new(1, 1);
            args.push_named("b", &2);
            add(&mut args, packed());
            let error = args.into_local().expect_err("a malformed message");
            assert!(error.to_string().contains("cannot follow"), "{error}");
        }
    }
}
