//! Fuzz target that decodes hostile bytes as records of the workspace manager, and as references to
//! functions, streams and objects. The first byte of the input selects the type.

use hypha_rpc::workspace::{
    ServiceConfig, ServiceInfo, ServiceQuery, TokenConfig, UserInfo, WorkspaceInfo,
};
use hypha_rpc::{Callback, Function, Object, RemoteService, RemoteStream, Value};
use hypha_wire::{from_slice, to_vec};
use serde::Serialize;
use serde::de::DeserializeOwned;

const TYPES: &[fn(&bytes::Bytes)] = &[
    decode::<ServiceInfo>,
    decode::<ServiceConfig>,
    decode::<ServiceQuery>,
    decode::<TokenConfig>,
    decode::<UserInfo>,
    decode::<WorkspaceInfo>,
    decode::<RemoteService>,
    decode::<Function>,
    decode::<Callback<u32, Value>>,
    decode::<RemoteStream<f64>>,
    decode::<Object<RemoteService>>,
    text,
];

pub(crate) fn run(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else {
        return;
    };
    let input = bytes::Bytes::copy_from_slice(input);
    TYPES[usize::from(*kind) % TYPES.len()](&input);
}

/// Decodes a value, and checks that encoding and decoding it again does not change it.
fn decode<T: DeserializeOwned + Serialize>(packed: &bytes::Bytes) {
    let name = std::any::type_name::<T>();
    let value: T = match from_slice(packed) {
        Ok(value) => value,
        Err(error) => {
            // The client sends the error to the peer, so the error message must not contain long
            // input.
            let text = error.to_string();
            assert!(!text.is_empty() && text.len() < 16 << 10, "{text}");
            return;
        }
    };
    let written = bytes::Bytes::from(to_vec(&value).expect(name));
    let again: T = from_slice(&written).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(to_vec(&again).expect(name), written, "{name}");
}

/// Parses the input as text from a server: as a public key, as a user in JSON, and as a service
/// record in JSON.
fn text(input: &bytes::Bytes) {
    let text = String::from_utf8_lossy(input);
    #[cfg(feature = "encryption")]
    if let Ok(key) = text.parse::<hypha_rpc::crypto::PublicKey>() {
        assert_eq!(key.to_string(), text.to_ascii_lowercase());
    }
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(&text) {
        let value = Value::from(json);
        let _ = (
            value.decode_as::<UserInfo>(),
            value.decode_as::<ServiceInfo>(),
        );
    }
}
