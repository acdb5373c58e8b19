//! Tests of programs without the features of this crate. `cargo xtask test` runs these tests apart,
//! because it runs the other tests with all features.
#![cfg(not(feature = "ndarray"))]

use hypha_wire::{from_slice, to_vec};
use serde::{Deserialize, Serialize};

/// Without the feature `ndarray`, an array inside another type would be sent as serde's struct,
/// which no other language reads as an array.
#[test]
fn an_ndarray_needs_its_feature() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Array {
        v: u8,
        dim: Vec<usize>,
        data: Vec<u16>,
    }
    let array = Array {
        v: 1,
        dim: vec![1],
        data: vec![7],
    };
    let text = "an `ndarray::Array` needs the feature `ndarray` of hypha-rpc";
    assert_eq!(to_vec(&array).expect_err("no feature").to_string(), text);
    let sent = hypha_wire::NdArray::from(vec![7u16]);
    let bytes = bytes::Bytes::from(to_vec(&sent).expect("encoded"));
    let read: Result<Array, _> = from_slice(&bytes);
    assert_eq!(read.expect_err("no feature").to_string(), text);
}
