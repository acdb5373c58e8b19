//! Types into which hostile bytes are decoded: one type of every kind that a method may accept.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use hypha_wire::{
    Binary, DecodeError, Handle, Map, MemoryView, MethodRef, NdArray, OrderedMap, Set, Timestamp,
    TypedArray, Value, WireError, from_slice, to_vec,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Person {
    name: String,
    #[serde(default)]
    tags: Vec<String>,
    age: Option<u8>,
    address: Option<Box<Person>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Shape {
    Empty,
    Circle(f64),
    Line(i32, i32),
    Label { text: String, data: Binary },
    Group(Vec<Shape>),
}

/// serde buffers the whole value of this enum before it knows the variant.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Array {
        data: NdArray,
        names: Set<Vec<u8>>,
    },
    Codes {
        codes: OrderedMap<u8, u8>,
        when: Timestamp,
    },
    Other(BTreeMap<String, Value>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Number(f64),
    Text(String),
    List(Vec<Any>),
    Binary(Binary),
    Map(BTreeMap<String, Any>),
    Value(Value),
}

#[derive(Serialize, Deserialize)]
struct Flat {
    id: u32,
    #[serde(flatten)]
    rest: Map,
}

/// Recursive type. The sender of a value determines the depth of the value.
#[derive(Serialize, Deserialize)]
struct Tree(Vec<Tree>);

#[derive(Serialize, Deserialize)]
struct Unit;

/// Operation that can be run with each of the types.
pub(crate) trait With {
    fn of<T: DeserializeOwned + Serialize>(&mut self);
}

macro_rules! types {
    ($($type:ty),* $(,)?) => {
        /// Number of types.
        pub(crate) const COUNT: u8 = [$(stringify!($type)),*].len() as u8;

        /// Runs the operation `with` for the type with this number.
        pub(crate) fn pick(number: u8, with: &mut impl With) {
            let types: &[fn(&mut _)] = &[$(|with| With::of::<$type>(with)),*];
            types[usize::from(number % COUNT)](with);
        }
    };
}

types! {
    bool, i8, u16, i32, u64, i128, f32, f64, char, String, (), Unit,
    Option<u8>, Option<Vec<Option<i64>>>, (u8, String), (f64,), [u8; 3],
    Vec<u8>, Vec<f64>, Vec<Vec<f32>>, Vec<[i16; 2]>, Vec<bool>, BTreeSet<String>,
    BTreeMap<String, u32>, BTreeMap<i64, Vec<String>>, BTreeMap<Choice, bool>,
    Person, Shape, Tagged, Any, Flat, Tree, IpAddr, Duration,
    Binary, MemoryView, NdArray, TypedArray, Timestamp, Value,
    Set<BTreeSet<String>>, Set<Vec<Value>>, OrderedMap<Value, Value>, OrderedMap<u8, String>,
    MethodRef, WireError, Handle,
}

/// Enum that is used as a map key.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Choice {
    One,
    Two,
}

/// Decodes the bytes.
pub(crate) struct Decode<'a>(pub(crate) &'a bytes::Bytes);

impl With for Decode<'_> {
    fn of<T: DeserializeOwned + Serialize>(&mut self) {
        check::<T>(from_slice(self.0));
    }
}

/// Checks that a decoded value of type `T` can be encoded, and that the result decodes to the same
/// value.
pub(crate) fn check<T: DeserializeOwned + Serialize>(read: Result<T, DecodeError>) {
    let name = std::any::type_name::<T>();
    let value = match read {
        Ok(value) => value,
        Err(error) => return short(&error),
    };
    let written = bytes::Bytes::from(to_vec(&value).expect(name));
    let again: T = from_slice(&written).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(to_vec(&again).expect(name), written, "{name}");
}

/// Checks that an error message is short. The error is sent back to the peer that caused it, and
/// must not repeat long input.
pub(crate) fn short(error: &DecodeError) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < 16 << 10, "{text}");
}
