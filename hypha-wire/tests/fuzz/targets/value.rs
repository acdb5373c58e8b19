//! Fuzz target for one value. If the value is decoded and encoded again, the value must not change.
//! Decoding the value as any type must succeed or return an error. The first byte of the input
//! selects the type.

use hypha_wire::{Case, Value, convert_keys, from_slice, skip, to_vec};

use super::shapes;

pub(crate) fn run(input: &[u8]) {
    let Some((kind, input)) = input.split_first() else {
        return;
    };
    let packed = bytes::Bytes::copy_from_slice(input);
    let length = skip(&packed);
    if let Ok(length) = length {
        assert!((1..=packed.len()).contains(&length));
    }
    shapes::pick(*kind, &mut shapes::Decode(&packed));
    let Ok(value) = from_slice::<Value>(&packed) else {
        return;
    };
    assert_eq!(length, Ok(packed.len()));
    let canonical = bytes::Bytes::from(to_vec(&value).expect("encodes"));
    assert!(canonical.len() <= packed.len() + 4 * packed.len(), "grows");
    // Compare the encoded bytes, because NaN is not equal to itself.
    let again: Value = value.decode_as().expect("is a value");
    assert_eq!(to_vec(&again).expect("encodes"), canonical);

    let json = value.to_json();
    let _ = Value::from(json).to_string();
    for case in [Case::Camel, Case::Snake] {
        to_vec(&convert_keys(value.clone(), case)).expect("encodes");
    }
}
