//! A message as it arrives: its routing is read at once, its content when somebody asks.

use super::decode::{Decoder, Token, from_span, text};
use super::decode_error::DecodeError;
use super::extra::{Extra, Promise};
use super::pack::{self, Sink};
use super::value::Map;

/// A received message. Cheap to clone; nothing is copied out of the frame.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// MAIN.
    frame: bytes::Bytes,
    /// What follows it.
    extra: bytes::Bytes,
    /// Length of the header of MAIN.
    head: u32,
    /// How many entries MAIN has.
    entries: u32,
    /// Where MAIN ends and EXTRA begins.
    end: u32,
    values: [Span; KEYS.len()],
}

/// A value in the frame. An empty one is absent.
type Span = (u32, u32);

/// The keys of MAIN that routing looks at.
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

/// What a server puts into MAIN of every message that it passes on.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The absolute address of the receiver.
    pub to: &'a str,
    /// The absolute address of the sender.
    pub from: &'a str,
    /// The workspace of the sender.
    pub ws: &'a str,
    /// The user of the sender, as msgpack.
    pub user: &'a [u8],
}

/// A message on its way through a server: two pieces, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// MAIN, and what follows it if that is short.
    pub head: bytes::Bytes,
    /// The rest, shared with the message that arrived.
    pub rest: bytes::Bytes,
}

/// A longer second segment is not copied.
const JOIN_EXTRA: usize = 8 * 1024;

impl Stamped {
    /// How many bytes.
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a message has at least its first segment"
    )]
    pub fn len(&self) -> usize {
        self.head.len() + self.rest.len()
    }

    /// In one piece; copied if it is in two.
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
    /// Read the routing of `frame`. What follows MAIN is not looked at.
    ///
    /// Routing keys with a value that is not a string count as absent. A routing key given twice
    /// is an error, because readers differ in which one they believe.
    pub fn parse(frame: bytes::Bytes) -> Result<Message, DecodeError> {
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
            if values[known] != (0, 0) {
                return Err(DecodeError::new("given twice").in_key(KEYS[known]));
            }
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

    /// How many bytes it holds.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a message has at least its first segment"
    )]
    pub fn len(&self) -> usize {
        self.frame.len().max(self.extra.len())
    }

    /// `method` for calls and answers, the name of the event otherwise; empty if there is none.
    pub fn kind(&self) -> &str {
        self.text(TYPE).unwrap_or("")
    }

    /// The address of the sender.
    pub fn from(&self) -> Option<&str> {
        self.text(FROM)
    }

    /// The address of the receiver.
    pub fn to(&self) -> Option<&str> {
        self.text(TO)
    }

    /// The path of the method that is called.
    pub fn method(&self) -> Option<&str> {
        self.text(METHOD)
    }

    /// The session of the receiver in which it handed out the function that is called.
    pub fn parent(&self) -> Option<&str> {
        self.text(PARENT)
    }

    /// The session of the sender that awaits the answer.
    pub fn session(&self) -> Option<&str> {
        self.text(SESSION)
    }

    /// The workspace of the sender.
    pub fn ws(&self) -> Option<&str> {
        self.text(WS)
    }

    /// The user of the sender, as msgpack.
    pub fn user(&self) -> Option<bytes::Bytes> {
        let (start, end) = self.values[USER];
        (end > 0).then(|| self.frame.slice(start as usize..end as usize))
    }

    /// All of MAIN.
    pub fn main(&self) -> Result<Map, DecodeError> {
        from_span(&self.frame, 0, self.end as usize)
    }

    /// MAIN as msgpack.
    pub fn main_raw(&self) -> &[u8] {
        &self.frame[..self.end as usize]
    }

    /// The same message with another second segment: what an encrypted one meant.
    pub fn with_extra(&self, extra: bytes::Bytes) -> Message {
        Message {
            extra,
            ..self.clone()
        }
    }

    /// What the message carries. This reads the structure of all arguments, so it is better done
    /// where they are needed than where messages are received.
    pub fn extra(&self) -> Result<Extra, DecodeError> {
        let extra = Extra::parse(self.extra_raw())?;
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

    /// Everything after MAIN; may be empty.
    pub fn extra_raw(&self) -> bytes::Bytes {
        self.extra.clone()
    }

    /// The message as a server passes it on: `to`, `from`, `ws` and `user` replaced or added,
    /// everything else as it came. A large second segment stays where it is.
    pub fn stamped(&self, stamp: &Stamp<'_>) -> Stamped {
        let large = self.extra.len() > JOIN_EXTRA;
        let joined: &[u8] = if large { &[] } else { &self.extra };
        let mut replaced = [TO, WS, FROM, USER].map(|key| (self.values[key], key));
        let added = replaced.iter().filter(|((_, end), _)| *end == 0).count();
        // The absent ones come first, in the order in which the original server adds them.
        replaced.sort_by_key(|((start, _), _)| *start);
        let stamp_len = stamp.to.len() + stamp.from.len() + stamp.ws.len() + stamp.user.len();
        // Room for four keys with their headers, the headers of the values and that of MAIN.
        let mut size = self.end as usize + joined.len() + stamp_len + 48;
        // What goes may be large, and room for it would stay with the message wherever it waits.
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

    /// The message as if it had come with this stamp: who sent it is what `stamp` says, what it
    /// carries stays where it is.
    pub fn restamped(&self, stamp: &Stamp<'_>) -> Result<Message, DecodeError> {
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

    fn text(&self, key: usize) -> Option<&str> {
        let (start, end) = self.values[key];
        let raw = &self.frame[start as usize..end as usize];
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
    fn put(&self, out: &mut Vec<u8>, key: usize) {
        match key {
            TO => pack::put_str(out, self.to),
            FROM => pack::put_str(out, self.from),
            WS => pack::put_str(out, self.ws),
            _ => out.put(self.user),
        }
    }
}
