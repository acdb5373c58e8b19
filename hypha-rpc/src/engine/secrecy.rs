//! End-to-end encryption of one connection (`docs/protocol/07-auth-login-encryption.md#s5`).
//!
//! Without the feature `encryption`, nothing is encrypted and encrypted messages are rejected.
//! Other modules call the same methods with and without the feature.

use bytes::Bytes;

#[cfg(feature = "encryption")]
use crate::crypto::{Encryption, KeyPair, PublicKey};
use hypha_wire::{EncodeError, EncryptedExtra, Rope};

/// Keys of a connection, if it has keys. Keys of peers are passed as 32 plain bytes, so that other
/// modules need no type of the feature `encryption`.
#[derive(Default)]
pub(crate) struct Secrecy {
    #[cfg(feature = "encryption")]
    encryption: Option<Encryption>,
}

#[cfg(feature = "encryption")]
impl Secrecy {
    pub(crate) fn new(keys: Option<KeyPair>) -> Self {
        Secrecy {
            encryption: keys.map(Encryption::new),
        }
    }

    /// Returns the keys, for another connection of the same client.
    #[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
    pub(crate) fn keys(&self) -> Option<KeyPair> {
        self.encryption.as_ref().map(Encryption::keys)
    }

    /// Returns the public key with which peers encrypt messages to this client.
    pub(crate) fn public_key(&self) -> Option<PublicKey> {
        self.encryption.as_ref().map(Encryption::public_key)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.encryption.is_some()
    }

    /// Returns the 32 bytes of the public key.
    pub(crate) fn key(&self) -> Option<Bytes> {
        let key = self.public_key()?;
        Some(Bytes::copy_from_slice(key.as_bytes()))
    }

    /// Encrypts the second segment of a message to the owner of the key `to`. Returns a message
    /// without a second segment unchanged: servers must be able to read the first segment.
    pub(crate) fn seal(&self, message: Rope, to: &Bytes) -> Result<Rope, EncodeError> {
        let Some(encryption) = &self.encryption else {
            return Err(EncodeError::new("this client has no keys to encrypt with"));
        };
        let (main, extra) = message.segments();
        if extra.is_empty() {
            return Ok(message);
        }
        let failed = |e| EncodeError::new(format!("the message cannot be encrypted: {e}"));
        let to = PublicKey::try_from(&**to).map_err(failed)?;
        let sealed = encryption.seal(&to, &extra).map_err(failed)?;
        Ok(Rope::message(main, sealed.into()))
    }

    /// Decrypts a second segment. Returns the segment and the public key of its sender.
    pub(crate) fn open(&self, extra: &EncryptedExtra) -> Result<(Bytes, Bytes), String> {
        let Some(encryption) = &self.encryption else {
            return Err("this client has no keys to decrypt with".to_owned());
        };
        let (plain, sender) = encryption.open(extra).map_err(|e| e.to_string())?;
        Ok((plain, Bytes::copy_from_slice(sender.as_bytes())))
    }
}

#[cfg(not(feature = "encryption"))]
#[expect(
    clippy::unused_self,
    reason = "a build with encryption has the same methods"
)]
impl Secrecy {
    pub(crate) fn is_on(&self) -> bool {
        false
    }

    pub(crate) fn key(&self) -> Option<Bytes> {
        None
    }

    pub(crate) fn seal(&self, _: Rope, _: &Bytes) -> Result<Rope, EncodeError> {
        Err(EncodeError::new(
            "this program was built without encryption",
        ))
    }

    pub(crate) fn open(&self, _: &EncryptedExtra) -> Result<(Bytes, Bytes), String> {
        Err("this program was built without encryption".to_owned())
    }
}

/// Returns a key as a hexadecimal string.
pub(crate) fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}
