//! Fuzz target for a frame that a peer sends. Parses the routing, decodes the arguments as any
//! type, and adds the server's stamp. The first byte of the input selects the type.

use hypha_wire::{Extra, IncomingArgs, Message, Stamp, Value, skip, to_vec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::shapes::{self, With};

const STAMP: Stamp<'static> = Stamp {
    to: "ws/owner",
    from: "other/caller",
    ws: "other",
    user: &[0x81, 0xa2, b'i', b'd', 1],
};

pub(crate) fn run(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else {
        return;
    };
    let frame = bytes::Bytes::copy_from_slice(input);
    if let Ok(extra) = Extra::parse(frame.clone()) {
        arguments(*kind, &extra.args);
    }
    let message = match Message::parse(frame.clone()) {
        Ok(message) => message,
        Err(error) => return shapes::short(&error),
    };
    let raw = message.extra_raw();
    assert_eq!(message.main_raw().len() + raw.len(), frame.len());
    assert_eq!(skip(&frame), Ok(message.main_raw().len()));

    let stamped = message.stamped(&STAMP).into_bytes();
    let passed_on = Message::parse(stamped.clone()).expect("a message still");
    assert_eq!(passed_on.extra_raw(), raw);
    assert_eq!(passed_on.stamped(&STAMP).into_bytes(), stamped);
    for arrived in [&passed_on, &message.restamped(&STAMP).expect("a message")] {
        assert_eq!(arrived.from(), Some(STAMP.from));
        assert_eq!(arrived.to(), Some(STAMP.to));
        assert_eq!(arrived.ws(), Some(STAMP.ws));
        assert_eq!(arrived.user().as_deref(), Some(STAMP.user));
        assert_eq!(arrived.kind(), message.kind());
        assert_eq!(arrived.method(), message.method());
        assert_eq!(arrived.parent(), message.parent());
        assert_eq!(arrived.session(), message.session());
    }
    if let Ok(main) = message.main() {
        let text = |key| main.get(key).and_then(Value::as_str);
        assert_eq!(text("from"), message.from());
        assert_eq!(text("method"), message.method());
        let again = Message::parse(to_vec(&main).expect("encodes").into()).expect("parses");
        assert_eq!(again.from(), message.from());
        assert_eq!(again.session(), message.session());
    }
    match message.extra() {
        Ok(extra) => arguments(*kind, &extra.args),
        Err(error) => shapes::short(&error),
    }
}

/// Decodes every argument as a `Value` and as the selected type.
fn arguments(kind: u8, args: &IncomingArgs) {
    struct Nth<'a>(&'a IncomingArgs, usize);
    impl With for Nth<'_> {
        fn of<T: DeserializeOwned + Serialize>(&mut self) {
            shapes::check::<T>(self.0.get(self.1).expect("is given"));
        }
    }
    for index in 0..args.positional() {
        let raw = args.raw(index).expect("is given");
        assert_eq!(skip(&raw), Ok(raw.len()));
        shapes::check::<Value>(args.get(index).expect("is given"));
        let other = kind.wrapping_add(index as u8);
        shapes::pick(other, &mut Nth(args, index));
    }
    assert!(args.get::<Value>(args.positional()).is_none());
    for name in args.names().take(20) {
        let raw = args.raw_named(name).expect("is given");
        assert_eq!(skip(&raw), Ok(raw.len()));
        shapes::check::<Value>(args.get_named(name).expect("is given"));
    }
}
