//! Tests encryption with random content and hostile bytes.

use hypha_rpc::Binary;
use hypha_rpc::crypto::{Encryption, EncryptionError, KeyPair};
use hypha_wire::{EncryptedExtra, Extra, skip};
use proptest::prelude::*;

fn bytes(len: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Binary> {
    prop::collection::vec(any::<u8>(), len).prop_map(Binary::from)
}

/// Generates bytes, often of length `len`.
fn nearly(len: usize) -> impl Strategy<Value = Binary> {
    prop_oneof![bytes(len), bytes(0..len * 2)]
}

fn ends() -> (Encryption, Encryption) {
    let end = |private| Encryption::new(KeyPair::from_private_key([private; 32]));
    (end(1), end(2))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sealed_data_opens(plain in bytes(0..70_000)) {
        let (ann, ben) = ends();
        let sealed: bytes::Bytes = ann.seal(&ben.public_key(), &plain).expect("seals").into();
        prop_assert_eq!(skip(&sealed), Ok(sealed.len()));
        let extra = Extra::parse(sealed).expect("parses").encrypted.expect("encrypted");
        prop_assert_eq!(&ben.open(&extra), &Ok((plain.into(), ann.public_key())));
        prop_assert_eq!(ann.open(&extra), Err(EncryptionError::Undecryptable));
    }

    #[test]
    fn hostile_input_does_not_panic(
        version in prop_oneof![Just(2u64), any::<u64>()],
        sender in nearly(32),
        nonce in nearly(24),
        data in nearly(16),
    ) {
        let opened = ends().1.open(&EncryptedExtra { version, sender, nonce, data });
        prop_assert!(opened.is_err());
    }

    #[test]
    fn damaged_segments_are_refused(
        plain in bytes(0..100),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
        end in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let (ann, ben) = ends();
        let mut sealed = ann.seal(&ben.public_key(), &plain).expect("seals");
        let at = at.index(sealed.len());
        sealed[at] ^= flip;
        if cut {
            sealed.truncate(end.index(sealed.len()));
        }
        if let Ok(Extra { encrypted: Some(extra), .. }) = Extra::parse(sealed.into()) {
            // Decryption may succeed, because it ignores the highest bit of a public key. In that
            // case, the content must be unchanged.
            if let Ok((opened, _)) = ben.open(&extra) {
                prop_assert_eq!(&opened[..], &plain[..]);
            }
        }
    }
}
