//! Fuzz target for encrypted content: none of it is trusted before decryption.

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
        // The form in which a peer sends it.
        0 => {
            let extra = Extra::parse(bytes::Bytes::copy_from_slice(input.0));
            if let Some(encrypted) = extra.ok().and_then(|extra| extra.encrypted) {
                let _ = ben.open(&encrypted);
            }
        }
        // Parts of any length.
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
            assert!(opened.is_err(), "nobody made this");
        }
        // Valid content, changed at one position.
        _ => {
            let (at, flip) = (input.byte(), input.byte());
            let mut sealed = ann.seal(&ben.public_key(), input.0).expect("seals");
            let at = usize::from(at) % sealed.len();
            sealed[at] ^= flip;
            let extra = Extra::parse(sealed.into());
            let Some(encrypted) = extra.ok().and_then(|extra| extra.encrypted) else {
                assert_ne!(flip, 0, "what was not changed is read");
                return;
            };
            match ben.open(&encrypted) {
                // The highest bit of a public key is ignored.
                Ok((plain, _)) => assert_eq!(plain, input.0),
                Err(error) => assert_ne!(flip, 0, "what was not changed opens: {error}"),
            }
        }
    }
}
