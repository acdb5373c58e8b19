//! Reads messages of clients.
//!
//! `rmcp` parses a message into a tree of values, which takes about eighty times the memory of a
//! list of numbers in JSON. The arguments of a tool are the only large part of a message, so they
//! are cut out of the message first, and converted to MessagePack without a tree.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use hypha_wire::RawValue;
use serde::Deserialize;
use serde_json::value::RawValue as RawJson;

use crate::http::body::{self, Received};
use crate::http::problem::Problem;
use crate::http::{Front, content, transcode};
use crate::memory::{Account, Charge};

/// The arguments of a tool, which were cut out of a message.
#[derive(Clone)]
pub(super) struct Arguments(pub(super) RawValue);

/// A message of a client.
pub(super) struct Message {
    /// The message, with `{}` in place of its arguments.
    pub(super) rest: Bytes,
    pub(super) arguments: Option<Arguments>,
    /// Charge for the memory of the arguments and of the tree of the rest.
    pub(super) charge: Charge,
}

/// Reason why there is no message.
pub(super) enum Unread {
    /// The body cannot be read.
    Refused(Problem),
    /// The body is no message.
    Invalid(String),
}

impl From<Problem> for Unread {
    fn from(problem: Problem) -> Self {
        Unread::Refused(problem)
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawJson>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    arguments: Option<&'a RawJson>,
}

/// A message that is cut into two parts.
#[derive(Debug, PartialEq)]
struct Cut {
    rest: Bytes,
    arguments: Option<Bytes>,
}

/// Cuts the arguments out of a call of a tool. Returns any other message unchanged.
fn cut(bytes: &Bytes) -> serde_json::Result<Cut> {
    let head: Head<'_> = serde_json::from_slice(bytes)?;
    let params = head.params.filter(|params| {
        head.method.as_deref() == Some("tools/call") && params.get().starts_with('{')
    });
    let params: Option<Params<'_>> = match params {
        Some(params) => serde_json::from_str(params.get())?,
        None => None,
    };
    let arguments = params.and_then(|params| params.arguments);
    let arguments = arguments.map(RawJson::get).filter(|it| it.starts_with('{'));
    let Some(arguments) = arguments.map(|it| bytes.slice_ref(it.as_bytes())) else {
        return Ok(Cut {
            rest: bytes.clone(),
            arguments: None,
        });
    };
    let start = arguments.as_ptr().addr() - bytes.as_ptr().addr();
    let end = start + arguments.len();
    let rest = [&bytes[..start], b"{}", &bytes[end..]].concat();
    Ok(Cut {
        rest: rest.into(),
        arguments: Some(arguments),
    })
}

/// Reads a message. Charges its memory to the account.
pub(super) async fn read(front: &Front, account: &Account, body: Body) -> Result<Message, Unread> {
    let state = &front.state;
    let Received { bytes, mut charge } = body::read(state, account, body).await?;
    let size = bytes.len();
    let work = move || {
        let cut = cut(&bytes)?;
        let room = content::room(&cut.rest);
        let bound = cut
            .arguments
            .as_ref()
            .map(|it| transcode::msgpack_bound(it));
        Ok::<_, serde_json::Error>((cut, room, bound))
    };
    let invalid = |error: &dyn std::fmt::Display| Unread::Invalid(error.to_string());
    let found = front.visits.run(size, work).await?;
    let (Cut { rest, arguments }, room, bound) = found.map_err(|error| invalid(&error))?;
    // The memory is charged before the conversion allocates it.
    let more = room + bound.unwrap_or_default();
    let grown = body::grow(&mut charge, more).await;
    grown.map_err(|error| body::over_budget(state, &error))?;
    let Some((arguments, bound)) = arguments.zip(bound) else {
        return Ok(Message {
            rest,
            arguments: None,
            charge,
        });
    };
    let work = move || {
        let mut packed = transcode::from_json(&arguments, bound)?;
        packed.shrink_to_fit();
        Ok(packed)
    };
    let packed = front.visits.run(size, work).await?;
    let packed = packed.map_err(|error: hypha_wire::EncodeError| invalid(&error))?;
    // The JSON of the arguments has been dropped.
    charge.shrink_to(packed.len() + room);
    let arguments = RawValue::new(packed.into()).map_err(|error| invalid(&error))?;
    Ok(Message {
        rest,
        arguments: Some(Arguments(arguments)),
        charge,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_tools_are_cut_out() {
        let call = |params: &str| {
            let text = format!(r#"{{"id":1,"params":{params},"method":"tools\/call"}}"#);
            let Cut { rest, arguments } = cut(&text.into_bytes().into()).unwrap();
            let text = |bytes: Bytes| String::from_utf8(bytes.into()).unwrap();
            (text(rest), arguments.map(text))
        };
        let (rest, arguments) = call(r#"{"name":"é","arguments": {"a":[1,"}"]} ,"_meta":{}}"#);
        let expected = r#"{"name":"é","arguments": {} ,"_meta":{}}"#;
        let expected = format!(r#"{{"id":1,"params":{expected},"method":"tools\/call"}}"#);
        assert_eq!(
            (rest, arguments.as_deref()),
            (expected, Some(r#"{"a":[1,"}"]}"#))
        );
        for params in [
            r#"{"name":"a"}"#,
            r#"{"arguments":null}"#,
            r#"{"arguments":[1]}"#,
            "1",
        ] {
            assert_eq!(call(params).1, None, "{params}");
        }
        for other in [
            r#"{"method":"prompts/get","params":{"arguments":{}}}"#,
            "{}",
        ] {
            let bytes = Bytes::from_static(other.as_bytes());
            let unchanged = Cut {
                rest: bytes.clone(),
                arguments: None,
            };
            assert_eq!(cut(&bytes).unwrap(), unchanged);
        }
        for invalid in ["", "{", r#"{"method":1}"#, r#"{"params":1,"params":2}"#] {
            assert!(
                cut(&Bytes::from_static(invalid.as_bytes())).is_err(),
                "{invalid}"
            );
        }
    }
}
