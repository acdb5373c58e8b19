//! Tests encryption against recorded bytes that use known nonces, and tests that invalid input is
//! rejected.

use std::collections::HashSet;
use std::path::Path;

use super::*;
use hypha_wire::{Extra, Message, from_slice, to_vec};

fn unhex(hex: &serde_json::Value) -> Vec<u8> {
    let hex = hex.as_str().expect("hexadecimal digits");
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
        .collect()
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the length")
}

fn load(file: &str) -> serde_json::Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../vectors")
        .join(file);
    let text = std::fs::read_to_string(file).expect("vectors are there");
    serde_json::from_str(&text).expect("vectors are JSON")
}

fn pair(private: &serde_json::Value) -> Encryption {
    Encryption::new(KeyPair::from_private_key(array(&unhex(private))))
}

/// Encrypts `plain` for the receiver `to`. Returns the encrypted segment, split into its parts.
fn sealed(from: &Encryption, to: &Encryption, plain: &[u8]) -> EncryptedExtra {
    let sealed = from.seal(&to.public_key(), plain).expect("seals");
    let extra = Extra::parse(sealed.into()).expect("parses");
    extra.encrypted.expect("encrypted")
}

fn two() -> (Encryption, Encryption) {
    let new = || Encryption::new(KeyPair::generate().expect("randomness"));
    (new(), new())
}

#[test]
fn recorded_boxes() {
    let file = load("crypto-box.json");
    for keys in file["meta"]["keypairs"].as_array().expect("keys") {
        let public = PublicKey::try_from(&*unhex(&keys["public"])).expect("a key");
        let keys = KeyPair::from_keys(array(&unhex(&keys["private"])), public);
        assert_eq!(keys.expect("a pair").public_key(), public);
    }
    let entries = file["vectors"].as_array().expect("entries");
    assert_eq!(entries.len(), 4);
    for entry in entries {
        let sender = pair(&entry["private"]);
        let peer = PublicKey::try_from(&*unhex(&entry["peer_public"])).expect("a key");
        let (nonce, plain) = (array(&unhex(&entry["nonce"])), unhex(&entry["plaintext"]));
        let sealed = sender.seal_with(&peer, nonce, &plain).expect("seals");
        let extra = Extra::parse(sealed.into()).expect("parses");
        let data = extra.encrypted.expect("encrypted").data;
        assert_eq!(*data, *unhex(&entry["hex"]), "{}", entry["name"]);
    }
}

#[test]
fn recorded_messages() {
    let file = load("frames-encryption.json");
    let (provider, caller) = (
        pair(&file["meta"]["provider_private"]),
        pair(&file["meta"]["caller_private"]),
    );
    let mut seen = 0;
    for entry in file["vectors"].as_array().expect("entries") {
        let message = Message::parse(unhex(&entry["hex"]).into()).expect("parses");
        let extra = message.extra().expect("EXTRA");
        let Some(encrypted) = extra.encrypted else {
            continue;
        };
        let (from, to) = match message.from() {
            Some("vec-ws/client-ea") => (&provider, &caller),
            _ => (&caller, &provider),
        };
        let (plain, sender) = to.open(&encrypted).expect("opens");
        assert_eq!(sender, from.public_key());
        assert_eq!(plain, unhex(&entry["plaintext_hex"]));
        let again = from.seal_with(&to.public_key(), array(&encrypted.nonce), &plain);
        assert_eq!(again.expect("seals"), message.extra_raw());
        seen += 1;
    }
    assert_eq!(seen, 24);
}

#[test]
fn keys_as_text_and_bytes() {
    let text = "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c";
    let key: PublicKey = text.parse().expect("a key");
    assert_eq!(key.to_string(), text);
    assert_eq!(text.to_uppercase().parse(), Ok(key));
    let packed = to_vec(&key).expect("encodes");
    assert_eq!(packed[..2], [0xc4, 32]);
    assert_eq!(from_slice(&packed.into()), Ok(key));

    let wrong = |text: &str| {
        text.parse::<PublicKey>()
            .expect_err("not a key")
            .to_string()
    };
    assert_eq!(
        wrong("07a3"),
        "a public key is written as 64 hexadecimal digits, not as \"07a3\""
    );
    for text in [
        "",
        &text[1..],
        &format!("{text}0"),
        &text.replace('7', "g"),
        &text.replace('7', "+"),
        &"ä".repeat(32),
    ] {
        assert!(wrong(text).contains("64 hexadecimal digits"), "{text}");
    }
    let short = to_vec(&Binary::from(vec![1u8; 31])).expect("encodes");
    let error = from_slice::<PublicKey>(&short.into()).expect_err("too short");
    assert_eq!(error.to_string(), "a public key has 32 bytes, not 31");
}

#[test]
fn weak_keys_are_refused() {
    let tags = |peer: [u8; 32]| {
        let tag = |private: u8| {
            let private = crypto_box::SecretKey::from_bytes([private; 32]);
            let shared = SalsaBox::new(&peer.into(), &private);
            let tag = shared.encrypt_in_place_detached(&[0; 24].into(), b"", &mut []);
            tag.expect("a tag").to_vec()
        };
        (1..40).map(tag).collect::<HashSet<_>>().len()
    };
    let normal = KeyPair::from_private_key([7; 32]).public_key();
    assert_eq!(tags(normal.0), 39);
    for point in SMALL_ORDER {
        // A weak public key leads to the same few shared keys for all private keys.
        assert!(tags(point) < 10, "{point:?}");
        let mut high = point;
        high[31] |= 0x80;
        for spelling in [point, high] {
            let refused = PublicKey::try_from(spelling).expect_err("weak");
            assert!(matches!(refused, EncryptionError::WeakKey(_)));
        }
    }
}

#[test]
fn pairs_that_do_not_belong_together() {
    let (ann, ben) = two();
    let wrong = KeyPair::from_keys(ann.keys.private_key(), ben.public_key());
    let error = wrong.expect_err("two halves").to_string();
    assert!(error.contains(&ann.public_key().to_string()), "{error}");
    assert!(error.contains(&ben.public_key().to_string()), "{error}");
}

#[test]
fn private_keys_are_never_shown() {
    let keys = KeyPair::from_private_key([0xab; 32]);
    let shown = format!("{:?} {keys:?}", Encryption::new(keys.clone()));
    assert!(shown.contains(&keys.public_key().to_string()), "{shown}");
    for part in ["abab", "ABAB", "171, 171", "0xab"] {
        assert!(!shown.contains(part), "{shown}");
    }
}

#[test]
fn every_change_is_found() {
    let (ann, ben) = two();
    let extra = sealed(&ann, &ben, b"\x81\xa1a\x01");
    assert!(ben.open(&extra).is_ok());
    assert_eq!(ann.open(&extra), Err(EncryptionError::Undecryptable));
    let changed = |bytes: &Binary, at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        Binary::from(bytes)
    };
    for at in 0..extra.data.len() {
        let mut extra = extra.clone();
        extra.data = changed(&extra.data, at);
        assert_eq!(ben.open(&extra), Err(EncryptionError::Undecryptable));
    }
    for at in 0..NONCE_LEN {
        let mut extra = extra.clone();
        extra.nonce = changed(&extra.nonce, at);
        assert_eq!(ben.open(&extra), Err(EncryptionError::Undecryptable));
    }
    let mut other = extra.clone();
    other.sender = changed(&extra.sender, 3);
    assert_eq!(ben.open(&other), Err(EncryptionError::Undecryptable));
}

#[test]
fn errors_name_the_fault() {
    let (ann, ben) = two();
    let good = sealed(&ann, &ben, b"\x80");
    let refused = |change: fn(&mut EncryptedExtra)| {
        let mut extra = good.clone();
        change(&mut extra);
        ben.open(&extra).expect_err("refused")
    };
    assert_eq!(
        refused(|extra| extra.version = 3),
        EncryptionError::Version(3)
    );
    assert_eq!(
        refused(|extra| extra.sender = Binary::from(b"key")),
        EncryptionError::KeyLength(3)
    );
    assert_eq!(
        refused(|extra| extra.nonce = Binary::default()),
        EncryptionError::NonceLength(0)
    );
    assert_eq!(
        refused(|extra| extra.data = Binary::from(b"too short")),
        EncryptionError::Undecryptable
    );
    assert!(matches!(
        refused(|extra| extra.sender = Binary::from(vec![0u8; 32])),
        EncryptionError::WeakKey(_)
    ));
}

#[test]
fn equal_texts_differ_on_the_wire() {
    let (ann, ben) = two();
    let (first, second) = (sealed(&ann, &ben, b"\x80"), sealed(&ann, &ben, b"\x80"));
    assert_ne!(first.nonce, second.nonce);
    assert_ne!(first.data, second.data);
}

#[test]
fn invalid_messages_evict_no_cached_keys() {
    let ben = Encryption::new(KeyPair::from_private_key([9; 32]));
    let known = |n: usize| assert_eq!(ben.shared.lock().len(), n);
    let stranger = |n: u16| {
        let mut private = [0; 32];
        private[1..3].copy_from_slice(&n.to_be_bytes());
        KeyPair::from_private_key(private).public_key()
    };
    let ann = two().0;
    ben.open(&sealed(&ann, &ben, b"\x80")).expect("opens");
    known(1);
    let mut noise = sealed(&ben, &ben, b"\x80");
    known(2);
    noise.sender = Binary::from(stranger(1).0.to_vec());
    assert_eq!(ben.open(&noise), Err(EncryptionError::Undecryptable));
    known(2);
    for n in 0..MAX_SHARED_KEYS as u16 {
        ben.seal(&stranger(n), b"").expect("seals");
    }
    known(MAX_SHARED_KEYS);
    assert!(!ben.shared.lock().contains_key(&ben.public_key()));
    assert!(ben.shared.lock().contains_key(&stranger(0)));
}
