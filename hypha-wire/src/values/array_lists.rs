//! Accepts numbers and nested lists of numbers where an array is expected. Callers without array
//! types send such lists, for example as JSON over HTTP.

use std::fmt;

use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::array::{ArrayError, MAX_DIMENSIONS, NdArray};
use super::dtype::Number;

/// Nested lists that become an array. All lists at one depth must have the same length.
#[derive(Default)]
pub(super) struct Lists {
    /// Length of the lists at each depth. A length is `None` until the first list at that depth has
    /// ended.
    shape: Vec<Option<usize>>,
    /// Numbers read so far, in C order.
    numbers: Numbers,
}

/// Numbers read so far. All of them have one type: `Int` if every integer fits `i64`, otherwise
/// `UInt`, otherwise `Float`.
#[derive(Default)]
enum Numbers {
    #[default]
    None,
    Bool(Vec<bool>),
    Int(Vec<i64>),
    UInt(Vec<u64>),
    Float(Vec<f64>),
}

impl Lists {
    /// Reads the items of a list at `depth`.
    pub(super) fn list<'de, A: SeqAccess<'de>>(
        &mut self,
        depth: usize,
        mut items: A,
    ) -> Result<(), A::Error> {
        if depth == MAX_DIMENSIONS {
            return Err(de::Error::custom(format_args!(
                "an array has at most {MAX_DIMENSIONS} dimensions"
            )));
        }
        if depth == self.shape.len() {
            // The previous numbers are beside this list, so the numbers would have different
            // depths.
            if !matches!(self.numbers, Numbers::None) {
                return Err(de::Error::custom("a list beside numbers is not an array"));
            }
            self.shape.push(None);
        }
        // Count the items, because not every format provides the length in advance.
        let mut len = 0;
        while let Some(Kept(_)) = items.next_element_seed(Item {
            lists: self,
            depth: depth + 1,
        })? {
            len += 1;
        }
        match self.shape.get_mut(depth) {
            Some(Some(expected)) if *expected != len => Err(de::Error::custom(format_args!(
                "a list of length {len} beside one of length {expected} is not an array"
            ))),
            Some(length) => {
                *length = Some(len);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Returns the array. If there are no numbers, the element type is `float64`, as in numpy.
    pub(super) fn finish(self) -> Result<NdArray, ArrayError> {
        let shape: Vec<usize> = self
            .shape
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect();
        match self.numbers {
            Numbers::None => NdArray::from_vec(shape, Vec::<f64>::new()),
            Numbers::Bool(numbers) => NdArray::from_vec(shape, numbers),
            Numbers::Int(numbers) => NdArray::from_vec(shape, numbers),
            Numbers::UInt(numbers) => NdArray::from_vec(shape, numbers),
            Numbers::Float(numbers) => NdArray::from_vec(shape, numbers),
        }
    }

    /// Adds a number at the nesting depth `depth`.
    pub(super) fn number<E: de::Error>(&mut self, depth: usize, number: Number) -> Result<(), E> {
        if depth != self.shape.len() {
            return Err(E::custom("a number beside lists is not an array"));
        }
        match (&mut self.numbers, number) {
            (Numbers::Bool(all), Number::Bool(value)) => all.push(value),
            (Numbers::Int(all), Number::Int(value)) => all.push(value),
            (Numbers::UInt(all), Number::UInt(value)) => all.push(value),
            (Numbers::Float(all), Number::Int(_) | Number::UInt(_) | Number::Float(_)) => {
                all.push(number.to_f64());
            }
            _ => {
                let widened = std::mem::take(&mut self.numbers).with(number);
                self.numbers =
                    widened.ok_or_else(|| E::custom("numbers beside booleans are not an array"))?;
            }
        }
        Ok(())
    }
}

impl Numbers {
    /// Adds a number that has another type than the previous numbers. Converts all numbers to a
    /// common type. Integers that have no common integer type become floats, as in numpy. Returns
    /// `None` if numbers and booleans are mixed.
    fn with(self, number: Number) -> Option<Numbers> {
        let floats = |mut all: Vec<f64>| {
            all.push(number.to_f64());
            Some(Numbers::Float(all))
        };
        match (self, number) {
            (Numbers::None, Number::Bool(value)) => Some(Numbers::Bool(vec![value])),
            (Numbers::None, Number::Int(value)) => Some(Numbers::Int(vec![value])),
            (Numbers::None, Number::UInt(value)) => Some(Numbers::UInt(vec![value])),
            (Numbers::None, Number::Float(value)) => Some(Numbers::Float(vec![value])),
            (Numbers::Bool(_), _) | (_, Number::Bool(_)) => None,
            (Numbers::Int(all), Number::UInt(value)) if all.iter().all(|other| *other >= 0) => {
                let mut all: Vec<u64> = all.into_iter().map(i64::unsigned_abs).collect();
                all.push(value);
                Some(Numbers::UInt(all))
            }
            (Numbers::UInt(mut all), Number::Int(value)) if value >= 0 => {
                all.push(value.unsigned_abs());
                Some(Numbers::UInt(all))
            }
            (Numbers::Int(all), _) => floats(all.into_iter().map(|value| value as f64).collect()),
            (Numbers::UInt(all), _) => floats(all.into_iter().map(|value| value as f64).collect()),
            (Numbers::Float(all), _) => floats(all),
        }
    }
}

/// Converts an unsigned number to a signed number if the number fits. The decoder returns every
/// non-negative integer as unsigned.
pub(super) fn unsigned(value: u64) -> Number {
    i64::try_from(value).map_or(Number::UInt(value), Number::Int)
}

/// Result of reading an item. [`Lists`] stores the number itself. This type has the size of a
/// number, because the decoder charges the size of this type for each item.
struct Kept(#[expect(dead_code, reason = "only its size matters")] u64);

const KEPT: Kept = Kept(0);

/// Visitor for a number or list inside a list.
struct Item<'a> {
    lists: &'a mut Lists,
    /// Number of lists that contain the item.
    depth: usize,
}

impl<'de> de::DeserializeSeed<'de> for Item<'_> {
    type Value = Kept;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kept, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = Kept;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("number")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Kept, E> {
        self.lists
            .number(self.depth, Number::Bool(value))
            .map(|()| KEPT)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Kept, E> {
        self.lists
            .number(self.depth, Number::Int(value))
            .map(|()| KEPT)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Kept, E> {
        self.lists
            .number(self.depth, unsigned(value))
            .map(|()| KEPT)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Kept, E> {
        self.lists
            .number(self.depth, Number::Float(value))
            .map(|()| KEPT)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Kept, A::Error> {
        self.lists.list(self.depth, items).map(|()| KEPT)
    }
}
