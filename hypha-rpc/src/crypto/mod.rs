//! End-to-end encryption of calls: key pairs, and the encryption of arguments and results.
//!
//! Two programs that know each other's public keys can hide arguments and results from the server
//! and the network. The names of caller, callee and method stay visible, and the server can repeat
//! a request or send it to another method of its receiver
//! (`docs/protocol/07-auth-login-encryption.md#s8`).
//!
//! 1. Each program creates or loads a [`KeyPair`] and connects with
//!    [`ConnectOptions::encryption`](crate::ConnectOptions::encryption).
//! 2. The provider passes its [`PublicKey`] to callers by other means than the server.
//! 3. A caller fetches the service with
//!    [`encryption_public_key`](crate::client::ServiceLookup::encryption_public_key).
//! 4. With [`trusted_keys`](crate::Service::trusted_keys), the provider can restrict the accepted
//!    callers.
//!
//! The algorithm is NaCl's `crypto_box` (X25519 with XSalsa20-Poly1305), as in Python and
//! JavaScript.
//!
//! # Examples
//!
//! ```no_run
//! use hypha_rpc::crypto::{KeyPair, PublicKey};
//! use hypha_rpc::{Error, RemoteService, args};
//!
//! # async fn example(provider: PublicKey) -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyPair::generate()?;
//! let client = hypha_rpc::connect("https://hypha.example.org").encryption(keys).await?;
//! let vault: RemoteService = client
//!     .get_service("vault")
//!     .encryption_public_key(provider)
//!     .await?;
//! // The server sees that `vault.read` is called, but not the argument and the result.
//! let text: String = vault.call("read", args!("diary")).await?;
//! # let _ = text;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crypto_box::SalsaBox;
use crypto_box::aead::AeadInPlace;
use indexmap::IndexMap;
use parking_lot::Mutex;
use rand::TryRng;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use hypha_wire::{Binary, EncryptedExtra};

#[cfg(test)]
mod tests;

/// The only version of the encryption that exists.
const VERSION: u64 = 2;
const KEY_LEN: usize = 32;
const KEY_DIGITS: usize = 2 * KEY_LEN;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// Maximum number of cached shared keys. The limit is needed because peers determine the number of
/// computed keys. The oldest key is evicted first; computing a key takes 0.1 ms.
const MAX_SHARED_KEYS: usize = 256;

/// Error of encryption or decryption, or an invalid key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptionError {
    /// The key does not have 32 bytes. Contains its length.
    #[error("a public key has {KEY_LEN} bytes, not {0}")]
    KeyLength(usize),
    /// The string is not a key.
    #[error("a public key is written as {KEY_DIGITS} hexadecimal digits, not as {0:?}")]
    KeyText(String),
    /// The key is weak: anyone can decrypt data that is encrypted to it.
    #[error("the public key {0} is not safe: it belongs to no private key")]
    WeakKey(String),
    /// The public key does not belong to the private key.
    #[error("the public key {given} does not belong to the private key, which has {actual}")]
    KeysDiffer {
        /// The public key that was given.
        given: PublicKey,
        /// The public key of the private key that was given.
        actual: PublicKey,
    },
    /// The data has an unknown version of the encryption.
    #[error("version {0} of the encryption is unknown; this program knows {VERSION}")]
    Version(u64),
    /// The nonce does not have 24 bytes. Contains its length.
    #[error("a nonce has {NONCE_LEN} bytes, not {0}")]
    NonceLength(usize),
    /// The data was encrypted to another key, or was changed in transit.
    #[error("cannot be decrypted: it was encrypted to another key, or changed on the way")]
    Undecryptable,
    /// The data is larger than one message can hold (4 GiB). Contains its length.
    #[error("{0} bytes are too many to be encrypted at once")]
    TooLong(usize),
    /// The operating system failed to provide random numbers.
    #[error("no random numbers")]
    NoRandomness(#[source] SystemError),
}

/// Error of the operating system's random number generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct SystemError(rand::rngs::SysError);

/// Public key of a [`KeyPair`]. Identifies its owner, and is not secret.
///
/// As a string, the key has 64 lower-case hexadecimal digits; on the wire it has 32 bytes.
///
/// # Examples
///
/// ```
/// # use hypha_rpc::crypto::{EncryptionError, PublicKey};
/// # fn example() -> Result<(), EncryptionError> {
/// let key: PublicKey =
///     "07A37CBC142093C8B755DC1B10E86CB426374AD16AA853ED0BDFC0B2B86D1C7C".parse()?;
/// assert!(key.to_string().starts_with("07a37cbc"));
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; KEY_LEN]);

impl PublicKey {
    /// Returns the 32 bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<[u8; 32]> for PublicKey {
    type Error = EncryptionError;

    /// # Errors
    ///
    /// [`EncryptionError::WeakKey`] for the few keys with which the shared key is the same for
    /// every private key. libsodium refuses these keys, too.
    fn try_from(bytes: [u8; 32]) -> Result<Self, EncryptionError> {
        let key = PublicKey(bytes);
        // X25519 ignores the highest bit, so each weak key has a second representation.
        let mut point = bytes;
        point[KEY_LEN - 1] &= 0x7f;
        if SMALL_ORDER.contains(&point) {
            return Err(EncryptionError::WeakKey(key.to_string()));
        }
        Ok(key)
    }
}

impl TryFrom<&[u8]> for PublicKey {
    type Error = EncryptionError;

    /// # Errors
    ///
    /// [`EncryptionError::KeyLength`] if there are not 32 bytes, and [`EncryptionError::WeakKey`]
    /// for a weak key.
    fn try_from(bytes: &[u8]) -> Result<Self, EncryptionError> {
        let len = bytes.len();
        let bytes: [u8; KEY_LEN] = bytes
            .try_into()
            .map_err(|_| EncryptionError::KeyLength(len))?;
        bytes.try_into()
    }
}

impl FromStr for PublicKey {
    type Err = EncryptionError;

    /// # Errors
    ///
    /// [`EncryptionError::KeyText`] if the string does not have 64 hexadecimal digits (upper or
    /// lower case), and [`EncryptionError::WeakKey`] for a weak key.
    fn from_str(text: &str) -> Result<Self, EncryptionError> {
        let wrong = || EncryptionError::KeyText(text.chars().take(KEY_DIGITS + 1).collect());
        if text.len() != KEY_DIGITS {
            return Err(wrong());
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).ok_or_else(wrong);
        let mut bytes = [0; KEY_LEN];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        bytes.try_into()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Binary::deserialize(deserializer)?;
        PublicKey::try_from(&*bytes).map_err(D::Error::custom)
    }
}

/// Private and public key of a program, for end-to-end encryption.
///
/// The private key decrypts data that was encrypted to the public key. The private key is omitted
/// from the `Debug` output, and overwritten in memory when the pair is dropped.
///
/// # Examples
///
/// ```
/// # use hypha_rpc::crypto::{EncryptionError, KeyPair};
/// # fn example() -> Result<(), EncryptionError> {
/// let keys = KeyPair::generate()?;
/// println!("encrypt to {}", keys.public_key());
/// // Store the private key in a safe place to restore the same pair later.
/// let again = KeyPair::from_private_key(keys.private_key());
/// assert_eq!(again.public_key(), keys.public_key());
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
#[derive(Clone)]
pub struct KeyPair {
    private: crypto_box::SecretKey,
    public: PublicKey,
}

impl KeyPair {
    /// Creates a pair from random numbers of the operating system.
    ///
    /// # Errors
    ///
    /// [`EncryptionError::NoRandomness`] if the operating system provides no random numbers.
    pub fn generate() -> Result<Self, EncryptionError> {
        let bytes: Zeroizing<[u8; KEY_LEN]> = Zeroizing::new(random()?);
        Ok(Self::from_private_key(*bytes))
    }

    /// Creates the pair that belongs to a private key.
    #[must_use]
    pub fn from_private_key(private: [u8; 32]) -> Self {
        let private = crypto_box::SecretKey::from_bytes(private);
        let public = PublicKey(private.public_key().to_bytes());
        KeyPair { private, public }
    }

    /// Creates a pair from both keys, which programs in other languages store together.
    ///
    /// # Errors
    ///
    /// [`EncryptionError::KeysDiffer`] if the keys do not belong together.
    pub fn from_keys(private: [u8; 32], public: PublicKey) -> Result<Self, EncryptionError> {
        let keys = Self::from_private_key(private);
        if keys.public != public {
            return Err(EncryptionError::KeysDiffer {
                given: public,
                actual: keys.public,
            });
        }
        Ok(keys)
    }

    /// Returns the public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    /// Returns the private key, so that the program can store it.
    ///
    /// The private key decrypts everything that was ever encrypted to this pair. Keep the key out
    /// of logs, and store it where only this program can read it. The returned copy is not
    /// overwritten in memory when dropped.
    #[must_use]
    pub fn private_key(&self) -> [u8; 32] {
        self.private.to_bytes()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Encrypts and decrypts the second segment of messages (EXTRA) with one key pair. Connections do
/// this automatically; use this type in proxies and tests.
///
/// # Examples
///
/// ```
/// # use hypha_rpc::crypto::{Encryption, EncryptionError, KeyPair};
/// # use hypha_wire::Extra;
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let (ann, ben) = (KeyPair::generate()?, KeyPair::generate()?);
/// let (ann, ben) = (Encryption::new(ann), Encryption::new(ben));
///
/// let sealed = ann.seal(&ben.public_key(), b"\x80")?;
/// let extra = Extra::parse(sealed.into())?.encrypted.ok_or("not encrypted")?;
/// let (plain, sender) = ben.open(&extra)?;
/// assert_eq!((&plain[..], sender), (&b"\x80"[..], ann.public_key()));
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
pub struct Encryption {
    keys: KeyPair,
    /// Key shared with each peer, the oldest first.
    shared: Mutex<IndexMap<PublicKey, Arc<SalsaBox>>>,
}

impl Encryption {
    /// Creates an encryption with these keys.
    #[must_use]
    pub fn new(keys: KeyPair) -> Self {
        Encryption {
            keys,
            shared: Mutex::default(),
        }
    }

    /// Returns the keys of this side.
    #[cfg(all(feature = "webrtc", not(target_family = "wasm")))]
    pub(crate) fn keys(&self) -> KeyPair {
        self.keys.clone()
    }

    /// Returns the public key of this side.
    pub fn public_key(&self) -> PublicKey {
        self.keys.public
    }

    /// Encrypts a second segment, the msgpack of a map, to a peer. Returns the segment to send
    /// instead.
    ///
    /// # Errors
    ///
    /// [`EncryptionError::TooLong`] above 4 GiB, and [`EncryptionError::NoRandomness`] if the
    /// operating system provides no random numbers.
    pub fn seal(&self, to: &PublicKey, plain: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        self.seal_with(to, random()?, plain)
    }

    /// Encrypts with a given nonce, for tests with recorded bytes. A nonce must never be used twice
    /// with the same key, so all other callers pass a random nonce.
    fn seal_with(
        &self,
        to: &PublicKey,
        nonce: [u8; NONCE_LEN],
        plain: &[u8],
    ) -> Result<Vec<u8>, EncryptionError> {
        let too_long = || EncryptionError::TooLong(plain.len());
        let len = u32::try_from(plain.len()).ok();
        let len = len.and_then(|len| len.checked_add(TAG_LEN as u32));
        let len = len.ok_or_else(too_long)?;

        let mut out = EncryptedExtra::head(VERSION, &self.keys.public.0, &nonce, len);
        let tag_at = out.len();
        out.extend_from_slice(&[0; TAG_LEN]);
        out.extend_from_slice(plain);
        let shared = self.shared_with(to);
        let tag = shared
            .encrypt_in_place_detached(&nonce.into(), b"", &mut out[tag_at + TAG_LEN..])
            .map_err(|_| too_long())?;
        out[tag_at..tag_at + TAG_LEN].copy_from_slice(&tag);
        self.keep(to, shared);
        Ok(out)
    }

    /// Decrypts a second segment. Returns the msgpack of its map, and the public key of the sender,
    /// which the caller must check.
    ///
    /// # Errors
    ///
    /// [`EncryptionError::Undecryptable`] if the data was encrypted to another key or changed in
    /// transit; [`Version`](EncryptionError::Version), [`KeyLength`](EncryptionError::KeyLength),
    /// [`WeakKey`](EncryptionError::WeakKey) or [`NonceLength`](EncryptionError::NonceLength) if
    /// the segment is not valid.
    pub fn open(
        &self,
        extra: &EncryptedExtra,
    ) -> Result<(bytes::Bytes, PublicKey), EncryptionError> {
        if extra.version != VERSION {
            return Err(EncryptionError::Version(extra.version));
        }
        let sender = PublicKey::try_from(&*extra.sender)?;
        let nonce: [u8; NONCE_LEN] = (*extra.nonce)
            .try_into()
            .map_err(|_| EncryptionError::NonceLength(extra.nonce.len()))?;
        let (tag, text) = extra
            .data
            .split_first_chunk::<TAG_LEN>()
            .ok_or(EncryptionError::Undecryptable)?;
        let mut plain = text.to_vec();
        let shared = self.shared_with(&sender);
        shared
            .decrypt_in_place_detached(&nonce.into(), b"", &mut plain, tag.into())
            .map_err(|_| EncryptionError::Undecryptable)?;
        // Cache the key only after a successful decryption: otherwise a stranger could evict the
        // keys of peers by sending garbage.
        self.keep(&sender, shared);
        Ok((plain.into(), sender))
    }

    /// Returns the key shared with a peer, cached or newly computed. The lock is not held during
    /// the computation.
    fn shared_with(&self, peer: &PublicKey) -> Arc<SalsaBox> {
        let known = self.shared.lock().get(peer).cloned();
        known.unwrap_or_else(|| Arc::new(SalsaBox::new(&peer.0.into(), &self.keys.private)))
    }

    /// Adds a shared key to the cache.
    fn keep(&self, peer: &PublicKey, shared: Arc<SalsaBox>) {
        let mut known = self.shared.lock();
        if known.contains_key(peer) {
            return;
        }
        if known.len() >= MAX_SHARED_KEYS {
            known.shift_remove_index(0);
        }
        known.insert(*peer, shared);
    }
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// Returns random bytes of the operating system.
fn random<const N: usize>() -> Result<[u8; N], EncryptionError> {
    let mut bytes = [0; N];
    rand::rngs::SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| EncryptionError::NoRandomness(SystemError(error)))?;
    Ok(bytes)
}

/// The points of small order, in all representations below 2^255. With these points, the shared key
/// does not depend on the private key.
#[rustfmt::skip]
const SMALL_ORDER: [[u8; KEY_LEN]; 7] = [
    [
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ],
    [
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ],
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
        0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
        0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    [
        0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    [
        0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
];
