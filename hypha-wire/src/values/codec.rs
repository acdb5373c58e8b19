//! Defines [`trait@Codec`]. A type with a codec has a name on the wire, and other languages convert
//! its values to objects (`docs/protocol/03-values.md`).
//!
//! The conversion is part of the type, so a connection needs no registry of codecs.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};

use super::value::{Map, Value};
use crate::keys;

/// Converts a type to and from a map with a name. Corresponds to `register_codec` in Python and
/// JavaScript.
///
/// A peer that has a codec with the same [`NAME`](Self::NAME) decodes the map to an object of its
/// own, and encodes its objects to such maps. Any other peer receives a map with the members of
/// [`Wire`](Self::Wire) and with the name as `_rtype`.
///
/// With [`codec!`](crate::codec), the type can be used wherever a type with serde implementations
/// can be used: as an argument or result, in structs, and in lists.
///
/// ```
/// # use hypha_wire::{Codec, Value};
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// /// A point, kept in polar coordinates.
/// struct Point {
///     radius: f64,
///     angle: f64,
/// }
///
/// /// The form of a point on the wire.
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// struct Cartesian {
///     x: f64,
///     y: f64,
/// }
///
/// impl Codec for Point {
///     const NAME: &'static str = "point";
///     type Wire = Cartesian;
///     type Error = String;
///
///     fn encode(&self) -> Cartesian {
///         let (y, x) = self.angle.sin_cos();
///         Cartesian { x: self.radius * x, y: self.radius * y }
///     }
///
///     fn decode(wire: Cartesian) -> Result<Self, String> {
///         let radius = wire.x.hypot(wire.y);
///         if !radius.is_finite() {
///             return Err("it lies at infinity".into());
///         }
///         Ok(Point { radius, angle: wire.y.atan2(wire.x) })
///     }
/// }
///
/// hypha_wire::codec!(Point);
///
/// let point = Value::encode_from(&Point { radius: 2.0, angle: 0.0 })?;
/// assert_eq!(point.to_string(), r#"{"x":2.0,"y":0.0,"_rtype":"point"}"#);
/// assert_eq!(point.decode_as::<Point>()?.radius, 2.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The counterpart in Python:
///
/// ```python
/// server.register_codec({
///     "name": "point",
///     "type": Point,
///     "encoder": lambda point: {"x": point.x, "y": point.y},
///     "decoder": lambda wire: Point(wire["x"], wire["y"]),
/// })
/// ```
pub trait Codec: Sized {
    /// Name of the codec, the same in all languages.
    const NAME: &'static str;
    /// Type that is sent, a struct or a map. The name is added to the map.
    ///
    /// Other kinds of values, such as a list, are sent without the name. The codecs of other
    /// languages then do not decode the value.
    type Wire: Serialize + DeserializeOwned + JsonSchema;
    /// Error of [`decode`](Self::decode). Use [`Infallible`](std::convert::Infallible) if every
    /// `Wire` is valid.
    type Error: fmt::Display;

    /// Returns the value to send, without the name.
    fn encode(&self) -> Self::Wire;

    /// Converts a received value. `wire` does not contain the name of the codec.
    ///
    /// # Errors
    ///
    /// Returns an error if `wire` is not a valid value of this type. The caller receives the error
    /// message and the path of the value in the argument.
    fn decode(wire: Self::Wire) -> Result<Self, Self::Error>;
}

/// Implements `Serialize`, `Deserialize` and `JsonSchema` for types with a
/// [`Codec`](trait@crate::Codec). Values of these types can then be arguments and results.
#[macro_export]
macro_rules! codec {
    ($($type:ty),+ $(,)?) => {$(
        impl $crate::__private::serde::Serialize for $type {
            fn serialize<S: $crate::__private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                $crate::__private::codec::serialize(self, serializer)
            }
        }

        impl<'de> $crate::__private::serde::Deserialize<'de> for $type {
            fn deserialize<D: $crate::__private::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                $crate::__private::codec::deserialize(deserializer)
            }
        }

        impl $crate::__private::schemars::JsonSchema for $type {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                <Self as $crate::Codec>::NAME.into()
            }

            fn json_schema(
                generator: &mut $crate::__private::schemars::SchemaGenerator,
            ) -> $crate::__private::schemars::Schema {
                $crate::__private::codec::schema::<Self>(generator)
            }
        }
    )+};
}

/// Serializes a value with its codec. Puts the name last, as the other clients do. If the encoder
/// has set `_rtype`, keeps that value.
#[doc(hidden)]
pub fn serialize<T: Codec, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let wire = value.encode();
    let mut encoded = Value::encode_from(&wire).map_err(S::Error::custom)?;
    if let Value::Map(map) = &mut encoded {
        // Remove the name and insert it again, so that it is the last key.
        let name = map.shift_remove(keys::RTYPE);
        map.insert(keys::RTYPE.into(), name.unwrap_or_else(|| T::NAME.into()));
    }
    encoded.serialize(serializer)
}

/// Deserializes a value with its codec. A map must have the codec's name as `_rtype`.
#[doc(hidden)]
pub fn deserialize<'de, T: Codec, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let wire = match value {
        Value::Map(map) => untagged::<T>(map).map_err(D::Error::custom)?,
        other => other,
    };
    let problem = |problem: &dyn fmt::Display| {
        D::Error::custom(format_args!("expected a `{}`: {problem}", T::NAME))
    };
    let decoded = wire.decode_as().map_err(|e| problem(&e))?;
    T::decode(decoded).map_err(|e| problem(&e))
}

/// Removes the name from a map. Returns an error if the name is not the name of the codec.
fn untagged<T: Codec>(mut map: Map) -> Result<Value, String> {
    match map.shift_remove(keys::RTYPE) {
        Some(Value::String(name)) if name == T::NAME => Ok(Value::Map(map)),
        Some(Value::String(name)) => Err(format!("expected a `{}`, got a `{name}`", T::NAME)),
        _ => Err(format!(
            "expected a `{}`, got a map without `_rtype`",
            T::NAME
        )),
    }
}

/// Returns the schema of the wire type. The default for the description is the name of the codec.
#[doc(hidden)]
pub fn schema<T: Codec>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::Wire::json_schema(generator);
    if schema.get("description").is_none() {
        schema.insert("description".into(), format!("A `{}`.", T::NAME).into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::{Binary, from_slice, to_vec};

    #[derive(Debug, PartialEq)]
    struct Colour(u8, u8, u8);

    #[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Rgb {
        r: u16,
        g: u8,
        b: u8,
    }

    impl Codec for Colour {
        const NAME: &'static str = "colour";
        type Wire = Rgb;
        type Error = String;

        fn encode(&self) -> Rgb {
            Rgb {
                r: self.0.into(),
                g: self.1,
                b: self.2,
            }
        }

        fn decode(wire: Rgb) -> Result<Self, String> {
            let red = u8::try_from(wire.r).map_err(|_| format!("too red ({})", wire.r))?;
            Ok(Colour(red, wire.g, wire.b))
        }
    }

    /// Type that is sent as a string.
    #[derive(Debug, PartialEq)]
    struct Name(String);

    impl Codec for Name {
        const NAME: &'static str = "name";
        type Wire = String;
        type Error = Infallible;

        fn encode(&self) -> String {
            self.0.clone()
        }

        fn decode(wire: String) -> Result<Self, Infallible> {
            Ok(Name(wire))
        }
    }

    /// Type whose encoder sets `_rtype`.
    #[derive(Debug)]
    struct Packet(Vec<u8>);

    #[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
    struct Tagged {
        #[serde(rename = "_rtype")]
        tag: String,
        data: Binary,
    }

    impl Codec for Packet {
        const NAME: &'static str = "packet";
        type Wire = Tagged;
        type Error = Infallible;

        fn encode(&self) -> Tagged {
            Tagged {
                tag: "other".into(),
                data: self.0.clone().into(),
            }
        }

        fn decode(wire: Tagged) -> Result<Self, Infallible> {
            Ok(Packet(wire.data.into()))
        }
    }

    codec!(Colour, Name, Packet);

    fn sent<T: Serialize>(value: &T) -> String {
        let bytes = bytes::Bytes::from(to_vec(value).expect("encodes"));
        from_slice::<Value>(&bytes).expect("a value").to_string()
    }

    fn read<T: DeserializeOwned>(json: serde_json::Value) -> Result<T, String> {
        let value = Value::from(json);
        value.decode_as().map_err(|e| e.to_string())
    }

    #[test]
    fn a_map_carries_the_name_last() {
        let colours = vec![Colour(1, 2, 3)];
        assert_eq!(sent(&colours), r#"[{"r":1,"g":2,"b":3,"_rtype":"colour"}]"#);
        let back = Value::encode_from(&colours).expect("encodes");
        assert_eq!(back.decode_as::<Vec<Colour>>(), Ok(colours));
    }

    #[test]
    fn the_name_can_be_the_first_key() {
        let json = serde_json::json!({"_rtype": "colour", "r": 1.0, "g": 2, "b": 3});
        assert_eq!(read::<Colour>(json), Ok(Colour(1, 2, 3)));
    }

    #[test]
    fn a_value_that_is_not_a_map_has_no_name() {
        assert_eq!(sent(&Name("n".into())), r#""n""#);
        assert_eq!(read(serde_json::json!("n")), Ok(Name("n".into())));
    }

    #[test]
    fn the_encoders_own_tag_stays() {
        let binary = sent(&Packet(vec![1]));
        assert_eq!(binary, r#"{"data":{"$bytes":"01"},"_rtype":"other"}"#);
    }

    #[test]
    fn errors_name_the_expected_type_and_the_path() {
        use serde_json::json;
        for (json, text) in [
            (
                json!({"r": 1, "g": 2, "b": 3}),
                "got a map without `_rtype`",
            ),
            (
                json!({"_rtype": "shape", "r": 1}),
                "expected a `colour`, got a `shape`",
            ),
            (json!({"_rtype": 5, "r": 1}), "got a map without `_rtype`"),
            (
                json!("red"),
                "expected a `colour`: expected map, got string",
            ),
            (
                json!({"_rtype": "colour", "r": 1, "g": 2}),
                "expected a `colour`: b: missing",
            ),
            (
                json!({"_rtype": "colour", "r": 300, "g": 2, "b": 3}),
                "too red (300)",
            ),
        ] {
            let error = read::<Vec<Colour>>(json!([json])).expect_err("no colour");
            assert!(error.contains(text) && error.contains("[0]"), "{error}");
            assert!(error.contains("expected a `colour`"), "{error}");
        }
    }
}
