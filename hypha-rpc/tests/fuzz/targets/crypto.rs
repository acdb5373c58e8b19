//! Fuzz target for encrypted content, which is untrusted until it is decrypted.

use std::sync::LazyLock;

use hypha_rpc::crypto::{Encryption, KeyPair};
use hypha_wire::{EncryptedExtra, Extra};

use super::input::Input;

static ENDS: LazyLock<(Encryption, Encryption)> = LazyLock::new(|| {
    let end = |private| Encryption::new(KeyPair::from_private_key([private; 32]));
    (end(1), end(2))
});

pub(crate) fn run(input: &[u8]) {
    let (ann, ben) = &*ENDS;
    let mut input = Input(input);
    match input.byte() % 3 {
        // Encrypted content in the form in which a peer sends it.
        0 => {
            let extra = Extra::parse(bytes::Bytes::copy_from_slice(input.0));
            if let Some(encrypted) = extra.ok().and_then(|extra| extra.encrypted) {
                let _ = ben.open(&encrypted);
            }
        }
        // The parts of encrypted content. Each part may have any length.
        1 => {
            let mut part = || hypha_rpc::Binary::from(input.bytes().to_vec());
            let (sender, nonce, data) = (part(), part(), part());
            let version = 2;
            let opened = ben.open(&EncryptedExtra {
                version,
                sender,
                nonce,
                data,
            });
            assert!(opened.is_err(), "random bytes must not be decrypted");
        }
        // Valid encrypted content with one changed byte.
        _ => {
            let (at, flip) = (input.byte(), input.byte());
            let mut sealed = ann.seal(&ben.public_key(), input.0).expect("seals");
            let at = usize::from(at) % sealed.len();
            sealed[at] ^= flip;
            let extra = Extra::parse(sealed.into());
            let Some(encrypted) = extra.ok().and_then(|extra| extra.encrypted) else {
                assert_ne!(flip, 0, "unchanged content must be read");
                return;
            };
            match ben.open(&encrypted) {
                // Decryption may succeed, because it ignores the highest bit of a public key.
                Ok((plain, _)) => assert_eq!(plain, input.0),
                Err(error) => assert_ne!(flip, 0, "unchanged content must open: {error}"),
            }
        }
    }
}
