//! [`Message`]: a received message. The routing is parsed immediately, and the content is parsed on
//! demand (`docs/protocol/02-messages.md`).

use std::sync::Arc;

use super::extra::{Extra, Promise};
use crate::pack::{self, Sink};
use crate::values::decode::{Decoder, Token, from_span, text};
use crate::values::decode_error::DecodeError;
use crate::values::scope::Origin;
use crate::values::value::{ConnectionRef, Map};

/// Received message. Cheap to clone: fields and arguments are slices of the frame.
///
/// A clone, or a value decoded without a copy, keeps the whole frame in memory.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The frame that was parsed. It begins with the first segment.
    frame: bytes::Bytes,
    /// Second segment and any bytes after it. A decrypted second segment is not part of `frame`.
    extra: bytes::Bytes,
    /// Length of the map header of the first segment. Positions are `u32` to keep a message small,
    /// because many messages wait in queues.
    head: u32,
    /// Number of entries of the first segment.
    entries: u32,
    /// Length of the first segment.
    end: u32,
    /// Position of the value of each of [`KEYS`].
    values: [Span; KEYS.len()],
}

/// Start and end of a value in the frame. `(0, 0)` if the key is absent.
type Span = (u32, u32);

/// Keys of the first segment that routing needs. The constants below are indices into this array.
const KEYS: [&str; 8] = [
    "type", "from", "to", "method", "parent", "session", "ws", "user",
];
const TYPE: usize = 0;
const FROM: usize = 1;
const TO: usize = 2;
const METHOD: usize = 3;
const PARENT: usize = 4;
const SESSION: usize = 5;
const WS: usize = 6;
const USER: usize = 7;

/// Entries that a server writes into the first segment of every message that it forwards.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// Absolute address of the receiver.
    pub to: &'a str,
    /// Absolute address of the sender.
    pub from: &'a str,
    /// Workspace of the sender.
    pub ws: &'a str,
    /// User of the sender, as one msgpack value. The server writes this value without a check.
    pub user: &'a [u8],
}

/// Message that a server forwards, in two consecutive buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// First segment, followed by the second segment if the second segment has at most 8 KiB.
    pub head: bytes::Bytes,
    /// Second segment of more than 8 KiB, otherwise empty. Shares the memory of the received
    /// message.
    pub rest: bytes::Bytes,
}

/// Maximum memory of the decoded entries of a first segment, in bytes. Known clients need less than
/// this limit. The limit is low, because drivers decode the first segment, and decoding a large
/// value would delay all other messages.
const MAX_DECODED_MAIN: usize = 1 << 20;

/// Maximum length of a second segment that is copied after the first segment, in bytes. A longer
/// second segment is shared, because a copy would cost more than a second buffer.
const JOIN_EXTRA: usize = 8 * 1024;

impl Stamped {
    /// Returns the length in bytes.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a message has at least its first segment"
    )]
    pub fn len(&self) -> usize {
        self.head.len() + self.rest.len()
    }

    /// Returns the message in one buffer. Copies only if there are two buffers.
    pub fn into_bytes(self) -> bytes::Bytes {
        if self.rest.is_empty() {
            return self.head;
        }
        [self.head, self.rest].concat().into()
    }
}

impl From<bytes::Bytes> for Stamped {
    fn from(whole: bytes::Bytes) -> Self {
        Stamped {
            head: whole,
            rest: bytes::Bytes::new(),
        }
    }
}

impl Message {
    /// Parses the routing of `frame`. Does not read the second segment.
    ///
    /// A routing key whose value is not a string counts as absent. The running time depends on the
    /// size of the first segment, not on the size of the frame.
    ///
    /// # Errors
    ///
    /// Returns an error if the first segment is malformed, is not a map with string keys, or
    /// repeats a routing key, or if the frame is larger than 4 GiB. A repeated key is an error
    /// because peers may use either of its values.
    pub fn parse(frame: bytes::Bytes) -> Result<Message, DecodeError> {
        // Positions are stored in 32 bits. Because of this check, all casts below are lossless.
        if u32::try_from(frame.len()).is_err() {
            return Err(DecodeError::new("the message is larger than 4 GiB"));
        }
        let mut decoder = Decoder::of_message(&frame, 0);
        let Token::Map(entries) = decoder.token()? else {
            return Err(DecodeError::new("the message does not begin with a map"));
        };
        let head = decoder.pos as u32;
        let mut values = [(0, 0); KEYS.len()];
        for _ in 0..entries {
            let Token::Str(key) = decoder.token()? else {
                return Err(DecodeError::new(
                    "the message has a key that is not a string",
                ));
            };
            let start = decoder.pos;
            decoder.skip()?;
            let Some(known) = KEYS.iter().position(|known| known.as_bytes() == key) else {
                continue;
            };
            // Peers differ in the value that they use for a repeated key. A sender could otherwise
            // pass a check with one value and act with the other value.
            if values[known] != (0, 0) {
                return Err(DecodeError::new("given twice").in_key(KEYS[known]));
            }
            // Check here, so that `Message::text` cannot hide a routing key that is not UTF-8.
            if let Token::Str(value) = Decoder::of_message(&frame, start).token()? {
                text(value).map_err(|error| error.in_key(KEYS[known]))?;
            }
            values[known] = (start as u32, decoder.pos as u32);
        }
        let end = decoder.pos as u32;
        Ok(Message {
            extra: frame.slice(end as usize..),
            frame,
            head,
            entries,
            end,
            values,
        })
    }

    /// Returns the number of bytes that the message keeps in memory: the length of the frame, or
    /// the length of the decrypted second segment if that is longer. Budgets charge this length.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a message has at least its first segment"
    )]
    pub fn len(&self) -> usize {
        self.frame.len().max(self.extra.len())
    }

    /// Returns the type: `method` for requests and responses, otherwise the name of an event.
    /// Returns an empty string if the message has no type.
    pub fn kind(&self) -> &str {
        self.text(TYPE).unwrap_or("")
    }

    /// Returns the address of the sender. The address is absolute if a server has stamped the
    /// message.
    pub fn from(&self) -> Option<&str> {
        self.text(FROM)
    }

    /// Returns the address of the receiver.
    pub fn to(&self) -> Option<&str> {
        self.text(TO)
    }

    /// Returns the path of the called method.
    pub fn method(&self) -> Option<&str> {
        self.text(METHOD)
    }

    /// Returns the session in which the receiver handed out the called function.
    pub fn parent(&self) -> Option<&str> {
        self.text(PARENT)
    }

    /// Returns the session at the sender that waits for the response.
    pub fn session(&self) -> Option<&str> {
        self.text(SESSION)
    }

    /// Returns the origin of the values in the message. The handles in these values are called
    /// through `connection`.
    pub fn origin(&self, connection: Arc<dyn ConnectionRef>) -> Origin {
        let slice = |key| match self.text(key) {
            Some(text) => self.frame.slice_ref(text.as_bytes()),
            None => bytes::Bytes::new(),
        };
        Origin::new(connection, slice(FROM), slice(SESSION))
    }

    /// Returns the workspace of the sender, which the server writes. Absent from system events.
    pub fn ws(&self) -> Option<&str> {
        self.text(WS)
    }

    /// Returns the user of the sender, as msgpack. The server writes this entry.
    pub fn user(&self) -> Option<bytes::Bytes> {
        let (start, end) = self.values[USER];
        (end > 0).then(|| self.frame.slice(start as usize..end as usize))
    }

    /// Returns all entries of the first segment. Each call decodes the entries again.
    ///
    /// # Errors
    ///
    /// Returns an error if an entry cannot be decoded, such as a string that is not UTF-8. Also
    /// returns an error if the entries need more memory than the larger of 1 MiB and twice their
    /// length.
    pub fn main(&self) -> Result<Map, DecodeError> {
        let limit = MAX_DECODED_MAIN.max(2 * self.end as usize);
        from_span(&self.frame, 0, self.end as usize, limit)
    }

    /// Returns the msgpack of the first segment.
    pub fn main_raw(&self) -> &[u8] {
        &self.frame[..self.end as usize]
    }

    /// Returns the message with `extra` as its second segment, for example a decrypted segment.
    #[must_use]
    pub fn with_extra(&self, extra: bytes::Bytes) -> Message {
        Message {
            extra,
            ..self.clone()
        }
    }

    /// Parses the second segment.
    ///
    /// This method scans all arguments. So call the method in the task that needs the arguments,
    /// and not in the driver.
    ///
    /// # Errors
    ///
    /// Returns an error if the second segment is malformed, or if it requests a response to the
    /// session (`"*"`) without a session or a heartbeat interval.
    pub fn extra(&self) -> Result<Extra, DecodeError> {
        let extra = Extra::parse(self.extra_raw())?;
        // A response needs the session and the interval. Reject a message without them here,
        // instead of after the method has run.
        if matches!(extra.promise, Some(Promise::Star)) {
            if self.session().is_none() {
                return Err(DecodeError::new("promise `*` without a session"));
            }
            if extra.interval.is_none() {
                return Err(DecodeError::new("promise `*` without an interval `t`"));
            }
        }
        Ok(extra)
    }

    /// Returns the first key of the second segment that would override the routing at the receiver:
    /// a routing key of the first segment, or `ctx`.
    ///
    /// The Python and JavaScript clients merge both segments, and an entry of the second segment
    /// replaces an entry of the first segment. Python even merges a list of pairs, so this method
    /// returns `""` if the second segment is a list. A segment that is neither a map nor a list has
    /// no keys, so this method returns `None`.
    ///
    /// Servers call this method for every message, so it reads only the keys and skips the values:
    /// 20 ns for a short message, and 2 ns for each value of a long message. If the segment is
    /// malformed, only the keys before the fault are checked, because receivers cannot decode such
    /// a segment.
    pub fn overriding_key(&self) -> Option<&str> {
        let mut rest = &self.extra[..];
        let entries = match *rest.first()? {
            byte @ 0x80..=0x8f => {
                rest = &rest[1..];
                u32::from(byte & 0x0f)
            }
            0x90..=0x9f | 0xdc | 0xdd => return Some(""),
            0xde => u32::from(u16::from_be_bytes(take(&mut rest, 1)?)),
            0xdf => u32::from_be_bytes(take(&mut rest, 1)?),
            _ => return None,
        };
        for _ in 0..entries {
            let length = match *rest.first()? {
                byte @ 0xa0..=0xbf => {
                    rest = &rest[1..];
                    Some(usize::from(byte & 0x1f))
                }
                0xd9 => Some(usize::from(u8::from_be_bytes(take(&mut rest, 1)?))),
                0xda => Some(usize::from(u16::from_be_bytes(take(&mut rest, 1)?))),
                0xdb => Some(u32::from_be_bytes(take(&mut rest, 1)?) as usize),
                _ => None,
            };
            if let Some(length) = length {
                let (key, after) = rest.split_at_checked(length)?;
                if key == b"ctx" || KEYS.iter().any(|known| known.as_bytes() == key) {
                    return std::str::from_utf8(key).ok();
                }
                rest = after;
            } else {
                rest = after_value(rest)?;
            }
            rest = after_value(rest)?;
        }
        None
    }

    /// Returns the bytes after the first segment, possibly none.
    pub fn extra_raw(&self) -> bytes::Bytes {
        self.extra.clone()
    }

    /// Returns the message as a server forwards it: with `to`, `from`, `ws` and `user` replaced or
    /// added.
    ///
    /// All other entries keep their bytes and their order. A second segment of more than 8 KiB is
    /// shared, not copied.
    pub fn stamped(&self, stamp: &Stamp<'_>) -> Stamped {
        let large = self.extra.len() > JOIN_EXTRA;
        let joined: &[u8] = if large { &[] } else { &self.extra };
        let mut replaced = [TO, WS, FROM, USER].map(|key| (self.values[key], key));
        let added = replaced.iter().filter(|((_, end), _)| *end == 0).count();
        // The absent keys come first, in the order used by the Python server.
        replaced.sort_by_key(|((start, _), _)| *start);
        let stamp_len = stamp.to.len() + stamp.from.len() + stamp.ws.len() + stamp.user.len();
        // 48 bytes are enough for the four keys, the headers of their values, and the header of the
        // map.
        let mut size = self.end as usize + joined.len() + stamp_len + 48;
        // Do not reserve the length of the replaced values: they may be large, and unused capacity
        // would stay allocated while the message is queued.
        for ((start, end), _) in replaced {
            size -= (end - start) as usize;
        }
        let mut out = Vec::with_capacity(size);
        pack::put_map_head(&mut out, self.entries.saturating_add(added as u32));
        let mut pos = self.head as usize;
        for ((start, end), key) in &replaced[added..] {
            out.put(&self.frame[pos..*start as usize]);
            stamp.put(&mut out, *key);
            pos = *end as usize;
        }
        out.put(&self.frame[pos..self.end as usize]);
        for (_, key) in &replaced[..added] {
            pack::put_str(&mut out, KEYS[*key]);
            stamp.put(&mut out, *key);
        }
        out.put(joined);
        Stamped {
            head: out.into(),
            rest: if large {
                self.extra.clone()
            } else {
                bytes::Bytes::new()
            },
        }
    }

    /// Returns the message as if it had been received with this stamp. The second segment is
    /// shared.
    ///
    /// # Errors
    ///
    /// Returns an error if the first segment with this stamp is not valid, for example because
    /// `user` is not msgpack.
    pub fn restamped(&self, stamp: &Stamp<'_>) -> Result<Message, DecodeError> {
        // Omit the second segment, so that only the first segment is copied and parsed again.
        let main = Message {
            extra: bytes::Bytes::new(),
            ..self.clone()
        };
        let stamped = Message::parse(main.stamped(stamp).into_bytes())?;
        Ok(Message {
            extra: self.extra.clone(),
            ..stamped
        })
    }

    /// Returns the value of `KEYS[key]` if it is a string.
    fn text(&self, key: usize) -> Option<&str> {
        let (start, end) = self.values[key];
        let raw = &self.frame[start as usize..end as usize];
        // The first byte determines the length of the header. `parse` has checked the rest.
        let head = match raw.first()? {
            0xa0..=0xbf => 1,
            0xd9 => 2,
            0xda => 3,
            0xdb => 5,
            _ => return None,
        };
        std::str::from_utf8(raw.get(head..)?).ok()
    }
}

impl Stamp<'_> {
    /// Writes the value of `KEYS[key]`, which is one of the four stamped keys.
    fn put(&self, out: &mut Vec<u8>, key: usize) {
        match key {
            TO => pack::put_str(out, self.to),
            FROM => pack::put_str(out, self.from),
            WS => pack::put_str(out, self.ws),
            _ => out.put(self.user),
        }
    }
}

/// Reads the `N` bytes after the first `skip` bytes of `rest`, and advances `rest` past them.
fn take<const N: usize>(rest: &mut &[u8], skip: usize) -> Option<[u8; N]> {
    let (number, after) = rest.get(skip..)?.split_first_chunk()?;
    *rest = after;
    Some(*number)
}

/// Returns the bytes after the first value, or `None` if that value is malformed.
///
/// Counts the open values instead of recursing, so that nesting needs no limit. Does not use the
/// [`Decoder`], because servers call this for every message, and need neither tokens nor an error
/// with a path.
fn after_value(bytes: &[u8]) -> Option<&[u8]> {
    let (mut pos, mut values) = (0_usize, 1_u64);
    while values > 0 {
        values -= 1;
        let first = *bytes.get(pos)?;
        pos += 1;
        let number = |width: usize| {
            let digits = bytes.get(pos..pos + width)?;
            Some(
                digits
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
            )
        };
        // Length of the header without its first byte, length of the content, and number of values
        // inside.
        let (head, content, inside) = match first {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => continue,
            0x80..=0x8f => (0, 0, 2 * u64::from(first & 0x0f)),
            0x90..=0x9f => (0, 0, u64::from(first & 0x0f)),
            0xa0..=0xbf => (0, u64::from(first & 0x1f), 0),
            0xc1 => return None,
            0xc4 | 0xd9 => (1, number(1)?, 0),
            0xc5 | 0xda => (2, number(2)?, 0),
            0xc6 | 0xdb => (4, number(4)?, 0),
            0xc7 => (2, number(1)?, 0),
            0xc8 => (3, number(2)?, 0),
            0xc9 => (5, number(4)?, 0),
            0xcc | 0xd0 => (1, 0, 0),
            0xcd | 0xd1 => (2, 0, 0),
            0xca | 0xce | 0xd2 => (4, 0, 0),
            0xcb | 0xcf | 0xd3 => (8, 0, 0),
            0xd4..=0xd8 => (1, 1 << (first - 0xd4), 0),
            0xdc => (2, 0, number(2)?),
            0xdd => (4, 0, number(4)?),
            0xde => (2, 0, 2 * number(2)?),
            0xdf => (4, 0, 2 * number(4)?),
        };
        pos = pos.checked_add(head + usize::try_from(content).ok()?)?;
        values += inside;
    }
    bytes.get(pos..)
}
