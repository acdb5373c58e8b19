//! Recorded boxes and encrypted segments, opened with the keys of the recording. That sealing gives
//! the same bytes is tested beside the code, where the nonce can be chosen.

use hypha_rpc::Bytes;
use hypha_rpc::crypto::{Encryption, KeyPair, PublicKey};
use hypha_wire::{EncryptedExtra, Extra, Message};
use serde_json::Value as Json;

use crate::Coverage::{self, Checked};
use crate::frames::check_extra;
use crate::rendering::{unhex, whole_file};
use crate::values::check_value;

fn keys(private: &Json) -> KeyPair {
    let private = unhex(private);
    KeyPair::from_private_key((*private).try_into().expect("32 bytes"))
}

pub(crate) fn check_box(entry: &Json) -> Coverage {
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
        sender: Bytes::from(sender.public_key().as_bytes().to_vec()),
        nonce: unhex(&entry["nonce"]).into(),
        data: unhex(&entry["hex"]).into(),
    };
    let opened = Encryption::new(receiver).open(&received);
    let expected = (unhex(&entry["plaintext"]), sender.public_key());
    assert_eq!(opened, Ok(expected));
    Checked
}

/// The encrypted second segment of a message between the two recorded clients.
pub(crate) fn check_segment(entry: &Json, message: &Message, received: &EncryptedExtra) {
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
    // What is encrypted is an ordinary second segment.
    let value = check_value(&plain, &entry["plaintext_decoded"], true).expect("string keys");
    check_extra(&Extra::parse(plain).expect("EXTRA"), &value);
}
