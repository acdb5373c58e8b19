//! A message to be sent: arguments are encoded once, and the routing is written in front of them.

use serde::Serialize;

use super::encode::{EncodeError, Splices, encode, encode_spliced, replace};
use super::extra::IncomingArgs;
use super::handle::{Handle, Splice};
use super::local::{self, Packed};
use super::pack::{self, Count, Fill, Sink};
use super::rope::Rope;
use super::value::Value;
use crate::keys;

/// Room left in front of the arguments for MAIN and the beginning of EXTRA. Two addresses with
/// long ids, a method path and two nested sessions fit.
const HEADROOM: usize = 384;

/// The arguments of a call, or the result in an answer, encoded as they are pushed.
///
/// Large binary data is not copied, and functions and streams of this program get their names when
/// the message is finished.
#[derive(Clone, Debug)]
pub struct Args {
    /// Headroom, the positional arguments, then the keyword map.
    buf: Vec<u8>,
    splices: Splices,
    positional: u32,
    /// Optional arguments at the end that are nil so far: they may not have to be sent.
    omissible: u32,
    named: Option<Named>,
    expected_named: u32,
    error: Option<EncodeError>,
}

#[derive(Clone, Debug)]
struct Named {
    /// Where the header of the keyword map begins.
    start: usize,
    /// How long the header is that was reserved.
    head: usize,
    count: u32,
}

/// The routing of a message that is sent.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Own address.
    pub from: &'a str,
    /// Address of the receiver.
    pub to: &'a str,
    /// Path of the method that is called.
    pub method: &'a str,
    /// The session of the receiver in which it handed out the function.
    pub parent: Option<&'a str>,
    /// The own session of this call, if it is to be answered.
    pub session: Option<&'a str>,
}

/// How a call asks to be answered.
#[derive(Clone, Copy, Debug)]
pub enum ReplyMode<'a> {
    /// Not at all.
    None,
    /// At the session of the call, the usual form.
    Star {
        /// Heartbeat interval in seconds.
        interval: f64,
    },
    /// At functions that are spelled out: the form for the built-in service and the manager's
    /// `get_service`.
    Full {
        /// Own address.
        target: &'a str,
        /// The session of the call.
        session: &'a str,
        /// Heartbeat interval in seconds; 0 for no heartbeats.
        interval: f64,
    },
}

impl Args {
    /// Arguments to be filled with at most so many positional and named ones.
    pub fn new(positional: usize, named: usize) -> Args {
        Self::with_capacity(positional, named, 128)
    }

    /// As [`Args::new`], with room for `payload_hint` bytes of encoded arguments. The counts are
    /// hints: they save a move of the arguments when they are right.
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

    /// Add a positional argument. An error is kept for [`Args::finish`], where it carries `name`.
    pub fn push<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) {
        if self.push_value(name, value) {
            self.omissible = 0;
        }
    }

    /// Add a positional argument that the receiver does not need: if it is nil, and all after it
    /// are, it is not sent.
    pub fn push_optional<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) {
        let start = self.buf.len();
        if self.push_value(name, value) {
            // What is spliced in is not in the buffer, so it is no nil.
            let nil = self.buf[start..] == [rmp::Marker::Null.to_u8()];
            self.omissible = if nil { self.omissible + 1 } else { 0 };
        }
    }

    fn push_value<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> bool {
        if self.named.is_some() {
            self.fail(EncodeError::new("a positional argument after named ones").in_argument(name));
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

    /// Add a positional argument that is encoded already.
    pub fn push_packed(&mut self, value: Packed) {
        self.append(value);
        self.positional += 1;
        self.omissible = 0;
    }

    /// The items of an encoded list of `count`, each an argument of its own.
    pub fn spread(mut list: Packed, count: usize) -> Args {
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

    /// Add a positional argument that is a list of such.
    pub fn push_list(&mut self, items: Vec<Packed>) {
        pack::put_list_head(&mut self.buf, items.len() as u32);
        for item in items {
            self.append(item);
        }
        self.positional += 1;
        self.omissible = 0;
    }

    fn append(&mut self, value: Packed) {
        let start = self.buf.len();
        self.buf.extend_from_slice(&value.buf);
        let moved = value.splices.into_iter();
        self.splices
            .extend(moved.map(|(position, splice)| (start + position, splice)));
    }

    /// Add an argument by name, after all positional ones.
    pub fn push_named<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if self.named.is_none() {
            self.omit_trailing();
            let (start, head) = (self.buf.len(), pack::head_len(self.expected_named));
            self.buf.resize(start + head, 0);
            self.named = Some(Named {
                start,
                head,
                count: 0,
            });
        }
        pack::put_str(&mut self.buf, name);
        let encoded = encode_spliced(&mut self.buf, &mut self.splices, value);
        match (encoded, &mut self.named) {
            (Ok(()), Some(named)) => named.count += 1,
            (Err(error), _) => self.fail(error.in_argument(name)),
            (Ok(()), None) => {}
        }
    }

    fn fail(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }

    /// A nil is one byte, so a run of them at the end is as long as its count.
    fn omit_trailing(&mut self) {
        self.buf.truncate(self.buf.len() - self.omissible as usize);
        self.positional -= self.omissible;
        self.omissible = 0;
    }

    /// Whether there are functions or streams of this program among them.
    pub fn has_handles(&self) -> bool {
        let mut splices = self.splices.iter();
        splices.any(|(_, splice)| matches!(splice, Splice::Handle(_)))
    }

    /// The complete message in one piece, or the first error among the arguments.
    ///
    /// # Errors
    ///
    /// An argument that could not be encoded; a function or stream of this program, which only a
    /// connection can name.
    pub fn finish(
        self,
        head: &Head<'_>,
        reply: ReplyMode<'_>,
    ) -> Result<bytes::Bytes, EncodeError> {
        let message = self.finish_with(head, reply, &mut |handle| match handle.raw() {
            Some(raw) => Ok(Value::Map(raw.clone())),
            None => Err(EncodeError::new(
                "a function or stream of this program can only be sent in a call or a result",
            )),
        })?;
        Ok(message.into_bytes())
    }

    /// The complete message, or the first error among the arguments. `name` makes of a function or
    /// stream what a peer knows it by.
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
                // Addresses of an unusual length.
                let mut out = Vec::with_capacity(len.0);
                front.put(&mut out);
                message.push(out.into());
                HEADROOM
            }
        };
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

    /// The arguments as a receiver inside of this program sees them.
    pub fn into_local(mut self) -> Result<IncomingArgs, EncodeError> {
        let (args, with_kwargs) = self.complete()?;
        let mut out = Vec::with_capacity(5);
        pack::put_list_head(&mut out, args);
        replace(&mut self.buf, &mut self.splices, 0..HEADROOM, out);
        let (frame, table) = local::join(self.buf, self.splices);
        IncomingArgs::local(frame, with_kwargs, table)
            .map_err(|error| EncodeError::new(error.to_string()))
    }

    /// Writes what was left open. How many entries there are, and whether the last are names.
    fn complete(&mut self) -> Result<(u32, bool), EncodeError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        self.omit_trailing();
        let Some(named) = self.named.take() else {
            return Ok((self.positional, false));
        };
        let mut head = Vec::with_capacity(5);
        pack::put_map_head(&mut head, named.count);
        let reserved = named.start..named.start + named.head;
        replace(&mut self.buf, &mut self.splices, reserved, head);
        Ok((self.positional + 1, true))
    }
}

/// Everything that comes before the first argument.
struct Front<'a> {
    head: &'a Head<'a>,
    /// Entries of EXTRA.
    entries: u32,
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

    /// As in Python, a message with neither arguments nor promise has no second map at all.
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
    fn entries(&self) -> u32 {
        match self {
            Self::None => 0,
            Self::Star { .. } => 2,
            Self::Full { .. } => 1,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Self::None => {}
            Self::Star { interval } => {
                pack::put_str(out, "promise");
                pack::put_str(out, "*");
                pack::put_str(out, "t");
                pack::put_f64(out, interval);
            }
            Self::Full {
                target,
                session,
                interval,
            } => {
                pack::put_str(out, "promise");
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

/// A function by which a call is answered, under its name in the promise.
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
    use super::*;
    use crate::Message;

    fn lies_in_place(parent: &str, size: usize) -> bool {
        // As a list, since large binary data would never be in the buffer.
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
        assert!(lies_in_place("one.session.in.another", 100_000));
        assert!(!lies_in_place(&"x".repeat(1000), 100_000));
    }

    #[test]
    fn headroom_fits_exactly() {
        for len in 0..2 * HEADROOM {
            lies_in_place(&"x".repeat(len), 100);
        }
    }
}
