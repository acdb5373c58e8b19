//! Decrypts recorded encrypted segments with the recorded keys. Encryption is not tested here: the
//! unit tests of the crate can choose the nonce, and check that encryption produces the recorded
//! bytes.

use hypha_rpc::crypto::{Encryption, KeyPair, PublicKey};
use hypha_rpc::{Binary, Value};
use hypha_wire::{EncryptedExtra, Extra, Message, from_slice};
use serde_json::Value as Json;

use crate::rendering::{from_rendering, load, same, unhex, whole_file};

fn keys(private: &Json) -> KeyPair {
    let private = unhex(private);
    KeyPair::from_private_key((*private).try_into().expect("32 bytes"))
}

#[test]
fn recorded_boxes_open() {
    let boxes = load("crypto-box.json");
    assert!(!boxes.is_empty());
    boxes.iter().for_each(check_box);
}

fn check_box(entry: &Json) {
    let file = whole_file("crypto-box.json");
    let pairs = file["meta"]["keypairs"].as_array().expect("key pairs");
    let peer = pairs
        .iter()
        .find(|pair| pair["public"] == entry["peer_public"]);
    let (sender, receiver) = (
        keys(&entry["private"]),
        keys(&peer.expect("the receiver's keys")["private"]),
    );
    let received = EncryptedExtra {
        version: 2,
        sender: Binary::from(sender.public_key().as_bytes().to_vec()),
        nonce: unhex(&entry["nonce"]).into(),
        data: unhex(&entry["hex"]).into(),
    };
    let opened = Encryption::new(receiver).open(&received);
    let expected = (unhex(&entry["plaintext"]), sender.public_key());
    assert_eq!(opened, Ok(expected));
}

#[test]
fn recorded_segments_open() {
    let mut opened = 0;
    for entry in load("frames-encryption.json") {
        if entry["frame"] != "binary" {
            continue;
        }
        let message = Message::parse(unhex(&entry["hex"])).expect("parses");
        let extra = message.extra().expect("EXTRA");
        if let Some(encrypted) = &extra.encrypted {
            check_segment(&entry, &message, encrypted);
            opened += 1;
        }
    }
    assert!(opened > 0, "no encrypted message is recorded");
}

/// Decrypts the second segment of a message from one recorded client to the other, and checks the
/// decrypted content.
fn check_segment(entry: &Json, message: &Message, received: &EncryptedExtra) {
    let meta = &whole_file("frames-encryption.json")["meta"];
    let key = |whose: &str| -> PublicKey {
        let text = meta[whose].as_str().expect("a key");
        text.parse().expect("a key")
    };
    let (sender, receiver) = match message.from() {
        Some("vec-ws/client-ea") => ("provider_public", "caller_private"),
        _ => ("caller_public", "provider_private"),
    };
    let receiver = Encryption::new(keys(&meta[receiver]));
    let (plain, from) = receiver.open(received).expect("opens");
    assert_eq!(from, key(sender));
    assert_eq!(plain, unhex(&entry["plaintext_hex"]));
    // The decrypted data has the form of an unencrypted second segment.
    let value: Value = from_slice(&plain).expect("decodes");
    let expected = from_rendering(&entry["plaintext_decoded"]).expect("string keys");
    assert!(same(&value, &expected), "{value}");
    let positional = value
        .get("args")
        .and_then(Value::as_list)
        .map_or(0, <[_]>::len);
    let extra = Extra::parse(plain).expect("EXTRA");
    assert_eq!(
        extra.args.positional() + usize::from(extra.args.names().count() > 0),
        positional
    );
}
